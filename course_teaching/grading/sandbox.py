"""Run a notebook that nobody trusts: `runner` is shut in by an engine, and only lines of JSON come out."""

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
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
import psutil
from nbformat import NotebookNode

from course_teaching.grading.engines import (
    CONTAINERS,
    ENGINES,
    IMAGE_VARIABLE,
    INSIDE,
    NO_PROXY,
    Isolation,
    Limits,
    environment,
    sandbox_command,
)
from course_teaching.grading.workspace import locked_folder
from course_utils.errors import ConfigError

RUNNER = Path(__file__).with_name("runner.py")
# Seconds that a notebook gets beyond its time, for its kernel to start.
GRACE_SECONDS = 60
# User ids that root gives to submissions. useradd stops at 60,000, and systemd leaves 60,706 to 61,183 free:
# its dynamic users begin at 61,184. They fit into a container with 65,536 ids.
FIRST_USER, USERS = 60_706, 478
_users = itertools.cycle(FIRST_USER + (os.getpid() * 16 + step) % USERS for step in range(USERS))


@dataclass
class ExecutedNotebook:
    """A notebook that has run."""

    notebook: NotebookNode  # `execution_count` is None in cells that did not end
    status: str  # "graded" (to its end), "stopped" (by a limit), "died" (its kernel) or "failed" (to start)
    happened: str = ""  # in words; empty for "graded"
    seconds: float = 0.0


def find_isolation(engine: str | None = None, image: str | None = None) -> Isolation:
    """Try out one of `ENGINES`, or what this machine can do, the strictest first.

    Raises:
        ConfigError: If the engine does not work here, or if submissions would run as root, who may do all.
    """
    root = os.name == "posix" and os.geteuid() == 0
    image, failed = image or os.environ.get(IMAGE_VARIABLE, ""), []
    for name in [engine] if engine else ENGINES:
        if name == "none" and not root:
            return Isolation(name, root)
        # The first that works: with systemd's limits, where it has them to give.
        for scope in [True, False] if name == "bwrap" and os.path.isdir("/run/systemd/system") else [False]:
            isolation = Isolation(name, root, image if name in CONTAINERS else "", scope)
            problem = _try_out(isolation)
            if not problem:
                return isolation
        failed.append(f"{name}: {problem}")
    raise ConfigError(
        "Submissions cannot be confined.",
        where=f"--engine {engine or ENGINES[0]}",
        expected="docker or podman with an image that has the course's packages, or bubblewrap on Linux, "
        "where users may make namespaces; without them an ordinary user, or root, who needs setpriv, and a "
        "course and a Python that other users can read",
        found="; ".join(failed),
        do="Install bubblewrap (apt-get install bubblewrap), or name an image with --image, or grade as an "
        "ordinary user, --engine none.",
    )


def _try_out(isolation: Isolation) -> str:
    """Run a program that imports what a kernel needs; return what failed."""
    code = "import course_utils.errors, ipykernel.kernelapp, nbclient, sys\n"
    needed = ["setpriv"] * (isolation.separate_user and isolation.engine not in CONTAINERS)
    needed += ["systemd-run"] * isolation.scope + [isolation.engine] * (isolation.engine != "none")
    if missing := [name for name in needed if not shutil.which(name)]:
        return f"no {' and no '.join(missing)} on this machine"
    if isolation.engine not in CONTAINERS:
        code += f"assert sys.base_prefix == {sys.base_prefix!r}, 'another Python is found than yours'\n"
    elif not isolation.image:
        return f"no image is named, by --image or {IMAGE_VARIABLE}"
    with _sandbox(isolation, Limits(), []) as sandbox:
        how = {"env": sandbox.variables, "capture_output": True, "text": True, "timeout": 60}
        try:
            done = subprocess.run([*sandbox.command, "-c", code], **how)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{type(error).__name__}: {error}"
    return "" if done.returncode == 0 else done.stderr.strip()[-500:] or f"exit {done.returncode}"


