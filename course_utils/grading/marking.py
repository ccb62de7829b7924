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
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from nbformat import NotebookNode

from course_utils.errors import ConfigError
from course_utils.exercises import SOLUTIONS_FOLDER, marks
from course_utils.files import write_atomically
from course_utils.grading.feedback import feedback_page
from course_utils.grading.protection import Limits, Protection, find_protection, free_users
from course_utils.grading.sandbox import Ran, run_shut_in
from course_utils.grading.submissions import Submission, find_submissions, read_solutions, restore
from course_utils.settings import REPOSITORY_FOLDER

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

    @property
    def total(self) -> float:
        """The points of all tests."""
        return sum(got for got, _ in self.points.values())

    @property
    def of(self) -> float:
        """The most that the tests give."""
        return sum(most for _, most in self.points.values())


def grade(
    submissions: Path,
    output: Path,
    *,
    seconds: float = 300,
    memory_gb: float = 4,
    workers: int = 2,
    solutions: Path = SOLUTIONS_FOLDER,
    limits: Limits | None = None,
) -> list[Graded]:
    """Grade every notebook of a folder of submissions, and print and write what comes out.

    Args:
        submissions: One folder a student with notebooks, or one notebook a student. It is only read.
        output: The folder for `marks.csv` and `feedback/`, both written as results come.
        seconds: Wall-clock time that one notebook may take; one of its cells may take a quarter of it.
        memory_gb: Memory, in gigabytes, that one notebook may use.
        workers: How many notebooks run at the same time.
        solutions: The folder of the solution notebooks, with all tests.
        limits: All limits at once, instead of `seconds` and `memory_gb`.

    Returns:
        One result for each notebook and for each one that is missing, by student and lesson.

    Raises:
        ConfigError: If a number is out of range, a folder is empty, or results would be overwritten.
    """
    submissions, output = Path(submissions).resolve(), Path(output).resolve()
    solutions = Path(solutions).resolve()
    for name, value in (("seconds", seconds), ("memory-gb", memory_gb), ("workers", workers)):
        if not value > 0:
            raise ConfigError(
                "A limit is out of range.",
                where=f"--{name}",
                expected="a number greater than 0",
                found=repr(value),
                do="Leave it out for the default.",
            )
    _refuse_to_overwrite(output, submissions)
    notebooks = read_solutions(solutions)
    found = find_submissions(submissions, notebooks)
    if limits is None:
        limits = Limits(seconds=seconds, cell_seconds=seconds / 4, memory=int(memory_gb * 1e9))
    protection = find_protection()
    _say(f"{len(found)} notebooks, {workers} at a time. Shut in by: {protection}.")
    (output / "feedback").mkdir(parents=True, exist_ok=True)
    pages, done = _page_names(found), {}
    # What tells the answers, and what others handed in.
    hide = [submissions, solutions, output, *(REPOSITORY_FOLDER / name for name in ANSWERS)]
    users, cancelled = SimpleQueue(), threading.Event()
    for user in free_users(workers):
        users.put(user)

    def grade_one(index: int) -> tuple[Graded, NotebookNode | None]:
        notebook, ran, user = found[index].notebook, None, users.get()
        try:
            if notebook is not None:
                ran = run_shut_in(notebook, limits, protection, user=user, hide=hide, cancelled=cancelled)
        except Exception as error:  # a full disk, for example: the others are graded all the same
            ran = Ran(notebook, "failed", f"it could not be run: {type(error).__name__}: {error}", 0.0)
        finally:
            users.put(user)
        return _result(found[index], ran, notebooks, submissions)

    with ThreadPoolExecutor(workers) as pool:
        waiting = {pool.submit(grade_one, index): index for index in range(len(found))}
        try:
            for future in as_completed(waiting):
                index = waiting[future]
                done[index], notebook = future.result()
                done[index].feedback = pages[index]
                write_feedback(output / pages[index], done[index], notebook, protection)
                write_marks(output / "marks.csv", [done[key] for key in sorted(done)])
                _say(_line(done[index]))
        except BaseException:  # Ctrl-C, above all: what is done is kept, what runs is ended
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [done[key] for key in sorted(done)]


