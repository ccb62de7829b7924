"""What shuts a submission in on this machine, and what may it use?

An engine is a prefix of commands: what stands behind it runs shut in. There is bubblewrap (`bwrap`), and
there is none. `find_protection` tries out what works here, and a `Protection` says in words what is in force.
Docker or podman would be one more prefix beside `_bubblewrap`, and one more name in `ENGINES`.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER, downloads_folder

ENGINES = ("bwrap", "none")
# Numbers that are neither people's nor the system's.
FIRST_USER, USERS = 61_000, 4_000
# What programs need of a Linux system, and nothing that is anybody's own.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/sys/devices/system/cpu"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/ssl"),
)
# Files that take the limits of memory, and of memory with swap (version 1) or of swap alone (version 2).
CGROUP_1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
CGROUP_2 = ("memory.max", "memory.swap.max")
# System V memory and messages belong to no process that could be watched: there shall be none.
NO_SYSTEM_V = 'for n in shmmni msgmni; do echo 0 2>/dev/null >/proc/sys/kernel/$n; done; exec "$@"'


@dataclass(frozen=True)
class Limits:
    """What one notebook may use, and what shuts it in."""

    seconds: float = 300.0
    """Wall-clock time of the whole notebook."""
    cell_seconds: float = 75.0
    """Wall-clock time of one cell; it is then interrupted, and the cells after it run."""
    memory: int = 4_000_000_000
    """Bytes of memory of all its processes together."""
    processes: int = 128
    """Processes; threads count eight to one process."""
    file_size: int = 500_000_000
    """Bytes of one file, and of all files in /dev/shm together."""
    folder_size: int = 1_000_000_000
    """Bytes of all its files together."""
    output: int = 10_000_000
    """Characters that one cell may print or show."""
    engine: str | None = None
    """One of `ENGINES`; None for the best that works here."""


@dataclass(frozen=True)
class Protection:
    """What keeps a submission from harming others on this machine."""

    engine: str
    """One of `ENGINES`."""
    own_user: bool
    """A user of its own for each submission, which only root can give."""
    cgroup: bool = False
    """The kernel itself bounds the memory; else it is counted, five times a second."""
    system_v: bool = True
    """Memory of System V can be had, which nothing counts or bounds without a cgroup."""

    def __str__(self) -> str:
        user = "a user of its own" if self.own_user else "your user without its privileges"
        if self.engine == "bwrap":
            told = (
                "bubblewrap (no network, no sight of other processes, nothing to read but the system, "
                f"Python, the course and its own folder, nothing to write but that folder, {user})"
            )
        elif self.own_user:
            told = (
                "a user of its own, which reads and changes what everybody may; network blocked only in "
                "Python, which a submission can undo"
            )
        else:
            told = (
                "nothing, that is NOT SHUT IN: your own user, so that a submission can read, change and "
                "remove your files; network blocked only in Python, which a submission can undo. Grade where "
                "bubblewrap is, or in a virtual machine"
            )
        if self.cgroup:
            return f"{told}; memory bounded by a cgroup, files counted"
        hidden = "sockets, mappings or System V" if self.system_v else "sockets or mappings"
        return f"{told}; memory and files counted, not bounded: what hides in {hidden} is missed"


def find_protection(engine: str | None = None) -> Protection:
    """Try out what this machine can do, the strictest first.

    Args:
        engine: One of `ENGINES`; None for the best that works.

    Raises:
        ConfigError: If the engine does not work here, or if submissions would run as root, who may do all.
    """
    root = os.name == "posix" and os.geteuid() == 0
    failed = []
    for name in [engine] if engine else ENGINES:
        protection = Protection(name, root, cgroup=_can_make_cgroups())
        if name == "none" and not root:
            return protection
        system_v, problem = _try_out(protection)
        if not problem:
            return replace(protection, system_v=system_v)
        failed.append(f"{name}: {problem}")
    raise ConfigError(
        "Submissions cannot be shut in.",
        where=f"--engine {engine or ENGINES[0]}",
        expected="bubblewrap on Linux, where users may make namespaces; without it an ordinary user, or "
        "root, who needs setpriv, and a course and a Python that other users can read",
        found="; ".join(failed),
        do="Install bubblewrap (apt-get install bubblewrap), or grade as an ordinary user, --engine none.",
    )


def _try_out(protection: Protection) -> tuple[bool, str]:
    """Run a program that imports what a kernel needs; return whether System V is there, and what failed."""
    code = "import course_utils.errors, ipykernel.kernelapp, os, sys; f = '/proc/sys/kernel/shmmni'\n"
    code += f"assert sys.base_prefix == {sys.base_prefix!r}, 'another Python is found than yours'\n"
    code += "print('in', open(f).read() if os.path.exists(f) else 1)"
    needed = ["setpriv"] * protection.own_user + ["bwrap"] * (protection.engine == "bwrap")
    if missing := [name for name in needed if not shutil.which(name)]:
        return True, f"no {' and no '.join(missing)} on this machine"
    with own_folder(protection, FIRST_USER - 1) as (_, own):
        command = [*shut_in(own, protection, FIRST_USER - 1, Limits(), []), sys.executable, "-c", code]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=60, text=True, env=environment(own), cwd=own / "work"
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return True, f"{type(error).__name__}: {error}"
    words = done.stdout.split()
    worked = done.returncode == 0 and words[:1] == ["in"]
    return words[1:] != ["0"], "" if worked else done.stderr.strip()[-500:] or f"exit {done.returncode}"


def shut_in(own: Path, protection: Protection, user: int, limits: Limits, hide: Iterable[Path]) -> list[str]:
    """Return the start of a command whose rest runs shut in.

    Args:
        own: The only folder that it may write to, with `work`, `home` and `tmp` in it.
        protection: What this machine can do.
        user: The number of the user that it becomes, if it is to have one of its own.
        limits: What it may use.
        hide: Files and folders that it must not see, should they lie within what it needs.
    """
    privileges = [shutil.which("setpriv") or "setpriv", "--no-new-privs"]
    if protection.own_user:
        privileges += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    if protection.engine == "bwrap":
        return _bubblewrap(own, privileges if protection.own_user else [], limits, hide)
    return privileges if shutil.which("setpriv") else []


def _bubblewrap(own: Path, privileges: list[str], limits: Limits, hide: Iterable[Path]) -> list[str]:
    """Return bubblewrap twice: what is in sight is bound by the first, by root if it is there to do so.

    The second takes away what the first needs: root, its capabilities, and namespaces of one's own.
    """
    bwrap, needed = shutil.which("bwrap") or "bwrap", _in_sight()
    covered = {path for path in [own.parent, *hide] if any(path.is_relative_to(place) for place in needed)}
    folders = sorted(map(str, (path for path in covered if path.is_dir())))
    view = _parents(needed)
    for path in map(str, needed):
        view += ["--ro-bind", path, path]
    for path in folders:
        view += ["--perms", "0755", "--tmpfs", path]
    for path in covered:
        view += ["--ro-bind", "/dev/null", str(path)] if path.is_file() else []
    view += [*_parents([own]), "--bind", str(own), str(own)]
    for path in ["/", *folders]:
        view += ["--remount-ro", path]
    # An ordinary user is root in the first one, so that System V can be closed there.
    first = [] if privileges else ["--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "CAP_SETFCAP"]
    whose = [] if privileges else ["--uid", str(os.getuid()), "--gid", str(os.getgid())]
    return [
        *(bwrap, *first, "--unshare-ipc", "--die-with-parent"),
        *("--dir", "/tmp", "--dev-bind", "/proc", "/proc", "--dev", "/dev", *view, "--"),
        *("/bin/sh", "-c", NO_SYSTEM_V, "sh", *privileges, bwrap, *whose),
        *("--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--unshare-cgroup-try", "--cap-drop", "ALL", "--die-with-parent", "--new-session"),
        *("--dev-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--perms", "1777", "--size", str(limits.file_size), "--tmpfs", "/dev/shm"),
        # A kernel whose parent is process 1 would think that its parent has ended.
        *("--unsetenv", "JPY_PARENT_PID", "--chdir", str(own / "work"), "--"),
    ]


def _parents(paths: Iterable[Path]) -> list[str]:
    """Return bubblewrap's options for the folders above these; what it makes by itself is shut to others."""
    parents = {parent for path in paths for parent in path.parents[:-1]}
    return [word for parent in sorted(parents) for word in ("--perms", "0755", "--dir", str(parent))]


