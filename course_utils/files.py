"""Atomic writing of files: the old file stays whole until the new one is complete."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from course_utils.errors import CheckpointError, CourseError


def write_atomically(
    path: Path, write: Callable[[Path], None], error: type[CourseError] = CheckpointError
) -> None:
    """Write a hidden file next to `path`, then move it to `path`.

    Args:
        path: The file to write; an existing one is replaced as a whole.
        write: A function that writes the content to the path that it is given.
        error: The kind of error to raise.

    Raises:
        CourseError: Of the kind `error`, if the file cannot be written; an older file at `path` is still
            there.
    """
    path = Path(path).resolve()
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, ValueError, RuntimeError, SafetensorError) as problem:  # torch's full disk: RuntimeError
        raise not_written(path, problem, error) from problem
    finally:
        with suppress(OSError):
            part.unlink()


def make_folder(path: Path, error: type[CourseError] = CheckpointError) -> None:
    """Make a folder if it does not exist, and check that files can be written to it.

    Raises:
        CourseError: Of the kind `error`, if the folder belongs to another user, or its disk is full or
            read-only.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix="."):
            pass
    except OSError as problem:
        raise not_written(path, problem, error) from problem


def check_new(path: Path, error: type[CourseError] = CheckpointError, another: str = "name") -> None:
    """Raise `error` if a file exists, with the advice to choose `another` name or folder."""
    if path.exists():
        raise error(
            "A file would be overwritten.",
            where=path.resolve(),
            expected="a name that is not taken",
            found="a file",
            do=f"Choose another {another}, or move the file away.",
        )


def not_written(path: Path, problem: Exception, error: type[CourseError] = CheckpointError) -> CourseError:
    """Return the error for a file that cannot be written, with the free disk space."""
    folder = next(parent for parent in Path(path).absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free / 1e6
    return error(
        "A file could not be written.",
        where=path,
        expected="a folder that can be written to, with enough space",
        found=f"{type(problem).__name__}: {problem}; {free:,.0f} MB are free",
        do="Free some space or choose another folder; the old file, if there was one, is unchanged.",
    )
