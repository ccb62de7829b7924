"""Run a notebook that nobody trusts: `executor` drives it, shut in by an engine, and `watch` ends it."""

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

from course_utils.teaching.grading.engines import (
    CONTAINERS,
    Isolation,
    engine_environment,
    remove_command,
    shut_in,
)
from course_utils.teaching.grading.workspace import Limits, make_workspace, process_limits

WATCH = Path(__file__).with_name("watch.py")
KERNEL = ("-m", "ipykernel_launcher", "--HistoryManager.hist_file=:memory:", "-f", "{connection_file}")


@dataclass
class ExecutedNotebook:
    """A notebook that has run."""

    notebook: NotebookNode  # `execution_count` is None in cells that did not end
    status: str  # "graded" (to its end), "stopped" (by a limit), "died" (its kernel) or "failed" (to start)
    happened: str = ""  # in words; empty for "graded"
    seconds: float = 0.0


def run_shut_in(
    notebook: NotebookNode,
    limits: Limits,
    isolation: Isolation,
    *,
    hide: Iterable[Path] = (),
    cancelled: threading.Event | None = None,
) -> ExecutedNotebook:
    """Execute a notebook that may do anything, until it ends, breaks a limit, or is `cancelled`.

    It must not read what is to be hidden, where that can be had.
    """
    started = time.perf_counter()
    with make_workspace() as space:
        nbformat.write(notebook, space.private / "notebook.ipynb")
        job = {
            **asdict(limits),
            "notebook": str(space.private / "notebook.ipynb"),
            "state": str(space.private / "state.json"),
            "own": str(space.own),
            "user": space.user,
            "command": [*shut_in(space, isolation, limits, hide), isolation.python, *KERNEL],
            "remove": remove_command(space, isolation),
            "environment": engine_environment(space, isolation),
            # The engine has its own limits, and its client is no part of the submission.
            "process_limits": {} if isolation.engine in CONTAINERS else process_limits(space, limits),
            # Without an engine, a process may leave its parent, and so be no child of what is watched.
            "may_stray": isolation.engine == "none",
            # No signal finds a process in a namespace of its own.
            "interrupt_mode": "signal" if isolation.engine == "none" else "message",
        }
        (space.private / "job.json").write_text(json.dumps(job), encoding="utf-8")
        broken = _watch(space.private / "job.json", cancelled or threading.Event())
        executed = _read_state(Path(job["state"]), notebook, broken)
    executed.seconds = round(time.perf_counter() - started, 1)
    return executed


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
        broken = watch.stdout.read()
    with contextlib.suppress(ValueError):
        return json.loads(broken)
    return "what watched it was ended"


def _read_state(path: Path, notebook: NotebookNode, broken: str | None) -> ExecutedNotebook:
    """Read how far a notebook came, from what `executor` wrote last."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        executed = nbformat.from_dict(state["notebook"])
    except (OSError, ValueError, KeyError) as error:
        if broken:
            return ExecutedNotebook(notebook, "stopped", broken)
        return ExecutedNotebook(notebook, "failed", f"it could not be started: {error}")
    if broken:  # whatever `executor` saw of it
        return ExecutedNotebook(executed, "stopped", f"{broken}, in cell {state['cell']}")
    if not state["done"]:
        return ExecutedNotebook(executed, "failed", f"what ran it ended in cell {state['cell']}")
    return ExecutedNotebook(executed, state["status"], state["stopped"] or "")
