"""Run a notebook that nobody trusts: shut in by `confine`, driven by `kernel_run`, watched and ended here."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from nbformat import NotebookNode

from course_utils.grading.protection import (
    Limits,
    Protection,
    confinement_plan,
    own_folder,
    users_of,
)
from course_utils.settings import REPOSITORY_FOLDER

# Seconds between two looks at a submission's processes, and at the size of its folder.
WATCH_EVERY, WEIGH_EVERY = 0.2, 1.0
# Seconds that a notebook gets beyond its time, for its kernel to start.
GRACE_SECONDS = 60
# Bytes of memory of the process that drives the kernel, and of what it hands over.
HELPER_BYTES, STATE_BYTES = 1_500_000_000, 300_000_000


@dataclass
class Ran:
    """What became of a notebook."""

    notebook: NotebookNode
    """With the outputs of the cells that ran; `execution_count` is None for those that did not end."""
    status: str
    """"graded": it ran to the end. "stopped": it met a limit. "died": its kernel ended. "failed": it could
    not be started."""
    happened: str
    """What that was, in words; empty for "graded"."""
    seconds: float


def run_shut_in(
    notebook: NotebookNode,
    limits: Limits,
    protection: Protection,
    *,
    user: int,
    hide: Iterable[Path] = (),
    cancelled: threading.Event | None = None,
) -> Ran:
    """Execute a notebook that may do anything, and return what it did before it ended or was ended.

    Args:
        notebook: What to execute; it is not changed.
        limits: What it may use.
        protection: What `find_protection` found.
        user: The number of the user that it runs as, where it can have one of its own; nobody else's.
        hide: Files and folders that it must not read, where that can be had.
        cancelled: Set by another thread to end the notebook at once.
    """
    started = time.perf_counter()
    with own_folder(protection, user) as (folder, own):
        private = folder / "private"
        private.mkdir(mode=0o700)
        nbformat.write(notebook, private / "notebook.ipynb")
        files = {name: str(private / f"{name}.json") for name in ("job", "plan", "state")}
        plan = confinement_plan(own, protection, user, limits, hide)
        job = {
            "notebook": str(private / "notebook.ipynb"),
            "state": files["state"],
            "plan": files["plan"],
            "own": str(own),
            "seconds": limits.seconds,
            "cell_seconds": limits.cell_seconds,
            "output_bytes": limits.output,
            "block_sockets": not protection.namespaces,
        }
        Path(files["plan"]).write_text(json.dumps(plan), encoding="utf-8")
        Path(files["job"]).write_text(json.dumps(job), encoding="utf-8")
        helper = subprocess.Popen(
            [sys.executable, "-m", "course_utils.grading.kernel_run", files["job"]],
            cwd=private,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY_FOLDER)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            broken = _watch(helper, own, limits, cancelled or threading.Event())
        finally:
            _end(helper, user if protection.own_user else None)
        ran = _read_state(Path(files["state"]), notebook, broken)
    ran.seconds = round(time.perf_counter() - started, 1)
    return ran


def _watch(helper: subprocess.Popen, own: Path, limits: Limits, cancelled: threading.Event) -> str | None:
    """Wait until a notebook has run; return the limit that it broke, if it did."""
    process, weighed = psutil.Process(helper.pid), 0.0
    end = time.monotonic() + limits.seconds + GRACE_SECONDS
    while helper.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            helper.wait(WATCH_EVERY)
            break
        if cancelled.is_set():
            return "grading was interrupted"
        now = time.monotonic()
        children = _children(process)
        if len(children) > limits.processes:
            return f"it started more than {limits.processes} processes"
        if (used := _memory(children, limits.memory)) > limits.memory:
            return f"it used more than {limits.memory / 1e9:g} GB of memory ({used / 1e9:.1f} GB)"
        with contextlib.suppress(psutil.Error):
            if process.memory_info().rss > HELPER_BYTES:
                return "it printed more than can be kept"
        if now > end:
            return f"it did not end within {limits.seconds:g} s"
        if now - weighed > WEIGH_EVERY:
            weighed = now
            if _size(own, limits.folder_size) > limits.folder_size:
                return f"it wrote more than {limits.folder_size / 1e9:g} GB of files, or very many of them"
    return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _memory(processes: list[psutil.Process], limit: int) -> int:
    """Return the bytes of memory of processes; those that they share count once, where that matters."""
    used = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            used += process.memory_info().rss
    if used <= limit or len(processes) < 3 or sys.platform != "linux":
        return used
    used = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                used += process.memory_full_info().pss
            except psutil.AccessDenied:
                used += process.memory_info().rss
    return used


def _size(folder: Path, enough: int) -> int:
    """Return the bytes of all files in a folder, at least 4096 for each; stop counting where it is enough."""
    total, folders = 0, [str(folder)]
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


def _end(helper: subprocess.Popen, user: int | None) -> None:
    """End everything that a submission has started, and what ran it."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(helper.pid)
        for _ in range(50):  # one that forks without end may be a step ahead
            children = _children(process)
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.kill()
            if not children:
                break
            psutil.wait_procs(children, timeout=0.2)
    if helper.poll() is None:
        if os.name == "posix":
            os.killpg(helper.pid, signal.SIGKILL)
        else:
            helper.kill()
    helper.wait()
    for _ in range(50 if user is not None else 0):
        left = [process for process in psutil.process_iter() if user in users_of(process)]
        left = [process for process in left if not _has_ended(process)]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if not left:
            break
        psutil.wait_procs(left, timeout=0.2)


def _has_ended(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def _read_state(path: Path, notebook: NotebookNode, broken: str | None) -> Ran:
    """Read how far a notebook came, from what `kernel_run` wrote last."""
    try:
        if path.stat().st_size > STATE_BYTES:
            raise ValueError("its outputs are too large to be kept")
        state = json.loads(path.read_text(encoding="utf-8"))
        executed = nbformat.from_dict(state["notebook"])
    except (OSError, ValueError, KeyError) as error:
        told = broken or f"it could not be started: {error}"
        return Ran(notebook, "stopped" if broken else "failed", told, 0.0)
    if broken:  # whatever `kernel_run` saw of it
        return Ran(executed, "stopped", f"{broken}, in cell {state['cell']}", 0.0)
    if not state["done"]:
        return Ran(executed, "failed", f"what ran it ended in cell {state['cell']}", 0.0)
    return Ran(executed, state["status"], state["stopped"] or "", 0.0)
