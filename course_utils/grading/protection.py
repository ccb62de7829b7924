"""What keeps a submission from harming others on this machine, and what may it use?

`find_protection` tries out what the machine can do, the strictest first, and a `Protection` says in words
what is in force. `confine` carries it out, in the process that becomes the submission's kernel.
"""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

CONFINE = Path(__file__).resolve().with_name("confine.py")
# Numbers that are neither people's nor the system's.
FIRST_USER, USERS = 61_000, 4_000


@dataclass(frozen=True)
class Limits:
    """What one notebook may use."""

    seconds: float = 300.0
    """Wall-clock time of the whole notebook."""
    cell_seconds: float = 75.0
    """Wall-clock time of one cell; it is then interrupted, and the cells after it run."""
    memory: int = 4_000_000_000
    """Bytes of memory of all its processes together."""
    processes: int = 128
    """Processes; threads count eight to one process."""
    file_size: int = 500_000_000
    """Bytes of one file."""
    folder_size: int = 1_000_000_000
    """Bytes of all its files together."""
    output: int = 10_000_000
    """Characters that one cell may print or show."""


@dataclass(frozen=True)
class Protection:
    """What keeps a submission from harming others on this machine."""

    namespaces: bool
    """No network, no other processes, every file read-only but its own (Linux)."""
    own_user: bool
    """A user of its own for each submission, which only root can give."""

    def __str__(self) -> str:
        if self.namespaces:
            shut_in = (
                "no network (a network namespace of its own), no sight of other processes, "
                "every file read-only but those of its own folder"
            )
            return shut_in + (
                ", a user of its own" if self.own_user else ", your user without its privileges"
            )
        if self.own_user:
            return (
                "a user of its own, which can change only what everybody may change; network blocked only "
                "in Python, which a submission can undo"
            )
        return (
            "NOT SHUT IN: your own user, so that a submission can change and remove your files; network "
            "blocked only in Python, which a submission can undo. Grade on Linux, or in a virtual machine."
        )


def find_protection() -> Protection:
    """Try out what this machine can do, the strictest first.

    Raises:
        ConfigError: If submissions would run as root, who may do everything.
    """
    root = os.name == "posix" and os.geteuid() == 0
    tries = [Protection(True, root)] if sys.platform == "linux" else []
    for protection in [*tries, Protection(False, root)]:
        if not (protection.namespaces or protection.own_user) or _works(protection):
            return protection
    raise ConfigError(
        "Submissions cannot be run without harm.",
        where=REPOSITORY_FOLDER,
        expected="a user without privileges who can read the course and start its Python",
        found="root, and a submission cannot be given a user of its own",
        do="Grade as an ordinary user, or let other users read the course and its environment.",
    )


def free_users(count: int) -> list[int]:
    """Return numbers of users that nobody runs as, for submissions to have one of their own each."""
    taken = {user for process in psutil.process_iter() for user in users_of(process)}
    numbers = (FIRST_USER + (os.getpid() * 16 + step) % USERS for step in range(USERS))
    return list(itertools.islice((number for number in numbers if number not in taken), count))


def _works(protection: Protection) -> bool:
    """Try a protection on a program that imports what a kernel needs, and says so."""
    with own_folder(protection, FIRST_USER - 1) as (folder, own):
        plan = confinement_plan(own, protection, FIRST_USER - 1, Limits(), [])
        code = "import course_utils.errors, ipykernel.kernelapp, sys; print('in', *sys.argv[1:])"
        plan["command"] = [sys.executable, "-c", code]
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        command = [sys.executable, "-I", CONFINE, folder / "plan.json", "order"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, timeout=60, text=True)
            return done.returncode == 0 and done.stdout.split() == ["in", "order"]
    return False


