"""Watch a submission while `executor` drives it, and end all of it: nothing of the course is imported here.

Run by `sandbox` as a process of its own, which neither a submission nor the grader can hold up:
`python -I watch.py JOB`. It prints, as JSON, which limit was broken, and ends when its standard input does:
then the grader was interrupted or killed.
"""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

# Seconds between two looks at a submission's processes, and at the size of its folder.
WATCH_EVERY, WEIGH_EVERY = 0.2, 1.0
# Seconds that a notebook gets beyond its time, for its kernel to start.
GRACE_SECONDS = 60
# Bytes of memory of the process that drives the kernel.
DRIVER_BYTES = 1_500_000_000
# Open files that are looked at, of all threads together; without a bound, many would hold up all else.
OPEN_FILES = 50_000
# Looks in a row at which a process may refuse to show its files; one that starts or ends does so, too.
REFUSALS = 5


def main(job_file: str) -> None:
    """Run a job, which `sandbox` describes, and print what limit it broke, or null."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    driver = subprocess.Popen(
        [sys.executable, "-P", Path(__file__).with_name("executor.py"), job_file],
        cwd=Path(job_file).parent,
        stdin=subprocess.PIPE,  # ends when this process does, and so tells the driver to end
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    gone = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), gone.set()), daemon=True).start()
    try:
        broken = _watch(driver, job, gone)
    finally:
        _end(driver, job)
    if gone.is_set():  # there may be nobody left to do it
        shutil.rmtree(Path(job["own"]).parent, ignore_errors=True)
    print(json.dumps(broken), flush=True)


def _watch(driver: subprocess.Popen, job: dict, gone: threading.Event) -> str | None:
    """Wait until a notebook has run; return the limit that it broke, if it did."""
    process, weighed, refused, strays = psutil.Process(driver.pid), 0.0, {}, []
    end = time.monotonic() + job["seconds"] + GRACE_SECONDS
    disk = os.stat(job["own"]).st_dev
    while driver.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(WATCH_EVERY)
            break
        if gone.is_set():
            return "grading was interrupted"
        now = time.monotonic()
        children = _children(process)
        children += [one for one in strays if one not in children and one.is_running()]
        if len(children) > job["processes"]:
            return f"it started more than {job['processes']} processes"
        unlinked, hidden, opened = _unlinked_files(children)
        if opened > OPEN_FILES:
            return f"it had more than {OPEN_FILES} files open in its threads"
        refused = {pid: refused.get(pid, 0) + 1 for pid in hidden}
        if max(refused.values(), default=0) > REFUSALS:
            return "it hid the files that it had open"
        in_memory = sum(size for (device, _), size in unlinked.items() if device != disk)
        used = in_memory + _memory(children, job["memory"] - in_memory)
        if used > job["memory"]:
            return f"it used more than {job['memory'] / 1e9:g} GB of memory ({used / 1e9:.1f} GB)"
        with contextlib.suppress(psutil.Error):
            if process.memory_info().rss > DRIVER_BYTES:
                return "it printed more than can be kept"
        if now > end:
            return f"it did not end within {job['seconds']:g} s"
        if now - weighed > WEIGH_EVERY:
            weighed, most = now, job["folder_size"]
            if job["may_stray"]:
                strays = [one for one in psutil.process_iter() if _is_left(one, job)]
            if sum(unlinked.values()) - in_memory + _size(job["own"], most) > most:
                return f"it wrote more than {most / 1e9:g} GB of files, or very many of them"
    return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _unlinked_files(
    processes: list[psutil.Process],
) -> tuple[dict[tuple[int, int], int], list[int], int]:
    """Return the bytes of each open file in no folder, who hides theirs, and how many files were seen.

    A file is known by device and number. Each thread is asked: it may have a table of files of its own.
    """
    found, refused, opened = {}, [], 0
    for process in processes if sys.platform == "linux" else []:
        for thread in _threads(process):
            try:
                for file in os.scandir(f"{thread}/fd"):
                    opened += 1
                    if opened > OPEN_FILES:
                        return found, refused, opened
                    with contextlib.suppress(OSError):
                        status = os.stat(file.path)
                        if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                            found[status.st_dev, status.st_ino] = status.st_blocks * 512
            except PermissionError:
                if not _has_ended(process):
                    refused.append(process.pid)
            except OSError:  # it has ended
                continue
    return found, refused, opened


def _threads(process: psutil.Process) -> list[str]:
    """Return the folders that Linux has for a process's threads."""
    with contextlib.suppress(OSError):
        return [entry.path for entry in os.scandir(f"/proc/{process.pid}/task")]
    return []


def _has_ended(process: psutil.Process) -> bool:
    """Say whether a process has ended: it looks as if it had when its first thread has, and others go on."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() < 2
    return True


def _resident(process: psutil.Process) -> int:
    """Return the bytes of memory of a process, also if its first thread has ended and others go on."""
    used = process.memory_info().rss
    if not used and sys.platform == "linux":
        for thread in _threads(process):
            with contextlib.suppress(OSError):
                pages = Path(thread, "statm").read_text(encoding="ascii").split()[1]
                used = max(used, int(pages) * os.sysconf("SC_PAGE_SIZE"))
    return used


def _memory(processes: list[psutil.Process], limit: int) -> int:
    """Return the bytes of memory of processes; where it matters, what they share counts once."""
    used = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            used += _resident(process)
    if used <= limit or len(processes) < 3 or sys.platform != "linux":
        return used
    used = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                used += process.memory_full_info().pss or _resident(process)
            except psutil.AccessDenied:
                used += _resident(process)
    return used


def _size(folder: str, enough: int) -> int:
    """Return the bytes of all files in a folder, at least 4096 for each; stop counting where it is enough."""
    total, folders = 0, [folder]
    while folders and total <= enough:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    total += max(4096, getattr(status, "st_blocks", status.st_size // 512) * 512)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total


def _end(driver: subprocess.Popen, job: dict) -> None:
    """End everything that a submission has started, and what ran it."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(driver.pid)
        _kill_until_none(lambda: _children(process))
    if driver.poll() is None:
        if os.name == "posix":
            os.killpg(driver.pid, signal.SIGKILL)
        else:
            driver.kill()
    driver.wait()
    if job["remove"]:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(job["remove"], env=job["environment"], capture_output=True, timeout=60)
    else:
        _kill_until_none(lambda: [one for one in psutil.process_iter() if _is_left(one, job)])


def _kill_until_none(find) -> None:
    """Kill processes until none is found; one that forks without end may be a step ahead."""
    for _ in range(50):
        if not (left := find()):
            break
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.2)


def _is_left(process: psutil.Process, job: dict) -> bool:
    """Say whether a process is a submission's, whoever its parent is: by its user, or else by its home."""
    with contextlib.suppress(psutil.Error):
        if job["user"] is not None:
            own = job["user"] in process.uids()
        else:
            own = process.environ().get("HOME") == job["environment"]["HOME"]
        return own and not _has_ended(process)
    return False


if __name__ == "__main__":
    main(sys.argv[1])
