"""Watch a submission while `kernel_run` drives it, and end all of it: nothing of the course is imported here.

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
HELPER_BYTES = 1_500_000_000
# Looks in a row at which a process may refuse to show its files; one that starts or ends does so, too.
REFUSALS = 5


def main(job_file: str) -> None:
    """Run a job, which `sandbox` describes, and print what limit it broke, or null."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    driver = Path(__file__).with_name("kernel_run.py")
    helper = subprocess.Popen(
        [sys.executable, "-P", driver, job_file],
        cwd=Path(job_file).parent,
        stdin=subprocess.PIPE,  # ends when this process does, and so tells the helper to end
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    gone = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), gone.set()), daemon=True).start()
    try:
        broken = _watch(helper, job, gone)
    finally:
        _end(helper, job)
    if not broken and job["cgroup"] and _was_out_of_memory(Path(job["cgroup"])):
        broken = f"it used more than {job['memory'] / 1e9:g} GB of memory"
        if _size(job["own"], job["folder_size"]) > job["folder_size"]:  # files pass through memory
            broken = _too_many_files(job)
    if gone.is_set():  # there may be nobody left to do it
        shutil.rmtree(Path(job["own"]).parent, ignore_errors=True)
    print(json.dumps(broken), flush=True)


def _watch(helper: subprocess.Popen, job: dict, gone: threading.Event) -> str | None:
    """Wait until a notebook has run; return the limit that it broke, if it did."""
    process, weighed, refused = psutil.Process(helper.pid), 0.0, {}
    end = time.monotonic() + job["seconds"] + GRACE_SECONDS
    while helper.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            helper.wait(WATCH_EVERY)
            break
        if gone.is_set():
            return "grading was interrupted"
        now = time.monotonic()
        children = _children(process)
        if len(children) > job["processes"]:
            return f"it started more than {job['processes']} processes"
        unlinked, hidden = _unlinked_files(children)
        refused = {pid: refused.get(pid, 0) + 1 for pid in hidden}
        if max(refused.values(), default=0) > REFUSALS:
            return "it hid the files that it had open"
        disk = os.stat(job["own"]).st_dev
        kept = sum(size for (device, _), size in unlinked.items() if device != disk)
        if (used := _memory(children, kept, job["memory"])) > job["memory"]:
            return f"it used more than {job['memory'] / 1e9:g} GB of memory ({used / 1e9:.1f} GB)"
        with contextlib.suppress(psutil.Error):
            if process.memory_info().rss > HELPER_BYTES:
                return "it printed more than can be kept"
        if now > end:
            return f"it did not end within {job['seconds']:g} s"
        if now - weighed > WEIGH_EVERY:
            weighed, most = now, job["folder_size"]
            if sum(unlinked.values()) - kept + _size(job["own"], most) > most:
                return _too_many_files(job)
    return None


def _too_many_files(job: dict) -> str:
    return f"it wrote more than {job['folder_size'] / 1e9:g} GB of files, or very many of them"


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _unlinked_files(processes: list[psutil.Process]) -> tuple[dict[tuple[int, int], int], list[int]]:
    """Return the bytes of open files that are in no folder, by device and number, and who shows none."""
    found, refused = {}, []
    for process in processes if sys.platform == "linux" else []:
        try:
            names = os.listdir(f"/proc/{process.pid}/fd")
        except PermissionError:
            with contextlib.suppress(psutil.Error):
                refused += [process.pid] * (process.status() != psutil.STATUS_ZOMBIE)
            continue
        except OSError:  # it has ended
            continue
        for name in names:
            with contextlib.suppress(OSError):
                status = os.stat(f"/proc/{process.pid}/fd/{name}")
                if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                    found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return found, refused


def _memory(processes: list[psutil.Process], kept: int, limit: int) -> int:
    """Return the bytes of memory of processes; those that they share count once, where that matters.

    Args:
        processes: All of a submission.
        kept: Bytes of files in memory that are in no folder; a process that maps one counts it, too.
        limit: More than this matters.
    """
    used, shared = 0, 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            memory = process.memory_info()
            used, shared = used + memory.rss, shared + getattr(memory, "shared", 0)
    beside = max(0, kept - shared)
    if used + beside <= limit or len(processes) < 3 or sys.platform != "linux":
        return used + beside
    used = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                used += process.memory_full_info().pss
            except psutil.AccessDenied:
                used += process.memory_info().rss
    return used + beside


def _size(folder: str, enough: int) -> int:
    """Return the bytes of all files in a folder, at least 4096 for each; stop counting where it is enough."""
    total, folders = 0, [folder]
    while folders and total <= enough:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    total += max(
                        4096, status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size
                    )
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total


def _was_out_of_memory(group: Path) -> bool:
    """Say whether the kernel had to end a process of a cgroup because its memory was used up."""
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError):
            counts = dict(line.split() for line in (group / name).read_text().splitlines())
            return int(counts.get("oom_kill", 0)) > 0
    return False


def _end(helper: subprocess.Popen, job: dict) -> None:
    """End everything that a submission has started, and what ran it."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(helper.pid)
        _kill_until_none(lambda: _children(process))
    if helper.poll() is None:
        if os.name == "posix":
            os.killpg(helper.pid, signal.SIGKILL)
        else:
            helper.kill()
    helper.wait()
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
    """Say whether a process was left behind: it has the submission's user, or else its home."""
    with contextlib.suppress(psutil.Error):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if job["user"] is not None:
            return job["user"] in process.uids()
        return process.environ().get("HOME") == job["environment"]["HOME"]
    return False


if __name__ == "__main__":
    main(sys.argv[1])