@contextlib.contextmanager
def own_folder(protection: Protection, user: int) -> Iterator[tuple[Path, Path]]:
    """Make a folder that nobody else looks into, and in it the submission's own; remove both at the end."""
    folder = Path(tempfile.mkdtemp(prefix="grading-")).resolve()
    try:
        own = folder / "own"
        for path in (own, own / "work", own / "home", own / "tmp"):
            path.mkdir()
        _copy_font_list(own / "home")
        if protection.own_user:
            folder.chmod(0o711)  # to be walked through, not read
            for path in (own, *own.rglob("*")):
                os.chown(path, user, user)
        own.chmod(0o700)
        yield folder, own
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_font_list(home: Path) -> None:
    """Hand over what matplotlib has found out about fonts, which would take it seconds each time."""
    from matplotlib import get_cachedir

    (home / "matplotlib").mkdir()
    for path in Path(get_cachedir()).glob("fontlist-*.json"):
        shutil.copy(path, home / "matplotlib")


def confinement_plan(
    own: Path, protection: Protection, user: int, limits: Limits, hide: Iterable[Path]
) -> dict:
    """Describe for `confine` how a kernel is shut in.

    Args:
        own: The only folder that it may write to, with `work`, `home` and `tmp` in it.
        protection: What this machine can do.
        user: The number of the user that it becomes, if it is to have one of its own.
        limits: What it may use.
        hide: Files and folders that it must not see.
    """
    processes = limits.processes * 8
    if not protection.own_user and os.name == "posix":
        # The limit is one of the user, who has other programs, and counts threads.
        processes += sum(_threads(process) for process in psutil.process_iter() if _is_mine(process))
    return {
        "own": str(own),
        "uid": user if protection.own_user else None,
        "namespaces": protection.namespaces,
        "hide": _out_of_sight(own, hide),
        "keep": _in_sight(),
        # Memory that a process asks for at once beyond all measure is refused; what it takes step by step
        # is seen by the watch.
        "limits": {
            "NPROC": processes,
            "FSIZE": limits.file_size,
            "NOFILE": 1024,
            "DATA": limits.memory + limits.memory // 4 + 256_000_000,
            "CPU": int(limits.seconds * max(1, os.cpu_count() or 1)) + 60,
        },
        "environment": _environment(own),
        "command": [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "--HistoryManager.hist_file=:memory:",
            "-f",
        ],
    }


def _environment(own: Path) -> dict[str, str]:
    """Return the few variables that a submission is told; nothing of yours but where data is."""
    kept = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "COURSE_DATA", "COURSE_PROFILE", "LD_LIBRARY_PATH")
    home = own / "home"
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "USERPROFILE": str(home),
        "USER": "student",
        "LOGNAME": "student",
        **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(own / "tmp")),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "TORCH_HOME": os.environ.get("TORCH_HOME", str(Path.home() / ".cache" / "torch")),
        "COURSE_FEATURES": str(own / "features"),
        "PYTHONPATH": str(REPOSITORY_FOLDER),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "TQDM_DISABLE": "1",
    }


def _out_of_sight(own: Path, hide: Iterable[Path]) -> list[str]:
    """Return what a submission does not see: what is asked for, your home, and other programs' sockets."""
    wanted = [*hide, own.parent, Path(tempfile.gettempdir()), Path("/tmp"), Path("/run"), Path.home()]
    paths = {path.resolve() for path in wanted if path.exists()}
    return sorted(str(path) for path in paths if path != Path(path.anchor))


def _in_sight() -> list[str]:
    """Return what a submission needs, wherever it is: the course, Python, data and weights."""
    data = [os.environ[name] for name in ("COURSE_DATA", "TORCH_HOME") if name in os.environ]
    needed = [REPOSITORY_FOLDER, CONFINE.parents[1], sys.prefix, sys.base_prefix, *data]
    needed.append(Path.home() / ".cache" / "torch")
    return sorted({str(Path(path).expanduser().resolve()) for path in needed})


def users_of(process: psutil.Process) -> tuple[int, ...]:
    """Return the users that a process runs as; none if it has ended."""
    with contextlib.suppress(psutil.Error):
        return tuple(process.uids())
    return ()


def _is_mine(process: psutil.Process) -> bool:
    return os.getuid() in users_of(process)


def _threads(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.num_threads()
    return 0