def _in_sight() -> list[Path]:
    """Return what a submission needs, wherever it is: the system, the course, Python, data and weights."""
    course = ("course_utils", "data", "benchmarks/results", "requirements.txt")
    needed = [*SYSTEM, *(REPOSITORY_FOLDER / name for name in course)]
    needed += [sys.prefix, sys.base_prefix, downloads_folder(), *_folders_of("LD_LIBRARY_PATH")]
    needed += _folders_of("TORCH_HOME") or [Path.home() / ".cache" / "torch"]
    paths = [Path(os.path.abspath(path)) for path in needed]
    return sorted(path for path in {*paths, *(path.resolve() for path in paths)} if path.exists())


def _folders_of(variable: str) -> list[Path]:
    return [Path(path) for path in os.environ.get(variable, "").split(os.pathsep) if os.path.isabs(path)]


def environment(own: Path) -> dict[str, str]:
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


def process_limits(protection: Protection, limits: Limits) -> dict[str, int]:
    """Return what the kernel holds each process to, by the names of `resource` without ``RLIMIT_``."""
    processes = limits.processes * 8
    if not protection.own_user and os.name == "posix":
        # The limit is one of the user, who has other programs, and counts threads.
        mine = [process for process in psutil.process_iter() if os.getuid() in users_of(process)]
        processes += sum(_threads(process) for process in mine)
    return {
        "NPROC": processes,
        "FSIZE": limits.file_size,
        "NOFILE": 1024,
        # What is asked for at once beyond all measure is refused; what is taken step by step is watched.
        "DATA": limits.memory + limits.memory // 4 + 256_000_000,
        "CPU": int(limits.seconds * max(1, os.cpu_count() or 1)) + 60,
        "CORE": 0,
    }


