"""Workspaces: a folder for each submission, its environment variables, and its limits."""

import contextlib
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

# User ids that root gives to submissions. useradd stops at 60,000, and systemd leaves 60,706 to 61,183 free:
# its dynamic users begin at 61,184. They fit into a container with 65,536 ids.
FIRST_USER, USERS = 60_706, 478
_users = itertools.cycle(FIRST_USER + (os.getpid() * 16 + step) % USERS for step in range(USERS))


@dataclass(frozen=True)
class Limits:
    """What one notebook may use (seconds of wall-clock time, bytes), and what shuts it in."""

    seconds: float = 300.0
    cell_seconds: float = 75.0  # one cell is then interrupted, and the cells after it run
    memory: int = 4_000_000_000  # of all its processes together
    processes: int = 128  # threads count eight to one process
    file_size: int = 500_000_000  # of one file, and of all files in /dev/shm together
    folder_size: int = 1_000_000_000  # of all its files together
    output: int = 10_000_000  # characters that one cell may print or show
    engine: str | None = None  # one of `engines.ENGINES`; None for the best that works here
    image: str | None = None  # for docker and podman, with the course's packages; None for the variable


@dataclass(frozen=True)
class Workspace:
    """The folders of one submission, which nobody else looks into, and its user."""

    folder: Path
    user: int | None  # its own, which only root can give; None for the one who grades

    @property
    def own(self) -> Path:
        """The only folder that the submission may write to, with `work`, `home` and `tmp` in it."""
        return self.folder / "own"

    @property
    def private(self) -> Path:
        """The grader's: the notebook and its outputs so far."""
        return self.folder / "private"


@contextlib.contextmanager
def make_workspace() -> Iterator[Workspace]:
    """Make a submission's folders, and remove them at the end."""
    from matplotlib import get_cachedir

    with locked_folder() as folder:
        space = Workspace(folder, next(_users) if _is_root() else None)
        space.private.mkdir(mode=0o700)
        for path in (space.own, *(space.own / name for name in ("work", "tmp", "home/matplotlib"))):
            path.mkdir(parents=True)
        for path in Path(get_cachedir()).glob("fontlist-*.json"):  # takes seconds to be made anew
            shutil.copy(path, space.own / "home" / "matplotlib")
        if space.user is not None:
            space.folder.chmod(0o711)  # to be walked through, not read
            for path in (space.own, *space.own.rglob("*")):
                os.chown(path, space.user, space.user)
        space.own.chmod(0o700)
        yield space


@contextlib.contextmanager
def locked_folder() -> Iterator[Path]:
    """Make a folder in the private one, locked until it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="grading-", dir=private_folder()))
    try:
        with FileLock(folder / "lock"):
            yield folder
    finally:
        remove(folder)


def private_folder() -> Path:
    """Return the folder of all workspaces, in which only the one who grades can write; make it if needed.

    Raise a ConfigError if something else has its name.
    """
    folder = Path(tempfile.gettempdir()).resolve() / (
        f"grading-{os.getuid()}" if os.name == "posix" else "grading"
    )
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or (os.name == "posix" and status.st_uid != os.getuid()):
        raise ConfigError(
            "The folder for grading cannot be used.",
            where=folder,
            expected="a folder that belongs to you",
            found="a link or a file" if not stat.S_ISDIR(status.st_mode) else "a folder of another user",
            do="Remove it, or set TMPDIR to another folder.",
        )
    folder.chmod(0o711 if _is_root() else 0o700)  # root's is walked through by the submissions' users
    return folder


def remove_stale_workspaces() -> None:
    """Remove the folders that graders left when they were killed; links are not followed."""
    for folder in private_folder().iterdir():
        lock = folder / "lock"
        if not folder.is_symlink() and not lock.is_symlink() and lock.is_file():
            with contextlib.suppress(OSError, Timeout), FileLock(lock, timeout=0):
                remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder, whatever permissions a submission has left in it."""
    folder.chmod(0o700)
    for place, names, _ in os.walk(folder):  # which looks into a folder after its permissions are back
        for path in (Path(place, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0


def torch_home() -> str:
    """Return the folder of torch's weights, as torch finds it."""
    return os.environ.get("TORCH_HOME", str(Path.home() / ".cache" / "torch"))


def environment(own: Path) -> dict[str, str]:
    """Return the few variables that a submission is given; nothing of yours but where data is."""
    passed_on = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "COURSE_DATA", "COURSE_PROFILE", "LD_LIBRARY_PATH")
    home = str(own / "home")
    return {
        **{name: os.environ[name] for name in passed_on if name in os.environ},
        **dict.fromkeys(("HOME", "USERPROFILE"), home),
        **dict.fromkeys(("USER", "LOGNAME"), "student"),
        **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(own / "tmp")),
        "IPYTHONDIR": f"{home}/ipython",
        "JUPYTER_RUNTIME_DIR": f"{home}/runtime",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "TORCH_HOME": torch_home(),
        "COURSE_FEATURES": str(own / "features"),
        "PYTHONPATH": str(REPOSITORY_FOLDER),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "TQDM_DISABLE": "1",
    }


def process_limits(space: Workspace, limits: Limits) -> dict[str, int]:
    """Return what the system holds each process to, by the names of `resource` without ``RLIMIT_``."""
    threads = limits.processes * 8
    if space.user is None and os.name == "posix":  # the limit is one of the user, who has other programs
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                threads += process.num_threads() if os.getuid() in process.uids() else 0
    return {
        "NPROC": threads,
        "FSIZE": limits.file_size,
        "NOFILE": 1024,
        # Beyond all measure, memory is refused; what is taken step by step is watched.
        "DATA": limits.memory + limits.memory // 4 + 256_000_000,
        "CPU": int(limits.seconds * max(1, os.cpu_count() or 1)) + 60,
        "CORE": 0,
    }
