"""Atomic writing of files: the old one stays whole until the new one is."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from course_utils.errors import CheckpointError, CourseError

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove a file that is open
    fcntl = None


def write_atomically(
    path: Path, write: Callable[[Path], None], error: type[CourseError] = CheckpointError
) -> None:
    """Write a temporary file beside `path`, and then put it in the place of `path`.

    Temporary files of the same path that a killed process left behind are removed.

    Args:
        path: Where to; an existing file is replaced as a whole.
        write: A function that writes the content to the path that it is given.
        error: The kind of error to raise.

    Raises:
        CourseError: Of the kind `error`, if the file cannot be written; what was at `path` before is still
            there.
    """
    path, temporary = Path(path).resolve(), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        with _locked(handle):
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            set_usual_permissions(temporary)
            os.replace(temporary, path)
    except (OSError, ValueError, RuntimeError, SafetensorError) as problem:  # torch's full disk: RuntimeError
        raise not_written(path, problem, error) from problem
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    """Lock an open file, and close it at the end. The system unlocks it if the process is killed."""
    if fcntl is None:
        os.close(handle)  # an open file could not be renamed
        yield
        return
    try:
        with suppress(OSError):  # a network drive may have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def set_usual_permissions(path: Path) -> None:
    """Give a file of mkstemp, which only you may read, the permissions of any other new file."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `path` that no process is still writing."""
    names = rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part"  # as mkstemp makes them
    for part in path.parent.glob(".*.part") if fcntl else ():
        if re.fullmatch(names, part.name):
            with suppress(OSError), part.open("rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()


def make_folder(path: Path, error: type[CourseError] = CheckpointError) -> None:
    """Make a folder, unless it is there, and check that files can be written to it.

    Raises:
        CourseError: Of the kind `error`, if it belongs to somebody else, or its disk is full or read-only.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix="."):
            pass
    except OSError as problem:
        raise not_written(path, problem, error) from problem


def check_new(path: Path, error: type[CourseError] = CheckpointError, another: str = "name") -> None:
    """Refuse to replace a file, with an error of the kind `error`, which advises `another` name or folder."""
    if path.exists():
        raise error(
            "A file would be overwritten.",
            where=path.resolve(),
            expected="a name that is not taken",
            found="a file",
            do=f"Choose another {another}, or move the file away.",
        )


def not_written(path: Path, problem: Exception, error: type[CourseError] = CheckpointError) -> CourseError:
    """Return the error for a file that cannot be written."""
    return error(
        "A file could not be written.",
        where=path,
        expected="a folder that can be written to, with enough space",
        found=f"{type(problem).__name__}: {problem}",
        do="Free some space or choose another folder; the old file, if there was one, is unchanged.",
    )