@contextlib.contextmanager
def own_folder(protection: Protection, user: int) -> Iterator[tuple[Path, Path]]:
    """Make a folder that nobody else looks into, and in it the submission's own; remove both at the end.

    It is locked as long as it is needed: see `sweep`.
    """
    folder = Path(tempfile.mkdtemp(prefix="grading-")).resolve()
    try:
        with FileLock(folder / "lock"):
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


def sweep() -> None:
    """Remove what graders that were killed have left: their folders, and cgroups in which nothing runs."""
    for lock in Path(tempfile.gettempdir()).glob("grading-*/lock"):
        with contextlib.suppress(OSError, Timeout), FileLock(lock, timeout=0):
            shutil.rmtree(lock.parent, ignore_errors=True)
    for place, _ in _cgroup_places():
        for group in place.glob("grading-*"):
            with contextlib.suppress(OSError):  # only an empty one can be removed
                group.rmdir()


def _copy_font_list(home: Path) -> None:
    """Hand over what matplotlib has found out about fonts, which would take it seconds each time."""
    from matplotlib import get_cachedir

    (home / "matplotlib").mkdir()
    for path in Path(get_cachedir()).glob("fontlist-*.json"):
        shutil.copy(path, home / "matplotlib")


@contextlib.contextmanager
def own_cgroup(memory: int) -> Iterator[Path | None]:
    """Make a cgroup that bounds the memory of what is put into it; give None where that cannot be had.

    Args:
        memory: Bytes, shared memory and files in memory included.
    """
    made = None
    for place, (limit, swap) in _cgroup_places():
        group = place / f"grading-{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                _write(group / limit, memory)
                with contextlib.suppress(FileNotFoundError):  # where nothing is swapped
                    _write(group / swap, memory if swap in CGROUP_1 else 0)
            except OSError:
                group.rmdir()
                raise
            made = group
            break
    try:
        yield made
    finally:
        if made is not None:
            with contextlib.suppress(OSError):
                made.rmdir()


def _cgroup_places() -> list[tuple[Path, tuple[str, str]]]:
    """Return where cgroups may be made, and the files of each that take the limits of memory and swap."""
    places, root = [], Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, kinds, path = line.split(":", 2)
            if "memory" in kinds.split(","):
                places.append((root / "memory" / path.lstrip("/"), CGROUP_1))
            elif number == "0":  # a group with processes in it has none below it that bound memory
                places.append(((root / path.lstrip("/")).parent if path != "/" else root, CGROUP_2))
    return places


def _write(path: Path, number: int) -> None:
    with open(path, "r+") as file:  # which makes no file where the kernel has none
        file.write(str(number))


def _can_make_cgroups() -> bool:
    with own_cgroup(10**9) as group:
        return group is not None


def free_users(count: int) -> list[int]:
    """Return numbers of users that nobody runs as, for submissions to have one of their own each."""
    taken = {user for process in psutil.process_iter() for user in users_of(process)}
    numbers = (FIRST_USER + (os.getpid() * 16 + step) % USERS for step in range(USERS))
    return list(itertools.islice((number for number in numbers if number not in taken), count))


def users_of(process: psutil.Process) -> tuple[int, ...]:
    """Return the users that a process runs as; none if it has ended."""
    with contextlib.suppress(psutil.Error):
        return tuple(process.uids())
    return ()


def _threads(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.num_threads()
    return 0
