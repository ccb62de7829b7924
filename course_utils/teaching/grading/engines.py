"""Engines that shut a submission in: docker, podman, bubblewrap, or none.

An engine is a prefix of commands: what stands behind it runs shut in. `find_isolation` tries out what works
here, and an `Isolation` puts into words what is in force; docs/grading.md has what an engine does not bound.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER, downloads_folder
from course_utils.teaching.grading.workspace import (
    Limits,
    Workspace,
    environment,
    make_workspace,
    torch_home,
)

CONTAINERS = ("docker", "podman")
ENGINES = (*CONTAINERS, "bwrap", "none")
IMAGE_VARIABLE = "COURSE_GRADING_IMAGE"
# What programs need of a Linux system, and nothing that is anybody's own.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/sys/devices/system/cpu"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/ssl"),
)
# System V memory and messages belong to no process that could be watched: there shall be none.
NO_SYSTEM_V = 'for n in shmmni msgmni; do echo 0 2>/dev/null >/proc/sys/kernel/$n; done; exec "$@"'

SHUT_IN = (
    "no network, no sight of other processes, nothing to read but the system, Python, the course and its own "
    "folder, nothing to write but that folder"
)
OPEN = "network closed only to what follows http_proxy"
# Where the network cannot be taken away: no proxy listens there; what is on this machine is reached without.
NOWHERE = "http://127.0.0.1:9"
NO_PROXY = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "localhost,127.0.0.1"}
COUNTED = "memory and files counted, not bounded: what hides in sockets or mappings is missed"
ELSEWHERE = f"{COUNTED}, and so are files outside of its own folder and System V memory"


@dataclass(frozen=True)
class Isolation:
    """What keeps a submission from harming others on this machine."""

    engine: str  # one of `ENGINES`
    separate_user: bool  # for each submission, which only root can give
    image: str = ""  # the container's, for docker and podman

    def __str__(self) -> str:
        user = "a user of its own" if self.separate_user else "your user without its privileges"
        if self.engine in CONTAINERS:
            return (
                f"{self.engine} with the image {self.image} ({SHUT_IN}, {user}); "
                "memory and processes bounded, files counted"
            )
        if self.engine == "bwrap":
            return f"bubblewrap ({SHUT_IN}, {user}); {COUNTED}"
        if self.separate_user:
            return f"a user of its own, which reads and changes what everybody may; {OPEN}; {ELSEWHERE}"
        return (
            "nothing, that is NOT SHUT IN: your own user, so that a submission can read, change and remove "
            f"your files; {OPEN}. Grade where an engine is, or in a virtual machine; {ELSEWHERE}"
        )

    @property
    def python(self) -> str:
        """The Python that kernels run in."""
        return "python3" if self.engine in CONTAINERS else sys.executable


def find_isolation(engine: str | None = None, image: str | None = None) -> Isolation:
    """Try out one of `ENGINES`, or what this machine can do, the strictest first.

    Raises:
        ConfigError: If the engine does not work here, or if submissions would run as root, who may do all.
    """
    root = os.name == "posix" and os.geteuid() == 0
    image = image or os.environ.get(IMAGE_VARIABLE, "")
    failed = []
    for name in [engine] if engine else ENGINES:
        isolation = Isolation(name, root, image if name in CONTAINERS else "")
        if name == "none" and not root:
            return isolation
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
    code = "import course_utils.errors, ipykernel.kernelapp, sys\n"
    needed = ["setpriv"] * (isolation.separate_user and isolation.engine not in CONTAINERS)
    if isolation.engine != "none":
        needed.append(isolation.engine)
    if missing := [name for name in needed if not shutil.which(name)]:
        return f"no {' and no '.join(missing)} on this machine"
    if isolation.engine not in CONTAINERS:
        code += f"assert sys.base_prefix == {sys.base_prefix!r}, 'another Python is found than yours'\n"
    elif not isolation.image:
        return f"no image is named, by --image or {IMAGE_VARIABLE}"
    with make_workspace() as space:
        command = [*shut_in(space, isolation, Limits(), []), isolation.python, "-c", code]
        how = {"env": engine_environment(space, isolation), "cwd": space.own / "work", "timeout": 60}
        try:
            done = subprocess.run(command, capture_output=True, text=True, **how)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{type(error).__name__}: {error}"
    return "" if done.returncode == 0 else done.stderr.strip()[-500:] or f"exit {done.returncode}"


def engine_environment(space: Workspace, isolation: Isolation) -> dict[str, str]:
    """Return the variables of a command that `shut_in` begins; a container is handed its own by name."""
    if isolation.engine in CONTAINERS:
        return dict(os.environ)
    return environment(space.own) | (NO_PROXY if isolation.engine == "none" else {})


def shut_in(space: Workspace, isolation: Isolation, limits: Limits, hide: Iterable[Path]) -> list[str]:
    """Return the start of a command whose rest runs shut in, without sight of what is to be hidden."""
    if isolation.engine in CONTAINERS:
        return _container(space, isolation, limits, hide)
    privileges = [shutil.which("setpriv") or "setpriv", "--no-new-privs"]
    if space.user is not None:
        privileges += [f"--reuid={space.user}", f"--regid={space.user}", "--clear-groups"]
    if isolation.engine == "bwrap":
        return _bubblewrap(space.own, privileges if space.user is not None else [], limits, hide)
    return privileges if shutil.which("setpriv") else []


def remove_command(space: Workspace, isolation: Isolation) -> list[str]:
    """Return the command that ends a container and all in it; none for other engines."""
    if isolation.engine not in CONTAINERS:
        return []
    return [isolation.engine, "rm", "--force", space.folder.name]


def _container(space: Workspace, isolation: Isolation, limits: Limits, hide: Iterable[Path]) -> list[str]:
    """Return the start of `docker run` or `podman run`; the kernel's sockets are files in the own folder."""
    own, needed = str(space.own), _existing([*_course_paths(), downloads_folder(), Path(torch_home())])
    user = f"{space.user}:{space.user}" if space.user is not None else f"{os.getuid()}:{os.getgid()}"
    view = [f"--volume={path}:{path}:ro" for path in needed]
    for path in _covered(hide, needed):
        view.append(f"--tmpfs={path}:ro,size=4k" if path.is_dir() else f"--volume=/dev/null:{path}:ro")
    variables = environment(space.own)
    for name in ("PATH", "LD_LIBRARY_PATH"):  # the image has its own
        variables.pop(name, None)
    return [
        *(isolation.engine, "run", "--rm", f"--name={space.folder.name}"),
        *("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *(f"--memory={limits.memory}", f"--memory-swap={limits.memory}"),
        *(f"--pids-limit={limits.processes * 8}", f"--shm-size={limits.file_size}"),
        *(f"--ulimit=fsize={limits.file_size}", "--ulimit=nofile=1024", "--ulimit=core=0"),
        f"--user={user}",
        *(["--userns=keep-id"] if isolation.engine == "podman" and space.user is None else []),
        *view,
        *(f"--volume={own}:{own}", f"--workdir={own}/work"),
        *(f"--env={name}={value}" for name, value in variables.items()),
        # Ends the container, should nobody be left to do so.
        *("--entrypoint=timeout", isolation.image, "--signal=KILL", f"{limits.seconds + 120:.0f}"),
    ]


def _bubblewrap(own: Path, privileges: list[str], limits: Limits, hide: Iterable[Path]) -> list[str]:
    """Return bubblewrap twice: what is in sight is bound by the first, by root if it is there to do so.

    The second takes away what the first needs: root, its capabilities, and namespaces of one's own.
    """
    bwrap = shutil.which("bwrap") or "bwrap"
    libraries = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path]
    needed = [*SYSTEM, *_course_paths(), sys.prefix, sys.base_prefix, *libraries]
    needed = _existing([*needed, downloads_folder(), torch_home()])
    covered = _covered([own.parent, *hide], needed)
    folders = sorted(str(path) for path in covered if path.is_dir())
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
    user = [] if privileges else ["--uid", str(os.getuid()), "--gid", str(os.getgid())]
    return [
        *(bwrap, *first, "--unshare-ipc", "--die-with-parent"),
        *("--dir", "/tmp", "--dev-bind", "/proc", "/proc", "--dev", "/dev", *view, "--"),
        *("/bin/sh", "-c", NO_SYSTEM_V, "sh", *privileges, bwrap, *user),
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


def _course_paths() -> list[Path]:
    names = ("course_utils", "data", "benchmarks/results", "pyproject.toml")
    return [REPOSITORY_FOLDER / name for name in names]


def _existing(needed: Iterable[str | Path]) -> list[Path]:
    """Return those of these paths that are there, and what they lead to if they are links."""
    paths = [Path(os.path.abspath(path)) for path in needed]
    return sorted(path for path in {*paths, *(path.resolve() for path in paths)} if path.exists())


def _covered(hide: Iterable[Path], needed: Iterable[Path]) -> set[Path]:
    """Return what is to be hidden and lies within what is in sight."""
    return {path for path in hide if any(path.is_relative_to(place) for place in needed)}
