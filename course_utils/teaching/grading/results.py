"""Results of grading: marks.csv, and grading.json, from which an interrupted grading goes on.

`grading.json` has the rows of `marks.csv` and what each of them came from. A row is used again only if all of
that is the same: the submission's bytes, the solution, the limits, the isolation, and the course itself.
"""

import csv
import functools
import hashlib
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nbformat import NotebookNode

from course_utils.errors import ConfigError
from course_utils.teaching.grading.engines import Isolation
from course_utils.teaching.grading.submissions import Submission, as_one_name
from course_utils.teaching.grading.workspace import Limits
from course_utils.teaching.lessons import write_file

MARKS, PROGRESS = "marks.csv", "grading.json"
COURSE = Path(__file__).resolve().parents[2]
STATUSES = ("graded", "stopped", "died", "failed", "refused", "missing")


@dataclass
class Graded:
    """One row of marks.csv."""

    student: str
    lesson: str
    file: str  # below the folder of the submissions; "" if nothing was handed in
    status: str  # one of STATUSES; tests that ran before give their points all the same
    happened: str = ""  # why it was not graded to the end; else the first error of a cell that is no test
    points: dict[str, tuple[float, float]] = field(default_factory=dict)  # of each test, and its most
    seconds: float = 0.0
    feedback: str = ""  # the page for the student, below the output folder
    review: str = ""  # cells that touch what marks rest on, with the words that do
    fingerprint: str = ""  # of all that the marks depend on, where they can be used again the next time

    @property
    def total(self) -> float:
        """The points of all tests."""
        return sum(got for got, _ in self.points.values())

    @property
    def of(self) -> float:
        """The most that the tests give."""
        return sum(most for _, most in self.points.values())

    @property
    def place(self) -> tuple[str, str, str]:
        """Where its row stands in the table."""
        return as_one_name(self.student), self.lesson, self.file

    def __str__(self) -> str:
        """One line for the terminal."""
        line = f"{self.student} {self.lesson}: {self.total:g} of {self.of:g} in {self.seconds:.0f} s"
        line += f" - {self.status}: {self.happened}" if self.happened or self.status != "graded" else ""
        return line + (f" - look at this one: {self.review}" if self.review else "")


@functools.cache
def _course_digest() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(COURSE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprint(
    submission: Submission, solution: NotebookNode | None, limits: Limits, isolation: Isolation
) -> str:
    """Return a SHA-256 over all that the marks of a submission depend on; "" if it cannot be graded."""
    if submission.notebook is None:
        return ""
    one = [submission.student, submission.file, submission.digest, submission.note]
    parts = [*one, json.dumps(solution), repr(limits), repr(isolation), _course_digest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_results(output: Path) -> list[Graded]:
    """Return the rows of an earlier grading into a folder; none if there was no grading.

    Raise a ConfigError if there are marks that this command has not written, or that were changed since.
    """
    marks = output / MARKS
    try:
        rows = [Graded(**row) for row in json.loads((output / PROGRESS).read_text(encoding="utf-8"))["rows"]]
        for row in rows:
            row.points = {name: (got, of) for name, (got, of) in row.points.items()}
        # Whoever is ended between the two files has written one row more here than there.
        if not marks.exists() or marks.read_bytes() in (marks_table(rows), marks_table(rows[:-1])):
            return rows
        found, problem = "marks that were changed after they were written", None
    except FileNotFoundError as error:
        if not marks.exists() and not (output / "feedback").exists():
            return []
        found, problem = f"marks that have no {PROGRESS} beside them", error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found, problem = f"a {PROGRESS} that cannot be read: {type(error).__name__}: {error}", error
    raise ConfigError(
        "The marks cannot be written there.",
        where=output,
        expected="an empty folder, or one with an earlier grading, unchanged, to go on with",
        found=found,
        do="Choose another folder with --output.",
    ) from problem


def write_results(output: Path, rows: list[Graded]) -> None:
    """Write grading.json and marks.csv, each as a whole; raise a ConfigError if one cannot be written."""
    write_file(output / PROGRESS, json.dumps({"rows": [asdict(row) for row in rows]}), ConfigError)
    write_file(output / MARKS, marks_table(rows), ConfigError)


def marks_table(rows: Iterable[Graded]) -> bytes:
    """Return marks.csv, in UTF-8: one row for each result, with one column for each test of any lesson."""
    rows = sorted(rows, key=lambda row: row.place)
    by_lesson = sorted(rows, key=lambda row: row.lesson)
    tests = list(dict.fromkeys(name for row in by_lesson for name in row.points))
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    ends = ["total", "of", "percent", "status", "seconds", "happened", "look at", "file", "feedback"]
    table.writerow(["student", "lesson", *tests, *ends])
    for row in rows:
        percent = f"{100 * row.total / row.of:.1f}" if row.of else ""
        points = [f"{row.points[name][0]:g}" if name in row.points else "" for name in tests]
        values = [row.student, row.lesson, *points, f"{row.total:g}", f"{row.of:g}", percent, row.status]
        values += [f"{row.seconds:.1f}", row.happened, row.review, row.file, row.feedback]
        # No spreadsheet computes what a student wrote.
        formulas = ("=", "+", "-", "@", "\t", "\r")
        table.writerow([f"'{value}" if value.startswith(formulas) else value for value in values])
    return text.getvalue().encode("utf-8", "replace")


def summary(results: Iterable[Graded]) -> str:
    """Return how many were graded and how many were not, and which of them somebody should look at."""
    results = list(results)
    counted = Counter(row.status for row in results)
    text = ", ".join(f"{counted[status]} {status}" for status in STATUSES if counted[status])
    touching = [f"\n  {row.student} {row.lesson}: {row.review}" for row in results if row.review]
    if touching:
        text += f"\nLook at {len(touching)}, with cells that touch what marks rest on:{''.join(touching)}"
    return text
