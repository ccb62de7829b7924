"""Shut this process in, and then become a submission's kernel: nothing of the course is imported here.

Run by path with a plan, a JSON file, before any code of a student: `python -I confine.py PLAN CONNECTION`.
On Linux the process gets namespaces of its own: no network, no other processes in sight, every file
read-only but those of its own folder. Where it was started by root it becomes a user of its own, too.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys

NEW_MOUNTS, NEW_NAMES, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NETWORK = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
READ_ONLY, NO_SETUID, NO_DEVICES, NO_EXEC, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MOUNT_SETATTR, HERE, WHOLE_TREE = 442, -100, 0x8000
DIE_WITH_PARENT, DROP_FROM_BOUNDING_SET, NO_NEW_PRIVILEGES = 1, 24, 38


def main(plan_file: str, connection_file: str) -> None:
    """Shut this process in as the plan says, and turn it into the plan's command.

    Args:
        plan_file: JSON with `own` (the only folder that can be written to), `uid` (or null), `namespaces`
            (true or false), `hide` (files and folders out of sight), `keep` (folders below these that stay in
            sight), `limits` (names of `resource` without ``RLIMIT_``), `environment` and `command`.
        connection_file: Where the kernel finds the names of its sockets; also the command's last argument.
    """
    with open(plan_file, encoding="utf-8") as file:
        plan = json.load(file)
    command = [*plan["command"], connection_file]
    if os.name == "nt":  # execve on Windows would end the process that is waited for
        kept = {name: value for name, value in os.environ.items() if name.startswith("JPY_INTERRUPT")}
        sys.exit(subprocess.call(command, env={**plan["environment"], **kept}))
    if plan["uid"] is not None and os.path.exists(connection_file):
        os.chown(connection_file, plan["uid"], plan["uid"])
    if plan["namespaces"]:
        _enter_namespaces(plan)
    os.chdir(os.path.join(plan["own"], "work"))
    _limit(plan["limits"])
    if plan["uid"] is not None:
        os.setgroups([])
        os.setgid(plan["uid"])
        os.setuid(plan["uid"])
    if sys.platform == "linux":
        _call("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)  # after setuid, which forgets it
        _call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    os.execve(command[0], command, plan["environment"])


def _call(name: str, *arguments) -> None:
    """Call a function of the C library; raise OSError if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _limit(limits: dict[str, int]) -> None:
    import resource

    for name, value in {**limits, "CORE": 0}.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


def _enter_namespaces(plan: dict) -> None:
    """Leave the network, the processes and the writable files of this machine behind."""
    user, group = os.getuid(), os.getgid()
    kinds = NEW_MOUNTS | NEW_NETWORK | NEW_IPC | NEW_PIDS | NEW_NAMES
    _call("unshare", kinds if user == 0 else kinds | NEW_USER)
    if user != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    child = os.fork()  # only a child is in the new namespace of processes; it is the first, and ends them all
    if child:
        _call("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the kernel
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(status if status >= 0 else 128 - status)
    _call("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    _arrange_files(plan)
    if user != 0:
        for capability in range(64):  # root in a namespace of its own could undo what was done
            try:
                _call("prctl", DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)
            except OSError:
                break


def _arrange_files(plan: dict) -> None:
    """Make every file read-only but those of the own folder, and put what is hidden out of sight."""
    own = plan["own"]
    _mount(None, "/", None, RECURSIVE | PRIVATE)
    kept = {path: os.open(path, os.O_PATH) for path in [own, *plan["keep"]] if os.path.isdir(path)}
    for path in sorted(plan["hide"]):  # a folder comes before what is in it
        if os.path.isdir(path):
            _mount("tmpfs", path, "tmpfs", NO_SETUID | NO_DEVICES, "mode=0755,size=1m")
        elif os.path.exists(path):
            _mount("/dev/null", path, None, BIND)
        for inside in sorted(kept):
            if inside.startswith(os.path.join(path, "")):
                os.makedirs(inside, exist_ok=True)
                _mount(f"/proc/self/fd/{kept[inside]}", inside, None, BIND)
    _mount(own, own, None, BIND)
    for folder in kept.values():
        os.close(folder)
    writable = [own]
    if os.path.isdir("/dev/shm"):
        size = plan["limits"]["FSIZE"]
        _mount("tmpfs", "/dev/shm", "tmpfs", NO_SETUID | NO_DEVICES, f"mode=1777,size={size}")
        writable.append("/dev/shm")
    _mount("proc", "/proc", "proc", NO_SETUID | NO_DEVICES | NO_EXEC)
    _set_attributes("/", add=READ_ONLY)
    for path in writable:
        _set_attributes(path, remove=READ_ONLY)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = [text.encode() if text is not None else None for text in (source, target, kind, options)]
    _call("mount", encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])


def _set_attributes(path: str, *, add: int = 0, remove: int = 0) -> None:
    """Change a mount and, if something is added, all below it; Linux 5.12 and newer can."""
    attributes = (ctypes.c_uint64 * 4)(add, remove, 0, 0)
    depth = WHOLE_TREE if add else 0
    _call(
        "syscall",
        MOUNT_SETATTR,
        HERE,
        path.encode(),
        depth,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
