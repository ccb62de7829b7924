"""Engines that confine a submission: docker, podman, bubblewrap, or none.

An engine is a command prefix: whatever follows it runs confined. `str(Isolation)` describes the protection;
docs/grading.md says what each engine leaves open.
"""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from course_utils.settings import REPOSITORY_FOLDER, downloads_folder

CONTAINERS = ("docker", "podman")
ENGINES = (*CONTAINERS, "bwrap", "none")
IMAGE_VARIABLE = "COURSE_GRADING_IMAGE"
# A submission's own folder inside an engine: in memory, limited in size, gone at the end.
INSIDE = Path("/tmp")
# The parts of a Linux system that programs need; nothing in them is private.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/sys/devices/system/cpu"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/ssl"),
)
# For a submission whose network cannot be blocked: no proxy listens at this address.
NOWHERE = "http://127.0.0.1:9"
NO_PROXY = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "localhost,127.0.0.1"}

CONFINED = (
    "no network, no other processes in sight, nothing to read but the system, Python and the course, nothing "
    "to write but a folder in memory"
)
NOT_CONFINED = (
    "nothing, it is NOT CONFINED: a submission runs as your own user and can read, change and remove your "
    "files. Only programs that follow http_proxy are kept off the network; files and processes are not "
    "bounded. Use an engine or a virtual machine"
)


@dataclass(frozen=True)
class Limits:
    """What one notebook may use (seconds of wall-clock time, bytes), and what confines it."""

    seconds: float = 300.0
    cell_seconds: float = 75.0  # then the cell is interrupted, and the next cells still run
    memory: int = 4_000_000_000
    threads: int = 1024  # of all its processes together
    file_size: int = 500_000_000  # of one file, and of all files in /dev/shm together
    folder_size: int = 1_000_000_000  # of all its files together
    output: int = 100_000_000  # of all that its cells print or show
    engine: str | None = None  # one of `ENGINES`; None for the best that works here
    image: str | None = None  # for docker and podman, with the course's packages; None for the variable
    workers: int = field(default=2, repr=False)  # notebooks at the same time, which changes no mark


@dataclass(frozen=True)
class Isolation:
    """What keeps a submission from harming others on this machine."""

    engine: str  # one of `ENGINES`
    image: str = ""  # for docker and podman
    scope: bool = False  # for bubblewrap: whether systemd bounds memory and processes

    def __str__(self) -> str:
        if self.engine == "none":
            return NOT_CONFINED
        name = f"{self.engine} with the image {self.image}" if self.image else "bubblewrap"
        user = "a user of its own" if is_root() else "your user without its privileges"
        whole = self.engine in CONTAINERS or self.scope
        bound = (
            "memory and processes bounded" if whole else "memory bounded for each process only, not in all"
        )
        return f"{name} ({CONFINED}, {user}); {bound}"


def is_root() -> bool:
    """Return whether this process runs as root, which gives each submission its own user id."""
    return os.name == "posix" and os.geteuid() == 0


def sandbox_command(
    isolation: Isolation, limits: Limits, *, user: int | None = None, name: str = "grading"
) -> list[str]:
    """Return the start of a command whose rest runs confined.

    Args:
        isolation: The engine.
        limits: What the command may use.
        user: The user id to run under, which only root can set; None for your own.
        name: The container's name, needed to remove it.
    """
    if isolation.engine in CONTAINERS:
        return _container(isolation, limits, user, name)
    bounds = [f"--fsize={limits.file_size}", "--nofile=1024", "--core=0"]
    if not isolation.scope:
        bounds.append(f"--data={limits.memory}")
    if isolation.engine == "none":  # without --nproc, which would count all your processes
        return ["prlimit", *bounds] if shutil.which("prlimit") else []
    scope = ["systemd-run", *["--user"] * (user is None), "--scope", "--quiet", "--collect"]
    scope += ["-p", f"MemoryMax={limits.memory}", "-p", "MemorySwapMax=0", "-p", f"TasksMax={limits.threads}"]
    bubblewrap = [*_bubblewrap(limits, user), "prlimit", *bounds, f"--nproc={limits.threads}"]
    return [*scope, *bubblewrap] if isolation.scope else bubblewrap


def _container(isolation: Isolation, limits: Limits, user: int | None, name: str) -> list[str]:
    """Return the start of `docker run` or `podman run`, without the command."""
    number = f"{user}:{user}" if user is not None else f"{os.getuid()}:{os.getgid()}"
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
        *(f"--volume={path}:{path}:ro" for path in _course_paths()),
        f"--tmpfs={INSIDE}:rw,exec,size={limits.folder_size},mode=1777",
        f"--workdir={INSIDE}",
        *(f"--env={variable}={value}" for variable, value in variables.items()),
        # This ends the container even if the grader was killed.
        *("--entrypoint=timeout", isolation.image, "--signal=KILL", f"{limits.seconds + 120:.0f}"),
    ]


def _bubblewrap(limits: Limits, user: int | None) -> list[str]:
    """Return the start of bubblewrap's command; root gives up its privileges inside, by setpriv."""
    libraries = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path]
    needed = sorted({*_course_paths(), *_existing(*SYSTEM, sys.prefix, sys.base_prefix, *libraries)})
    # Other users cannot enter the parent folders that bubblewrap makes by itself.
    parents = sorted({parent for path in needed for parent in path.parents[:-1]} - {INSIDE})
    view = [word for parent in parents for word in ("--perms", "0755", "--dir", str(parent))]
    view += [word for path in map(str, needed) for word in ("--ro-bind", path, path)]
    variables = environment(INSIDE).items()
    own = ("--unshare-user", "--disable-userns", "--cap-drop", "ALL") if user is None else ()
    privileges = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    privileges += ["--inh-caps=-all", "--bounding-set=-all"]
    return [
        *("bwrap", *own, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--unshare-cgroup-try", "--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(limits.file_size), "--tmpfs", "/dev/shm"),
        *("--perms", "1777", "--size", str(limits.folder_size), "--tmpfs", str(INSIDE)),
        *view,
        *("--remount-ro", "/", "--remount-ro", "/dev", "--clearenv"),
        *(word for variable, value in variables for word in ("--setenv", variable, value)),
        *("--chdir", str(INSIDE), "--", *(privileges if user is not None else [])),
    ]


def _existing(*needed: str | Path) -> list[Path]:
    """Return the paths that exist, and the targets of those that are links."""
    paths = [Path(os.path.abspath(path)) for path in needed]
    return sorted(path for path in {*paths, *(path.resolve() for path in paths)} if path.exists())


def _course_paths() -> list[Path]:
    names = ("course_utils", "course_teaching/grading/runner.py", "data", "benchmarks/results")
    return _existing(*(REPOSITORY_FOLDER / name for name in names), downloads_folder(), torch_home())


def torch_home() -> str:
    """Return the folder in which torch looks for weights."""
    return os.environ.get("TORCH_HOME", str(Path.home() / ".cache" / "torch"))


def environment(own: Path) -> dict[str, str]:
    """Return the few environment variables that a submission gets, such as where data is."""
    passed_on = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "COURSE_DATA", "COURSE_PROFILE", "LD_LIBRARY_PATH")
    home = str(own / "home")
    return {
        **{name: os.environ[name] for name in passed_on if name in os.environ},
        **dict.fromkeys(("HOME", "USERPROFILE"), home),
        **dict.fromkeys(("USER", "LOGNAME"), "student"),
        **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(own)),
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "TORCH_HOME": torch_home(),
        "PYTHONPATH": str(REPOSITORY_FOLDER),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "TQDM_DISABLE": "1",
    }
