"""What has been graded already? An interrupted grading goes on where it stopped.

`grading.json`, beside the marks, has the rows of `marks.csv` and what each of them came from. A row is used
again only if all of that is the same: the submission's bytes, the solution, the limits, what it was shut in
by, and the course itself.
"""

import functools
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from nbformat import NotebookNode

from course_utils.data import write_atomically
from course_utils.errors import ConfigError
from course_utils.teaching.grading.protection import Limits, Protection
from course_utils.teaching.grading.submissions import Submission

FILE = "grading.json"
COURSE = Path(__file__).resolve().parents[1]


@functools.cache
def _course_digest() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(COURSE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprint(
    submission: Submission, solution: NotebookNode | None, limits: Limits, protection: Protection
) -> str:
    """Return a SHA-256 over all that the marks of a submission depend on."""
    one = [submission.student, str(submission.path), submission.member, submission.digest, submission.note]
    parts = [*one, json.dumps(solution), repr(limits), repr(protection), _course_digest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_progress(output: Path, table: Callable[[list[dict]], bytes]) -> list[dict]:
    """Return the rows of an earlier grading; none if there was no grading.

    Args:
        output: The folder that has the marks.
        table: Returns what is in marks.csv for some rows.

    Raises:
        ConfigError: If there are marks that this command has not written, or that were changed since.
    """
    marks = output / "marks.csv"
    try:
        rows = json.loads((output / FILE).read_text(encoding="utf-8"))["rows"]
        # Whoever is ended between the two files has written one row more here than there.
        written = (table(rows), table(rows[:-1])) if marks.exists() else ()
        if not marks.exists() or marks.read_bytes() in written:
            return rows
        found, problem = "marks that were changed after they were written", None
    except FileNotFoundError as error:
        if not marks.exists() and not (output / "feedback").exists():
            return []
        found, problem = "marks that have no grading.json beside them", error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found, problem = f"a {FILE} that cannot be read: {type(error).__name__}: {error}", error
    raise ConfigError(
        "The marks cannot be written there.",
        where=output,
        expected="an empty folder, or one with an earlier grading as it was written, to go on with",
        found=found,
        do="Choose another folder with --output.",
    ) from problem


def write_progress(output: Path, rows: list[Mapping]) -> None:
    """Write the rows so far.

    Raises:
        ConfigError: If the file cannot be written.
    """
    text = json.dumps({"rows": rows})
    write_atomically(output / FILE, lambda part: part.write_text(text, encoding="utf-8"), ConfigError)
