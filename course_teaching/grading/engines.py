"""Engines that shut a submission in: docker, podman, bubblewrap, or none.

An engine is a prefix of a command: what stands behind it runs shut in. An `Isolation` puts into words what is
in force; docs/grading.md has what an engine does not bound.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from course_utils.settings import REPOSITORY_FOLDER, downloads_folder

CONTAINERS = ("docker", "podman")
ENGINES = (*CONTAINERS, "bwrap", "none")
IMAGE_VARIABLE = "COURSE_GRADING_IMAGE"
# The folder of a submission inside an engine: in memory, limited in size, and gone at the end.
INSIDE = Path("/tmp")
# What programs need of a Linux system, and nothing that is anybody's own.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/sys/devices/system/cpu"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/ssl"),
)
# System V memory and messages belong to no process whose memory is bounded: there shall be none.
NO_SYSTEM_V = 'for n in shmmni msgmni; do echo 0 2>/dev/null >/proc/sys/kernel/$n; done; exec "$@"'

SHUT_IN = (
    "no network, no sight of other processes, nothing to read but the system, Python and the course, nothing "
    "to write but a folder in memory"
)
PROXY_ONLY = "network closed only to what follows http_proxy"
# Where the network cannot be taken away: no proxy listens there; what is on this machine is reached without.
NOWHERE = "http://127.0.0.1:9"
NO_PROXY = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "localhost,127.0.0.1"}
BOUNDED = "memory and processes bounded"
PER_PROCESS = "memory bounded for each process, not for all together"


@dataclass(frozen=True)
class Limits:
    """What one notebook may use (seconds of wall-clock time, bytes), and what shuts it in."""

    seconds: float = 300.0
    cell_seconds: float = 75.0  # one cell is then interrupted, and the cells after it run
    memory: int = 4_000_000_000
    threads: int = 1024  # of all its processes together
    file_size: int = 500_000_000  # of one file, and of all files in /dev/shm together
    folder_size: int = 1_000_000_000  # of all its files together
    output: int = 10_000_000  # characters that one cell may print or show
    engine: str | None = None  # one of `ENGINES`; None for the best that works here
    image: str | None = None  # for docker and podman, with the course's packages; None for the variable


@dataclass(frozen=True)
class Isolation:
    """What keeps a submission from harming others on this machine."""

    engine: str  # one of `ENGINES`
    separate_user: bool  # for each submission, which only root can give
    image: str = ""  # the container's, for docker and podman
    scope: bool = False  # whether systemd bounds memory and processes, for bubblewrap

    def __str__(self) -> str:
        user = "a user of its own" if self.separate_user else "your user without its privileges"
        if self.engine in CONTAINERS:
            return f"{self.engine} with the image {self.image} ({SHUT_IN}, {user}); {BOUNDED}"
        if self.engine == "bwrap":
            return f"bubblewrap ({SHUT_IN}, {user}); {BOUNDED if self.scope else PER_PROCESS}"
        if self.separate_user:
            user += ", which reads and changes what everybody may"
            return f"{user}; {PROXY_ONLY}; {PER_PROCESS}; files not bounded"
        return (
            "nothing, that is NOT SHUT IN: your own user, so that a submission can read, change and remove "
            f"your files; {PROXY_ONLY}. Grade where an engine is, or in a virtual machine; {PER_PROCESS}; "
            "files and processes not bounded"
        )


def sandbox_command(
    isolation: Isolation,
    limits: Limits,
    hide: Iterable[Path],
    *,
    user: int | None = None,
    name: str = "grading",
) -> list[str]:
    """Return the start of a command whose rest runs shut in, without sight of what is to be hidden."""
    if isolation.engine in CONTAINERS:
        return _container(isolation, limits, hide, user, name)
    privileges = [shutil.which("setpriv") or "setpriv", "--no-new-privs"]
    if user is not None:
        privileges += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    if isolation.engine == "none":
        return privileges if shutil.which("setpriv") else []
    scope = ["systemd-run", *["--user"] * (user is None), "--scope", "--quiet", "--collect"]
    scope += ["-p", f"MemoryMax={limits.memory}", "-p", "MemorySwapMax=0", "-p", f"TasksMax={limits.threads}"]
    bubblewrap = _bubblewrap(privileges if user is not None else [], limits, hide)
    return [*scope, *bubblewrap] if isolation.scope else bubblewrap


def _container(
    isolation: Isolation, limits: Limits, hide: Iterable[Path], user: int | None, name: str
) -> list[str]:
    """Return the start of `docker run` or `podman run`, without the command."""
    needed = _existing([*_course_paths(), downloads_folder(), torch_home()])
    number = f"{user}:{user}" if user is not None else f"{os.getuid()}:{os.getgid()}"
    view = [f"--volume={path}:{path}:ro" for path in needed]
    for path in _covered(hide, needed):
        view.append(f"--tmpfs={path}:ro,size=4k" if path.is_dir() else f"--volume=/dev/null:{path}:ro")
    variables = environment(INSIDE)
    for variable in ("PATH", "LD_LIBRARY_PATH"):  # the image has its own
        variables.pop(variable, None)
    return [
        *(isolation.engine, "run", "--rm", "--interactive", f"--name={name}", "--log-driver=none"),
        *("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *(f"--memory={limits.memory}", f"--memory-swap={limits.memory}"),
        *(f"--pids-limit={limits.threads}", f"--shm-size={limits.file_size}"),
        *(f"--ulimit=fsize={limits.file_size}", "--ulimit=nofile=1024", "--ulimit=core=0"),
        f"--user={number}",
        *(["--userns=keep-id"] if isolation.engine == "podman" and user is None else []),
        *view,
        f"--tmpfs={INSIDE}:rw,exec,size={limits.folder_size},mode=1777",
        f"--workdir={INSIDE}",
        *(f"--env={variable}={value}" for variable, value in variables.items()),
        # Ends the container, should nobody be left to do so.
        *("--entrypoint=timeout", isolation.image, "--signal=KILL", f"{limits.seconds + 120:.0f}"),
    ]


def _bubblewrap(privileges: list[str], limits: Limits, hide: Iterable[Path]) -> list[str]:
    """Return bubblewrap twice: what is in sight is bound by the first, by root if it is there to do so.

    The second takes away what the first needs: root, its capabilities, and namespaces of one's own.
    """
    bwrap = shutil.which("bwrap") or "bwrap"
    libraries = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path]
    needed = [*SYSTEM, *_course_paths(), sys.prefix, sys.base_prefix, *libraries]
    needed = _existing([*needed, downloads_folder(), torch_home()])
    covered = _covered(hide, needed)
    folders = sorted(str(path) for path in covered if path.is_dir())
    # Bubblewrap shuts to others the folders that it makes by itself.
    parents = sorted({parent for path in needed for parent in path.parents[:-1]} - {INSIDE})
    view = [word for parent in parents for word in ("--perms", "0755", "--dir", str(parent))]
    for path in map(str, needed):
        view += ["--ro-bind", path, path]
    for path in folders:
        view += ["--perms", "0755", "--tmpfs", path]
    for path in covered:
        view += ["--ro-bind", "/dev/null", str(path)] if path.is_file() else []
    for path in ["/", *folders]:
        view += ["--remount-ro", path]
    own = ["--perms", "1777", "--size", str(limits.folder_size), "--tmpfs", str(INSIDE)]
    # An ordinary user is root in the first one, so that System V can be closed there.
    first = [] if privileges else ["--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "CAP_SETFCAP"]
    user = [] if privileges else ["--uid", str(os.getuid()), "--gid", str(os.getgid())]
    variables = environment(INSIDE).items()
    return [
        *(bwrap, *first, "--unshare-ipc", "--die-with-parent"),
        *("--dev-bind", "/proc", "/proc", "--dev", "/dev", *own, *view, "--"),
        *("/bin/sh", "-c", NO_SYSTEM_V, "sh", *privileges, bwrap, *user),
        *("--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--unshare-cgroup-try", "--cap-drop", "ALL", "--die-with-parent", "--new-session"),
        *("--dev-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--perms", "1777", "--size", str(limits.file_size), "--tmpfs", "/dev/shm"),
        "--clearenv",
        *(word for variable, value in variables for word in ("--setenv", variable, value)),
        *("--chdir", str(INSIDE), "--"),
    ]


def _course_paths() -> list[Path]:
    names = ("course_utils", "course_teaching/grading/runner.py", "data", "benchmarks/results")
    return [REPOSITORY_FOLDER / name for name in names]


def _existing(needed: Iterable[str | Path]) -> list[Path]:
    """Return those of these paths that are there, and what they lead to if they are links."""
    paths = [Path(os.path.abspath(path)) for path in needed]
    return sorted(path for path in {*paths, *(path.resolve() for path in paths)} if path.exists())


def _covered(hide: Iterable[Path], needed: Iterable[Path]) -> set[Path]:
    """Return what is to be hidden and lies within what is in sight."""
    return {path for path in hide if any(path.is_relative_to(place) for place in needed)}


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
        **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(own)),
        "IPYTHONDIR": f"{home}/ipython",
        "JUPYTER_RUNTIME_DIR": f"{home}/runtime",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "TORCH_HOME": torch_home(),
        "PYTHONPATH": str(REPOSITORY_FOLDER),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "TQDM_DISABLE": "1",
    }