def run_in_sandbox(
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
    started, cancelled, lines = time.perf_counter(), cancelled or threading.Event(), []
    end = time.monotonic() + limits.seconds + GRACE_SECONDS
    with _sandbox(isolation, limits, hide) as sandbox:
        job = {"notebook": notebook, "limits": asdict(limits), **sandbox.job}
        process = subprocess.Popen(
            [*sandbox.command, "-I", RUNNER],
            env=sandbox.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the grader, which ends the others
        )

        def talk() -> None:
            left = 20 * limits.output  # more than `runner` sends
            with contextlib.suppress(OSError):
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()
            while left > 0 and (line := process.stdout.readline(left)):
                left -= len(line)
                lines.append(line)

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        try:
            while talking.is_alive() and time.monotonic() < end and not cancelled.is_set():
                talking.join(0.1)
        finally:
            sandbox.end(process)
    executed = _read(lines, notebook)
    executed.seconds = round(time.perf_counter() - started, 1)
    return executed


def _read(lines: Iterable[bytes], notebook: NotebookNode) -> ExecutedNotebook:
    """Return what came out of a sandbox: outputs of the cells, and nothing else of the notebook."""
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
    except Exception as error:  # whatever a submission may have put there instead
        problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return ExecutedNotebook(notebook, "died", f"what came out of it cannot be read: {problem}")
    if ended:
        return ExecutedNotebook(executed, *ended)
    if cell is None:
        return ExecutedNotebook(notebook, "failed", "it could not be started")
    return ExecutedNotebook(executed, "stopped", f"it was ended in cell {cell + 1}, by a limit")


@dataclass(frozen=True)
class _Sandbox:
    """What it takes to run one Python inside a sandbox, and to end it."""

    command: list[str]  # which Python's own arguments follow
    variables: dict[str, str]  # of the command, not always of what runs inside
    job: dict  # for `runner`
    remove: list[list[str]]  # commands that end what the process's own end does not

    def end(self, process: subprocess.Popen) -> None:
        """End everything that runs in it."""
        with contextlib.suppress(psutil.Error):  # a kernel has a group of its own
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
        for command in self.remove:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(command, capture_output=True, timeout=60)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


@contextlib.contextmanager
def _sandbox(isolation: Isolation, limits: Limits, hide: Iterable[Path]) -> Iterator[_Sandbox]:
    """Give a new sandbox; without an engine, its folder is on the disk, and removed at the end."""
    user, name = next(_users) if isolation.separate_user else None, f"grading-{secrets.token_hex(8)}"
    remove = [[isolation.engine, "rm", "--force", name]] if isolation.engine in CONTAINERS else []
    if isolation.engine == "none" and user is not None:  # all that this user still runs
        remove = [["setpriv", f"--reuid={user}", "--clear-groups", "kill", "-KILL", "-1"]]
    with locked_folder() if isolation.engine == "none" else contextlib.nullcontext() as folder:
        own = folder / "own" if folder else INSIDE
        if folder:
            own.mkdir(mode=0o700)
            if user is not None:
                folder.chmod(0o711)  # to be walked through, not read
                os.chown(own, user, user)
        command = sandbox_command(isolation, limits, hide, user=user, name=name)
        command.append("python3" if isolation.engine in CONTAINERS else sys.executable)
        own_variables = environment(own) | NO_PROXY if folder else dict(os.environ)
        bounds = {"DATA": limits.memory, "FSIZE": limits.file_size, "NOFILE": 1024, "CORE": 0}
        if isolation.scope or isolation.engine in CONTAINERS:
            del bounds["DATA"]
        if user is not None or isolation.engine == "bwrap":  # else it would count the teacher's, too
            bounds["NPROC"] = limits.threads
        job = {"work": str(own / "work"), "files": _fonts(own), "process_limits": bounds}
        yield _Sandbox(command, own_variables, job, remove)


def _fonts(own: Path) -> dict[str, str]:
    """Return Matplotlib's list of fonts, which takes seconds to be made anew."""
    from matplotlib import get_cachedir

    lists = Path(get_cachedir()).glob("fontlist-*.json")
    return {f"{own}/home/matplotlib/{path.name}": path.read_text(encoding="utf-8") for path in lists}
