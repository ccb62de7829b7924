"""Grade what students handed in: run each notebook shut in, and write marks and feedback as they come.

Marks are worked out here, from notebooks whose tests come from the solutions and ran in a kernel that a
submission cannot leave. How far that goes is told by `protection`, and in docs/grading.md.
"""

import csv
import io
import itertools
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue

from nbformat import NotebookNode

from course_utils.data import write_atomically
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER
from course_utils.teaching.exercises import SOLUTIONS_FOLDER, marks
from course_utils.teaching.grading.feedback import feedback_page
from course_utils.teaching.grading.progress import fingerprint, read_progress, write_progress
from course_utils.teaching.grading.protection import (
    Limits,
    Protection,
    find_protection,
    free_users,
    sweep,
)
from course_utils.teaching.grading.review import cells_to_review
from course_utils.teaching.grading.sandbox import Ran, run_shut_in
from course_utils.teaching.grading.submissions import (
    Submission,
    as_one_name,
    asked_lessons,
    find_submissions,
    read_solutions,
    restore,
)

STATUSES = ("graded", "stopped", "died", "failed", "refused", "missing")
ANSWERS = (".git", "notebooks/exercises", "tests", "runs")


@dataclass
class Graded:
    """One row of marks.csv."""

    student: str
    lesson: str
    file: str
    """What was graded, below the folder of the submissions; "" if nothing was handed in."""
    status: str
    """"graded", "stopped" (met a limit), "died" (ended its kernel), "failed" (did not start), "refused" (no
    notebook of an exercise) or "missing". Tests that ran before give their points all the same."""
    happened: str = ""
    """Why it was not graded to the end; else the first error of a cell that is no test."""
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    """For each test its points, and the most that it gives."""
    seconds: float = 0.0
    feedback: str = ""
    """The page for the student, below the output folder."""
    review: str = ""
    """Cells that touch what marks rest on, with the words that do: somebody should look at them."""
    fingerprint: str = ""
    """Of all that the marks depend on, where they can be kept for the next time."""

    @property
    def total(self) -> float:
        """The points of all tests."""
        return sum(got for got, _ in self.points.values())

    @property
    def of(self) -> float:
        """The most that the tests give."""
        return sum(most for _, most in self.points.values())


def limits_of(seconds: float, memory_gb: float, engine: str | None = None) -> Limits:
    """Return what one notebook may use.

    Args:
        seconds: Wall-clock time of the whole notebook; one of its cells may take a quarter of it.
        memory_gb: Memory, in gigabytes.
        engine: What shuts it in, "bwrap" or "none"; None for the best that is there.

    Raises:
        ConfigError: If one of them is not above 0.
    """
    _above_zero(seconds=seconds, memory_gb=memory_gb)
    return Limits(seconds=seconds, cell_seconds=seconds / 4, memory=int(memory_gb * 1e9), engine=engine)


