"""Results of grading: marks.csv, and grading.json, from which an interrupted grading goes on.

`grading.json` has the rows of `marks.csv` and what each of them came from. A row is used again only if all of
that is the same: the submission's bytes, the solution, the limits, the isolation, and the course itself.
"""

import csv
import functools
import hashlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nbformat import NotebookNode
from pydantic import TypeAdapter

from course_teaching.grading.engines import Isolation, Limits
from course_teaching.grading.submissions import Submission, as_one_name
from course_teaching.lessons import write_file
from course_utils.errors import ConfigError

MARKS, PROGRESS = "marks.csv", "grading.json"
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
COURSE = Path(__file__).resolve().parents[2]
# In the words of `runner`.
TIME_LIMIT = re.compile(r"was interrupted after (\d+) s|(\d+) s were over before cell")
STATUSES = ("graded", "stopped", "died", "failed", "refused", "missing")


@dataclass
class Question:
    """A question that a person marks."""

    title: str
    of: float  # the highest level
    answer: str | None = None  # None: there was no notebook to find it in
    key: str = ""  # of its row in to_mark.csv; another answer has another one
    level: int | None = None  # None: not marked yet
    comment: str = ""


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
    id: str = ""  # of the student, as Moodle or Canvas has it in the file's name
    exercises: dict[str, tuple[str, str]] = field(default_factory=dict)  # title and hint, by the test's name
    questions: dict[str, Question] = field(default_factory=dict)  # those that a person marks
    roster: tuple[str, str] | None = None  # name and id of the one person in the roster that it belongs to
    roster_problem: str = ""  # why there is none, or who has handed in twice

    @property
    def automatic(self) -> float:
        """The points of all tests."""
        return sum(got for got, _ in self.points.values())

    @property
    def automatic_of(self) -> float:
        """The most that the tests give."""
        return sum(most for _, most in self.points.values())

    @property
    def by_person(self) -> float:
        """The points that a person has given so far."""
        return sum(one.level or 0 for one in self.questions.values())

    @property
    def total(self) -> float:
        """The points so far."""
        return self.automatic + self.by_person

    @property
    def max_points(self) -> float:
        """The most that tests and questions give."""
        return self.automatic_of + sum(one.of for one in self.questions.values())

    @property
    def unmarked(self) -> list[Question]:
        """The questions that wait for a person."""
        return [one for one in self.questions.values() if one.answer is not None and one.level is None]

    @property
    def shown_total(self) -> str:
        """The points, or what they may become; nothing if nothing was handed in, which is not 0."""
        if self.status == "missing":
            return ""
        left = sum(one.of for one in self.unmarked)
        return f"{self.total:g} to {self.total + left:g}" if left else f"{self.total:g}"

    @property
    def name(self) -> str:
        """The student's name, as the roster has it."""
        return self.roster[0] if self.roster else self.student

    @property
    def remarks(self) -> str:
        """What the teacher should know."""
        return "; ".join(text for text in (self.happened, self.roster_problem) if text)

    @property
    def sort_key(self) -> tuple[str, str, str, str]:
        """Where its row stands in the table."""
        return as_one_name(self.name), self.roster[1] if self.roster else self.id, self.lesson, self.file

    def __str__(self) -> str:
        """One line for the terminal."""
        line = f"{self.name} {self.lesson}: {self.total:g} of {self.max_points:g} in {self.seconds:.0f} s"
        line += f", {len(self.unmarked)} to be marked by a person" if self.unmarked else ""
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
        read = json.loads((output / PROGRESS).read_text(encoding="utf-8"))
        rows = TypeAdapter(list[Graded]).validate_python(read["rows"])
        # Whoever is ended between the two files leaves the marks as they were.
        known = digest(marks_table(rows)), read.get("before")
        if not marks.exists() or digest(marks.read_bytes()) in known:
            return rows
        found, problem = "marks that were changed after they were written", None
    except FileNotFoundError as error:
        if not marks.exists() and not (output / "feedback").exists():
            return []
        found, problem = f"marks that have no {PROGRESS} beside them", error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        found, problem = f"a {PROGRESS} that cannot be read: {told}", error
    raise ConfigError(
        "The marks cannot be written there.",
        where=output,
        expected="an empty folder, or one with an earlier grading, unchanged, to go on with",
        found=found,
        do="Choose another folder with --output.",
    ) from problem