def _refuse_to_overwrite(output: Path, submissions: Path) -> None:
    inside = output == submissions or submissions in output.parents
    if inside or (output / "marks.csv").exists() or (output / "feedback").exists():
        raise ConfigError(
            "The marks cannot be written there.",
            where=output,
            expected="a folder outside of the submissions, without marks.csv and feedback/",
            found="a folder of the submissions" if inside else "marks of an earlier time",
            do="Choose another folder with --output.",
        )


def _result(
    submission: Submission, ran: Ran | None, solutions: Mapping[str, NotebookNode], folder: Path
) -> tuple[Graded, NotebookNode | None]:
    """Return the row of a submission, and its notebook as it was executed."""
    path = submission.path
    graded = Graded(
        submission.student,
        submission.lesson,
        file=str(path.relative_to(folder)) if path else "",
        status="missing" if path is None else "refused",
        happened=submission.problem,
    )
    if submission.lesson:
        graded.points = marks(restore(solutions[submission.lesson], []))
    if ran is not None:
        graded.points.update(marks(ran.notebook))
        graded.status, graded.seconds = ran.status, ran.seconds
        graded.happened = ran.happened or _first_error(ran.notebook)
    graded.happened = "; ".join(text for text in (graded.happened, submission.note) if text)
    return graded, ran.notebook if ran is not None else None


def _first_error(notebook: NotebookNode) -> str:
    """Return the first error of a cell that is no test; "" if there was none."""
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("grade"):
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    told = " ".join(f"{output.ename}: {output.evalue}".split())
                    return f"error in cell {number}: {told[:150]}"
    return ""


def _page_names(found: Iterable[Submission]) -> list[str]:
    """Return for each submission the path of its page: safe on every system, and never the same."""
    names, taken = [], set()
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
    page = feedback_page(title, graded.points, notebook, happened=graded.happened, protection=str(protection))
    write_atomically(path, lambda part: part.write_text(page, encoding="utf-8"), ConfigError)


def write_marks(path: Path, results: Iterable[Graded]) -> None:
    """Write one row for each result, with one column for each test of any lesson.

    Args:
        path: Where to; an existing file is replaced as a whole.
        results: In the order of the rows.

    Raises:
        ConfigError: If the file cannot be written.
    """
    results = list(results)
    tests = list(dict.fromkeys(name for one in sorted(results, key=_lesson) for name in one.points))
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    ends = ["total", "of", "percent", "status", "seconds", "happened", "file", "feedback"]
    table.writerow(["student", "lesson", *tests, *ends])
    for one in results:
        percent = f"{100 * one.total / one.of:.1f}" if one.of else ""
        got = [f"{one.points[name][0]:g}" if name in one.points else "" for name in tests]
        row = [one.student, one.lesson, *got, f"{one.total:g}", f"{one.of:g}", percent, one.status]
        row += [f"{one.seconds:.1f}", one.happened, one.file, one.feedback]
        table.writerow([_no_formula(value) for value in row])
    content = text.getvalue().encode("utf-8", "replace")
    write_atomically(path, lambda part: part.write_bytes(content), ConfigError)


def _lesson(one: Graded) -> str:
    return one.lesson


def _no_formula(value: str) -> str:
    """Keep a spreadsheet from computing what a student wrote."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _line(one: Graded) -> str:
    told = f" - {one.status}: {one.happened}" if one.happened or one.status != "graded" else ""
    return f"{one.student} {one.lesson}: {one.total:g} of {one.of:g} in {one.seconds:.0f} s{told}"


def _say(text: str) -> None:
    """Print a line with names that this terminal may not be able to show."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def summary(results: Iterable[Graded]) -> str:
    """Return in one line how many were graded, and how many were not."""
    results = list(results)
    counted = {status: sum(one.status == status for one in results) for status in STATUSES}
    return ", ".join(f"{number} {status}" for status, number in counted.items() if number)
