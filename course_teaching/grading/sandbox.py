"""Run an untrusted notebook: an engine confines `runner`, and only lines of JSON come out."""

import contextlib
import copy
import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from course_teaching.grading import engines
from course_teaching.grading.engines import CONTAINERS, ENGINES, Isolation, Limits, is_root
from course_utils.errors import ConfigError

RUNNER = Path(__file__).with_name("runner.py")
# Seconds that a notebook gets in addition to its limit, for its kernel to start.
GRACE_SECONDS = 60
# User ids that root gives to submissions: above useradd's 60,000, below systemd's dynamic users (61,184).
FIRST_USER, USERS = 60_706, 478
_users = itertools.cycle([FIRST_USER + (os.getpid() * 16 + step) % USERS for step in range(USERS)])


@dataclass
class ExecutedNotebook:
    """A notebook that has run."""

    notebook: NotebookNode  # `execution_count` is None in cells that did not end
    status: str  # "graded" (ran to its end), "stopped" (by a limit), "died" (its kernel), "failed" (to start)
    happened: str = ""  # in words; empty for "graded"
    seconds: float = 0.0


def find_isolation(engine: str | None = None, image: str | None = None) -> Isolation:
    """Try one of `ENGINES`, or all of them with the strictest first, and return the first that works.

    Raises:
        ConfigError: If the engine does not work here, or if submissions would run as root.
    """
    image, failed = image or os.environ.get(engines.IMAGE_VARIABLE, ""), []
    for name in [engine] if engine else ENGINES:
        if name == "none" and not is_root():
            return Isolation(name)
        problem = "submissions would run as root"
        # With systemd's limits if systemd is running.
        for scope in [True, False] if name == "bwrap" and os.path.isdir("/run/systemd/system") else [False]:
            isolation = Isolation(name, image if name in CONTAINERS else "", scope)
            if name != "none" and not (problem := _try_out(isolation)):
                return isolation
        failed.append(f"{name}: {problem}")
    raise ConfigError(
        "No sandbox works on this machine.",
        where=f"--engine {engine or ENGINES[0]}",
        expected="docker or podman with an image that has the course's packages, or bubblewrap on Linux, "
        "with user namespaces; without them, an ordinary user",
        found="; ".join(failed),
        do="Install bubblewrap (apt-get install bubblewrap), or name an image with --image, or grade as an "
        "ordinary user with --engine none.",
    )


def _try_out(isolation: Isolation) -> str:
    """Run a notebook of one cell; return the problem, or ""."""
    needed = [isolation.engine, *["systemd-run"] * isolation.scope]
    needed += ["prlimit", *["setpriv"] * is_root()] if isolation.engine == "bwrap" else []
    if missing := [name for name in needed if not shutil.which(name)]:
        return f"no {' and no '.join(missing)} on this machine"
    if isolation.engine in CONTAINERS and not isolation.image:
        return f"no image is named by --image or {engines.IMAGE_VARIABLE}"
    notebook = new_notebook(cells=[new_code_cell("import course_utils.errors")])
    executed = run_in_sandbox(notebook, Limits(seconds=60), isolation)
    shown = executed.notebook.cells[0].outputs
    return executed.happened or "; ".join(one.evalue for one in shown if one.output_type == "error")


def run_in_sandbox(
    notebook: NotebookNode, limits: Limits, isolation: Isolation, cancelled: threading.Event | None = None
) -> ExecutedNotebook:
    """Execute an untrusted notebook until it ends, breaks a limit, or is `cancelled`."""
    started, end = time.perf_counter(), time.monotonic() + limits.seconds + GRACE_SECONDS
    user, name = next(_users) if is_root() else None, f"grading-{secrets.token_hex(8)}"
    command = engines.sandbox_command(isolation, limits, user=user, name=name)
    command += ["python3" if isolation.engine in CONTAINERS else sys.executable, "-I", str(RUNNER)]
    with contextlib.ExitStack() as stack:
        own, variables = engines.INSIDE, dict(os.environ)
        if isolation.engine == "none":
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            variables = engines.environment(own) | engines.NO_PROXY
        job, lines, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        content = {"notebook": notebook, "seconds": limits.seconds, "cell_seconds": limits.cell_seconds}
        content |= {"work": f"{own}/work", "files": _fonts(own)}
        job.write(json.dumps(content).encode())
        job.seek(0)
        # In a session of its own: Ctrl-C reaches only the grader, which ends the process.
        streams = {"stdin": job, "stdout": lines, "stderr": errors, "start_new_session": True}
        process = subprocess.Popen(command, env=variables, **streams)
        try:
            while process.poll() is None and time.monotonic() < end:
                if os.fstat(lines.fileno()).st_size > limits.output or (cancelled and cancelled.is_set()):
                    break
                time.sleep(0.1)
        finally:
            _end(process, [isolation.engine, "rm", "--force", name] if isolation.engine in CONTAINERS else [])
        lines.seek(0)
        executed = read_lines(lines.read(limits.output).splitlines(keepends=True), notebook)
        if executed.status == "failed":
            errors.seek(0)
            executed.happened += f": {errors.read(10_000).decode(errors='replace').strip()[-500:]}"
    executed.seconds = round(time.perf_counter() - started, 1)
    return executed


def _end(process: subprocess.Popen, remove: list[str]) -> None:
    """End everything that runs in a sandbox; a container is removed by a command."""
    with contextlib.suppress(psutil.Error):  # a kernel has a process group of its own
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
    if remove:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(remove, capture_output=True, timeout=60)
    process.wait()


def read_lines(lines: Iterable[bytes], notebook: NotebookNode) -> ExecutedNotebook:
    """Return a notebook with the outputs that came out of a sandbox, and nothing else from it."""
    executed, cell, ended = copy.deepcopy(notebook), None, None
    try:
        for message in map(json.loads, (line for line in lines if line.endswith(b"\n"))):
            if "status" in message:
                ended = str(message["status"]), str(message["happened"])
                continue
            cell = int(message["cell"])
            if "outputs" in message:
                outputs = nbformat.from_dict(message["outputs"])
                executed.cells[cell].update(outputs=outputs, execution_count=cell + 1)
        nbformat.validate(executed)
        if ended and ended[0] not in ("graded", "stopped", "died", "failed"):
            raise ValueError(f"its status is {ended[0]}")
    except Exception as error:  # a submission may have written anything instead
        problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return ExecutedNotebook(notebook, "died", f"its results cannot be read: {problem}")
    if ended:
        return ExecutedNotebook(executed, *ended)
    if cell is None:
        return ExecutedNotebook(notebook, "failed", "it could not be started")
    return ExecutedNotebook(executed, "stopped", f"it was ended in cell {cell + 1}, by a limit")


def _fonts(own: Path) -> dict[str, str]:
    """Return Matplotlib's list of fonts, which takes seconds to make."""
    from matplotlib import get_cachedir

    lists = Path(get_cachedir()).glob("fontlist-*.json")
    return {f"{own}/home/matplotlib/{path.name}": path.read_text(encoding="utf-8") for path in lists}