def _above_zero(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ConfigError(
                "A limit is out of range.",
                where=f"--{name.replace('_', '-')}",
                expected="a number greater than 0",
                found=repr(value),
                do="Leave it out for the default.",
            )


def grade(
    submissions: Path,
    output: Path,
    *,
    limits: Limits | None = None,
    workers: int = 2,
    solutions: Path = SOLUTIONS_FOLDER,
    lessons: Iterable[str] = (),
) -> list[Graded]:
    """Grade every notebook of a folder of submissions, and print and write what comes out.

    What an earlier grading into the same folder has written is kept where nothing that it depends on has
    changed.

    Args:
        submissions: One folder a student with notebooks, or one notebook or zip file a student. It is only
            read.
        output: The folder for `marks.csv`, `grading.json` and `feedback/`, all written as results come.
        limits: What one notebook may use; `limits_of(300, 4)` if None.
        workers: How many notebooks run at the same time.
        solutions: The folder of the solution notebooks, with all tests.
        lessons: The lessons to grade, by name or number, which everybody should have handed in; if there
            are none, whatever was handed in.

    Returns:
        One result for each notebook and for each one that is missing, by student and lesson.

    Raises:
        ConfigError: If a number is out of range, a folder is empty, a lesson is unknown, or results that are
            not of such a grading would be overwritten.
    """
    submissions, output = Path(submissions).resolve(), Path(output).resolve()
    solutions = Path(solutions).resolve()
    limits = limits or limits_of(300, 4)
    _above_zero(workers=workers)
    _refuse_inside(output, submissions)
    earlier = read_progress(output, lambda rows: marks_table(map(_from_row, rows)))
    earlier = [_from_row(row) for row in earlier]
    notebooks = read_solutions(solutions)
    lessons = asked_lessons(lessons, notebooks)
    found = find_submissions(submissions, notebooks, lessons)
    sweep()
    protection = find_protection(limits.engine)
    prints = [
        fingerprint(one, notebooks.get(one.lesson), limits, protection) if one.notebook is not None else ""
        for one in found
    ]
    rows = [one for one in earlier if one.fingerprint in prints and (output / one.feedback).is_file()]
    rows = [one for one in rows if one.fingerprint]
    kept = {one.fingerprint for one in rows}
    waiting = [index for index, key in enumerate(prints) if key not in kept]
    if lessons:  # those of other lessons, which are not asked for this time
        rows += [one for one in earlier if one.lesson not in ("", *lessons)]
    say(f"{len(waiting)} notebooks, {workers} at a time. Shut in by: {protection}.")
    if rows:
        say(f"{len(rows)} were graded before and are kept.")
    (output / "feedback").mkdir(parents=True, exist_ok=True)
    pages = _page_names([found[index] for index in waiting], [row.feedback for row in rows])
    pages = dict(zip(waiting, pages, strict=True))
    # What tells the answers, and what others handed in.
    hide = [submissions, solutions, output, *(REPOSITORY_FOLDER / name for name in ANSWERS)]
    users, cancelled = SimpleQueue(), threading.Event()
    for user in free_users(workers):
        users.put(user)

    def grade_one(index: int) -> Ran | None:
        notebook, user = found[index].notebook, users.get()
        try:
            if notebook is not None:
                return run_shut_in(notebook, limits, protection, user=user, hide=hide, cancelled=cancelled)
        except Exception as error:  # a full disk, for example: the others are graded all the same
            return Ran(notebook, "failed", f"it could not be run: {type(error).__name__}: {error}", 0.0)
        finally:
            users.put(user)
        return None

    _write_rows(output, rows)
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(grade_one, index): index for index in waiting}
        try:
            for future in as_completed(futures):
                index, ran = futures[future], future.result()
                done = _result(found[index], ran, notebooks, submissions)
                done.feedback = pages[index]
                done.fingerprint = prints[index] if done.status != "failed" else ""
                notebook = ran.notebook if ran is not None else None
                write_feedback(output / pages[index], done, notebook, protection)
                rows.append(done)
                _write_rows(output, rows)
                say(_line(done))
        except BaseException:  # Ctrl-C, above all: what is done is kept, what runs is ended
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sorted(rows, key=_place)


def _from_row(row: Mapping) -> Graded:
    points = {name: (got, of) for name, (got, of) in row["points"].items()}
    return Graded(**{**row, "points": points})


def _write_rows(output: Path, rows: list[Graded]) -> None:
    write_progress(output, [asdict(row) for row in rows])
    write_marks(output / "marks.csv", rows)


def _place(one: Graded) -> tuple[str, str, str]:
    return as_one_name(one.student), one.lesson, one.file


def _refuse_inside(output: Path, submissions: Path) -> None:
    if output == submissions or submissions in output.parents:
        raise ConfigError(
            "The marks cannot be written there.",
            where=output,
            expected="a folder outside of the submissions",
            found="a folder of the submissions",
            do="Choose another folder with --output.",
        )


def _result(
    submission: Submission, ran: Ran | None, solutions: Mapping[str, NotebookNode], folder: Path
) -> Graded:
    """Return the row of a submission."""
    path = submission.path
    file = path.relative_to(folder).as_posix() if path else ""
    graded = Graded(
        submission.student,
        submission.lesson,
        file=f"{file}: {submission.member}" if submission.member else file,
        status="missing" if path is None else "refused",
        happened=submission.problem,
    )
    if submission.lesson:
        graded.points = marks(restore(solutions[submission.lesson], []))
    if ran is not None:
        graded.points.update(marks(ran.notebook))
        graded.status, graded.seconds = ran.status, ran.seconds
        graded.happened = ran.happened or _first_error(ran.notebook)
    if submission.notebook is not None:
        cells = cells_to_review(submission.notebook).items()
        graded.review = "; ".join(f"cell {number}: {', '.join(words)[:100]}" for number, words in cells)[:300]
    graded.happened = "; ".join(text for text in (graded.happened, submission.note) if text)
    return graded


