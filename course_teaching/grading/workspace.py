"""Workspaces: folders in a private one, removed at the end, or by the next grading if nobody was left to."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from course_utils.errors import ConfigError


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
