"""Run a notebook that nobody trusts: `kernel_run` drives it, shut in by an engine, and `watch` ends it."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_utils.teaching.grading.protection import (
    Limits,
    Protection,
    environment,
    own_cgroup,
    own_folder,
    process_limits,
    shut_in,
)

WATCH = Path(__file__).with_name("watch.py")
KERNEL = ("-m", "ipykernel_launcher", "--HistoryManager.hist_file=:memory:", "-f", "{connection_file}")
# Bytes of what `kernel_run` hands over.
STATE_BYTES = 300_000_000


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
    # Files that are written pass through memory, and count there until they are on the disk.
    bound = limits.memory + limits.folder_size
    with own_folder(protection, user) as (folder, own), own_cgroup(bound) as group:
        private = folder / "private"
        private.mkdir(mode=0o700)
        nbformat.write(notebook, private / "notebook.ipynb")
        shut = protection.engine != "none"
        job = {
            **asdict(limits),
            "notebook": str(private / "notebook.ipynb"),
            "state": str(private / "state.json"),
            "own": str(own),
            "user": user if protection.own_user else None,
            "command": [*shut_in(own, protection, user, limits, hide), sys.executable, *KERNEL],
            "environment": environment(own),
            "process_limits": process_limits(protection, limits),
            "cgroup": str(group) if group else None,
            # No signal finds a process in a namespace of its own.
            "interrupt_mode": "message" if shut else "signal",
            "block_sockets": not shut,
        }
        (private / "job.json").write_text(json.dumps(job), encoding="utf-8")
        broken = _watch(private / "job.json", cancelled or threading.Event())
        ran = _read_state(Path(job["state"]), notebook, broken)
    ran.seconds = round(time.perf_counter() - started, 1)
    return ran


def _watch(job: Path, cancelled: threading.Event) -> str | None:
    """Wait until a notebook has run; return the limit that it broke, if it did."""
    with subprocess.Popen(
        [sys.executable, "-I", WATCH, job],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the grader, which ends the others
    ) as watch:
        while watch.poll() is None:
            if cancelled.wait(0.1):
                watch.stdin.close()
                watch.wait()
        told = watch.stdout.read()
    with contextlib.suppress(ValueError):
        return json.loads(told)
    return "what watched it was ended"


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