def _first_error(notebook: NotebookNode) -> str:
    """Return the first error of a cell that is no test; "" if there was none."""
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("grade"):
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    told = " ".join(f"{output.ename}: {output.evalue}".split())
                    return f"error in cell {number}: {told[:150]}"
    return ""


def _page_names(found: Iterable[Submission], kept: Iterable[str]) -> list[str]:
    """Return for each submission the path of its page: safe on every system, and never one twice."""
    names, taken = [], {name.casefold() for name in kept}
    for one in found:
        plain = re.sub(r"[^\w.-]+", "_", f"{one.student}_{one.lesson or 'unknown'}").strip("._")[:100]
        for number in itertools.count(1):
            name = f"feedback/{plain}.html" if number == 1 else f"feedback/{plain}-{number}.html"
            if name.casefold() not in taken:
                break
        taken.add(name.casefold())
        names.append(name)
    return names


def write_feedback(path: Path, graded: Graded, notebook: NotebookNode | None, protection: Protection) -> None:
    """Write the page that the student reads.

    Args:
        path: Where to; an existing file is replaced as a whole.
        graded: The student's result.
        notebook: As it was executed; None if nothing was.
        protection: What it was shut in by.

    Raises:
        ConfigError: If the file cannot be written.
    """
    title = f"{graded.student}: {graded.lesson or 'unknown lesson'}"
    told = {"happened": graded.happened, "protection": str(protection), "review": graded.review}
    page = feedback_page(title, graded.points, notebook, **told)
    write_atomically(path, lambda part: part.write_text(page, encoding="utf-8"), ConfigError)


def write_marks(path: Path, results: Iterable[Graded]) -> None:
    """Write one row for each result, with one column for each test of any lesson.

    Args:
        path: Where to; an existing file is replaced as a whole.
        results: In any order; the rows are in that of the students and lessons.

    Raises:
        ConfigError: If the file cannot be written.
    """
    content = marks_table(results)
    write_atomically(path, lambda part: part.write_bytes(content), ConfigError)


def marks_table(results: Iterable[Graded]) -> bytes:
    """Return what `write_marks` writes: CSV in UTF-8."""
    results = sorted(results, key=_place)
    tests = list(dict.fromkeys(name for one in sorted(results, key=_lesson) for name in one.points))
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    ends = ["total", "of", "percent", "status", "seconds", "happened", "look at", "file", "feedback"]
    table.writerow(["student", "lesson", *tests, *ends])
    for one in results:
        percent = f"{100 * one.total / one.of:.1f}" if one.of else ""
        got = [f"{one.points[name][0]:g}" if name in one.points else "" for name in tests]
        row = [one.student, one.lesson, *got, f"{one.total:g}", f"{one.of:g}", percent, one.status]
        row += [f"{one.seconds:.1f}", one.happened, one.review, one.file, one.feedback]
        table.writerow([_no_formula(value) for value in row])
    return text.getvalue().encode("utf-8", "replace")


def _lesson(one: Graded) -> str:
    return one.lesson


def _no_formula(value: str) -> str:
    """Keep a spreadsheet from computing what a student wrote."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _line(one: Graded) -> str:
    told = f" - {one.status}: {one.happened}" if one.happened or one.status != "graded" else ""
    told += f" - look at this one: {one.review}" if one.review else ""
    return f"{one.student} {one.lesson}: {one.total:g} of {one.of:g} in {one.seconds:.0f} s{told}"


def say(text: str) -> None:
    """Print a line with names that this terminal may not be able to show."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def summary(results: Iterable[Graded]) -> str:
    """Return how many were graded and how many were not, and which of them somebody should look at."""
    results = list(results)
    counted = {status: sum(one.status == status for one in results) for status in STATUSES}
    told = ", ".join(f"{number} {status}" for status, number in counted.items() if number)
    touching = [f"\n  {one.student} {one.lesson}: {one.review}" for one in results if one.review]
    if touching:
        told += f"\nLook at {len(touching)}, with cells that touch what marks rest on:{''.join(touching)}"
    return told