def write_results(output: Path, rows: list[Graded]) -> None:
    """Write grading.json and marks.csv, each as a whole; raise a ConfigError if one cannot be written."""
    before = digest((output / MARKS).read_bytes()) if (output / MARKS).exists() else ""
    content = {"rows": [asdict(row) for row in rows], "before": before}
    write_file(output / PROGRESS, json.dumps(content), ConfigError)
    write_file(output / MARKS, marks_table(rows), ConfigError)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def marks_table(rows: Iterable[Graded]) -> bytes:
    """Return marks.csv, in UTF-8: one row for each result, with one column for each test of any lesson.

    Where there are questions for a person, they have columns, too, beside sums of their own.
    """
    rows = sorted(rows, key=lambda row: row.sort_key)
    by_lesson = sorted(rows, key=lambda row: row.lesson)
    tests = list(dict.fromkeys(name for row in by_lesson for name in row.points))
    questions = list(dict.fromkeys(name for row in by_lesson for name in row.questions))
    with_id = any(row.id or row.roster for row in rows)
    parts = ["automatic", "automatic of", "by a person", "by a person of", "not marked yet"]
    ends = ["total", "of", "percent", "status", "seconds", "happened", "look at", "file", "feedback"]
    between = [*questions, *parts] if questions else []
    lines = [["student", *["id"] * with_id, "lesson", *tests, *between, *ends]]
    for row in rows:
        handed_in = row.status != "missing"
        points = [f"{row.points[name][0]:g}" if name in row.points and handed_in else "" for name in tests]
        if questions:
            levels = {name: one.level for name, one in row.questions.items()}
            points += ["" if levels.get(name) is None else str(levels[name]) for name in questions]
            sums = (row.automatic, row.automatic_of, row.by_person, row.max_points - row.automatic_of)
            points += [f"{value:g}" if handed_in or place % 2 else "" for place, value in enumerate(sums)]
            points.append(", ".join(one.title for one in row.unmarked))
        percent = (
            f"{100 * row.total / row.max_points:.1f}"
            if row.max_points and handed_in and not row.unmarked
            else ""
        )
        values = [row.lesson, *points, row.shown_total, f"{row.max_points:g}", percent, row.status]
        values += [f"{row.seconds:.1f}", row.remarks, row.review, row.file, row.feedback]
        person = [row.name, row.roster[1] if row.roster else row.id][: 1 + with_id]
        # Names of the roster are the teacher's own; no spreadsheet computes what a student wrote.
        person = person if row.roster else map(no_formula, person)
        lines.append([*person, *map(no_formula, values)])
    return csv_bytes(lines, lineterminator="\n")


def csv_bytes(lines: Iterable[Iterable[object]], *, bom: bool = False, lineterminator: str = "\r\n") -> bytes:
    """Return a table with commas in UTF-8, with a BOM for spreadsheets if asked for."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=lineterminator).writerows(lines)
    return text.getvalue().encode("utf-8-sig" if bom else "utf-8", "replace")


def no_formula(value: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(FORMULAS) else value


def summary(results: Iterable[Graded]) -> str:
    """Return how many were graded and how many were not, and which of them somebody should look at."""
    results = list(results)
    counted = Counter(row.status for row in results)
    text = ", ".join(f"{counted[status]} {status}" for status in STATUSES if counted[status])
    met = [(row, found) for row in results if (found := TIME_LIMIT.search(row.happened))]
    if met:
        # Twice the time, of which a cell may take a quarter.
        seconds = max(2 * float(found[2] or 4 * float(found[1])) for _, found in met)
        names = ", ".join(f"{row.name} {row.lesson}" for row, _ in met)
        text += f"\n{len(met)} met a limit of time: {names}. --seconds {seconds:g} gives twice as much."
    reviews = [f"\n  {row.name} {row.lesson}: {row.review}" for row in results if row.review]
    if reviews:
        text += f"\nLook at {len(reviews)}, with cells that touch what marks rest on:{''.join(reviews)}"
    unsure = [f"\n  {row.name} {row.lesson}: {row.roster_problem}" for row in results if row.roster_problem]
    if unsure:
        text += f"\nLook at {len(unsure)}, whose marks are in doubt:{''.join(unsure)}"
    if waiting := sum(len(row.unmarked) for row in results):
        text += f'\n{waiting} answers wait for a person: totals such as "8 to 11" are provisional.'
    return text
