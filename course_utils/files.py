"""How is a file written so that it is never half there?"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from course_utils.errors import CheckpointError, CourseError


def write_atomically(
    path: Path, write: Callable[[Path], None], error: type[CourseError] = CheckpointError
) -> None:
    """Let `write` fill a temporary file beside `path`, and then put it in the place of `path`.

    Args:
        path: Where to; an existing file is replaced as a whole.
        write: A function that is given the path of the temporary file.
        error: The kind of error that tells that this was not possible.

    Raises:
        CourseError: Of the kind `error`, if the file cannot be written; what was at `path` before is still
            there.
    """
    path = Path(path).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except (OSError, ValueError) as problem:
        raise not_written(path, problem, error) from problem
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files that only you may read; give this one the usual permissions.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as problem:  # torch reports a full disk as a RuntimeError
        raise not_written(path, problem, error) from problem
    finally:
        temporary.unlink(missing_ok=True)


def not_written(path: Path, problem: Exception, error: type[CourseError] = CheckpointError) -> CourseError:
    """Return the error for a file that cannot be written."""
    return error(
        "A file could not be written.",
        where=path,
        expected="a folder that can be written to, with enough space",
        found=f"{type(problem).__name__}: {problem}",
        do="Free some space or choose another folder; the old file, if there was one, is unchanged.",
    )
