"""Results: the outcome of grading each notebook, and marks.csv for the teacher."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from course_teaching.grading.roster import as_one_name
from course_teaching.lessons import write_file
from course_utils.errors import ConfigError

MARKS = "marks.csv"
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
STATUSES = ("graded", "stopped", "died", "failed", "refused", "missing")


@dataclass
class Question:
    """A question that is marked by hand."""

    title: str
    of: float  # the highest level
    answer: str | None = None  # None: there was no notebook to find it in
    key: str = ""  # of its row in to_mark.csv; a changed answer has another one
    level: int | None = None  # None: not marked yet
    comment: str = ""


@dataclass
class Graded:
    """One row of marks.csv."""

    student: str  # as in the roster, if there is one
    id: str
    lesson: str
    file: str  # below the folder of the submissions; "" if nothing was handed in
    status: str  # one of STATUSES; tests that ran before a failure still give points
    happened: str = ""  # why it was not graded to the end, or the first error of a cell that is not a test
    note: str = ""  # how the notebook differs from the exercise
    doubt: str = ""  # why the marks may be another student's, or not the ones to count
    points: dict[str, tuple[float, float]] = field(default_factory=dict)  # of each test, and its maximum
    exercises: dict[str, tuple[str, str]] = field(default_factory=dict)  # title and hint, by the test's name
    questions: dict[str, Question] = field(default_factory=dict)
    seconds: float = 0.0
    review: str = ""  # suspicious cells, with the words that make them so
    feedback: str = ""  # the page for the student, below the output folder

    @property
    def total(self) -> float:
        """The points so far, of the tests and of the questions marked by hand."""
        levels = (one.level or 0 for one in self.questions.values())
        return sum(got for got, _ in self.points.values()) + sum(levels)

    @property
    def max_points(self) -> float:
        """The maximum points of tests and questions."""
        return sum(most for _, most in self.points.values()) + sum(one.of for one in self.questions.values())

    @property
    def unmarked(self) -> list[Question]:
        """The questions that still have to be graded by hand."""
        return [one for one in self.questions.values() if one.answer is not None and one.level is None]

    @property
    def shown_total(self) -> str:
        """The points, or the range of the final points; empty, not 0, without a submission."""
        left = sum(one.of for one in self.unmarked)
        text = f"{self.total:g} to {self.total + left:g}" if left else f"{self.total:g}"
        return "" if self.status == "missing" else text

    @property
    def remarks(self) -> str:
        """What the teacher should know."""
        return "; ".join(text for text in (self.happened, self.note) if text)

    @property
    def sort_key(self) -> tuple[str, str, str, str]:
        """Where its row stands in the table."""
        return as_one_name(self.student), self.id, self.lesson, self.file

    def __str__(self) -> str:
        """One line for the terminal."""
        line = f"{self.student} {self.lesson}: {self.shown_total or 'none'} of {self.max_points:g} points"
        line += f" - {self.status}: {self.remarks}" if self.remarks or self.status != "graded" else ""
        return line + (f" - look at this one: {self.review}" if self.review else "")


def write_marks(output: Path, rows: Iterable[Graded]) -> None:
    """Write marks.csv; an existing one with other content is kept under another name.

    Raise a ConfigError if it cannot be written.
    """
    path, table = output / MARKS, marks_table(rows)
    if path.exists() and path.read_bytes() != table:
        path.replace(output / f"marks_before_{datetime.now():%Y-%m-%d_%H%M%S}.csv")
    write_file(path, table, ConfigError)


def marks_table(rows: Iterable[Graded]) -> bytes:
    """Return marks.csv: one row for each result, one column for each test and question of any lesson."""
    rows = sorted(rows, key=lambda row: row.sort_key)
    by_lesson = sorted(rows, key=lambda row: row.lesson)
    tests = list(dict.fromkeys(name for row in by_lesson for name in row.points))
    questions = list(dict.fromkeys(name for row in by_lesson for name in row.questions))
    ends = ["not marked yet", "total", "of", "status", "seconds", "remarks", "in doubt", "look at", "file"]
    lines = [["student", "id", "lesson", *tests, *questions, *ends, "feedback"]]
    for row in rows:
        got = {name: f"{points:g}" for name, (points, _) in row.points.items() if row.status != "missing"}
        got |= {name: str(one.level) for name, one in row.questions.items() if one.level is not None}
        lines.append([row.student, row.id, row.lesson, *(got.get(name, "") for name in (*tests, *questions))])
        lines[-1] += [", ".join(one.title for one in row.unmarked), row.shown_total, f"{row.max_points:g}"]
        lines[-1] += [row.status, f"{row.seconds:.1f}", row.remarks, row.doubt, row.review, row.file]
        lines[-1].append(row.feedback)
    return csv_bytes(map(no_formula, line) for line in lines)


def csv_bytes(lines: Iterable[Iterable[str]]) -> bytes:
    """Return a table in UTF-8, with a BOM so that spreadsheets recognise the encoding."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode("utf-8-sig", "replace")


def no_formula(value: str) -> str:
    """Return a text that spreadsheets do not read as a formula."""
    return f"'{value}" if value.startswith(FORMULAS) else value


def summary(results: Iterable[Graded]) -> str:
    """Return how many were graded and how many were not, and which ones the teacher should look at."""
    results = list(results)
    counted = Counter(row.status for row in results)
    text = ", ".join(f"{counted[status]} {status}" for status in STATUSES if counted[status])
    for name, why in (("review", "with suspicious cells"), ("doubt", "whose marks are in doubt")):
        rows = [row for row in results if getattr(row, name)]
        lines = [f"\n  {row.student} {row.lesson}: {getattr(row, name)}" for row in rows]
        text += f"\nLook at {len(rows)}, {why}:{''.join(lines)}" if rows else ""
    if waiting := sum(len(row.unmarked) for row in results):
        text += f'\n{waiting} answers are not marked yet: totals such as "8 to 11" are provisional.'
    return text
