"""Grade submissions: run each notebook in a sandbox, and write marks and feedback.

Marks are computed here, from notebooks whose tests come from the solutions and ran in a kernel that a
submission cannot leave. `Isolation` and docs/grading.md say how far this protection goes.
"""

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_teaching.exercises import SOLUTIONS_FOLDER, marks
from course_teaching.grading.answers import fill_in, find_lessons, read_solutions
from course_teaching.grading.engines import Isolation, Limits
from course_teaching.grading.feedback import exercises_of, feedback_page, first_error_of_answers
from course_teaching.grading.questions import TO_MARK, questions_of, read_levels, write_to_mark
from course_teaching.grading.results import Graded, write_marks
from course_teaching.grading.review import cells_to_review
from course_teaching.grading.roster import assign
from course_teaching.grading.sandbox import ExecutedNotebook, find_isolation, run_in_sandbox
from course_teaching.grading.submissions import Submission, find_submissions
from course_teaching.lessons import write_file
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER


def grade(
    submissions: Path,
    output: Path,
    *,
    limits: Limits | None = None,
    solutions: Path = SOLUTIONS_FOLDER,
    lessons: Iterable[str] = (),
    roster: Path | None = None,
) -> list[Graded]:
    """Grade every notebook of a folder of submissions, and print and write the results.

    A notebook that ran in an earlier grading into the same folder is not run again unless something has
    changed that its outputs depend on.

    Args:
        submissions: A folder with a folder of notebooks, a notebook or a zip file for each student; or a zip
            file of the whole class. It is only read.
        output: The folder for `marks.csv`, `to_mark.csv`, `feedback/` and `executed/`.
        limits: What one notebook may use; `Limits()` if None.
        solutions: The folder of the solution notebooks, with all tests.
        lessons: The lessons to grade, by name or number; students without a submission get a row. Empty:
            every lesson that was handed in.
        roster: The CSV file of the class: an export of Moodle or Canvas, or columns name and id.

    Returns:
        One result for each notebook and each missing one, by student and lesson.

    Raises:
        ConfigError: Before anything runs, if a file cannot be used, a folder is empty or a lesson is unknown.
    """
    output, limits = Path(output).resolve(), limits or Limits()
    notebooks, levels = read_solutions(solutions), read_levels(output)
    lessons = find_lessons(lessons, notebooks)
    found = assign(find_submissions(submissions, notebooks), lessons, roster)
    found = [one for one in found if not lessons or one.lesson in ("", *lessons)]
    isolation, cancelled = find_isolation(limits.engine, limits.image), threading.Event()
    print(f"{len(found)} notebooks, {limits.workers} at a time. Confined by: {isolation}.", flush=True)

    def grade_one(one: Submission) -> Graded:
        executed = _execute(one, output / "executed", limits, isolation, cancelled) if one.notebook else None
        row = _graded(one, executed, notebooks.get(one.lesson), levels)
        page = feedback_page(row, executed.notebook if executed else None, str(isolation))
        write_file(output / row.feedback, page, ConfigError)
        print(row, flush=True)
        return row

    with ThreadPoolExecutor(limits.workers) as pool:
        jobs = [pool.submit(grade_one, one) for one in found]
        try:
            rows = [job.result() for job in as_completed(jobs)]
        except BaseException:  # Ctrl-C, above all: keep finished notebooks, end running ones
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    rows.sort(key=lambda row: row.sort_key)
    if others := write_to_mark(output, rows, levels):
        print(f"{others} answers in {TO_MARK} have changed or are gone: grade changed answers again.")
    write_marks(output, rows)
    return rows


def _execute(
    one: Submission, folder: Path, limits: Limits, isolation: Isolation, cancelled: threading.Event
) -> ExecutedNotebook:
    """Run a notebook in a sandbox, or read its earlier results if nothing has changed."""
    digest = hashlib.sha256(json.dumps([one.notebook, repr(limits), repr(isolation), sys.version]).encode())
    for name in ("course_utils", "course_teaching"):
        for path in sorted((REPOSITORY_FOLDER / name).rglob("*.py")):
            digest.update(path.read_bytes())
    path = folder / f"{digest.hexdigest()}.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        return ExecutedNotebook(nbformat.from_dict(kept.pop("notebook")), **kept)
    executed = run_in_sandbox(one.notebook, limits, isolation, cancelled)
    if executed.status != "failed" and not cancelled.is_set():
        write_file(path, json.dumps(vars(executed)), ConfigError)
    return executed


def _graded(
    one: Submission, executed: ExecutedNotebook | None, solution: NotebookNode | None, levels: dict
) -> Graded:
    """Return the row of a submission."""
    status = "refused" if one.file else "missing"
    row = Graded(one.student, one.id, one.lesson, one.file, status, one.problem, one.note, one.doubt)
    plain = re.sub(r"[^\w.-]+", "_", f"{one.student}_{one.lesson or 'unknown'}").strip("._")[:100]
    digest = hashlib.sha256(f"{one.id} {one.student} {one.file} {one.lesson}".encode()).hexdigest()
    row.feedback = f"feedback/{plain}-{digest[:6]}.html"  # valid on every system, and unique
    if solution is not None:
        blank = fill_in(solution)[0]
        row.points, row.questions = marks(blank), questions_of(blank)
    if executed is not None:
        row.points |= marks(executed.notebook)
        row.exercises = exercises_of(executed.notebook)
        row.questions = questions_of(one.notebook, one.file, levels)
        row.status, row.seconds = executed.status, executed.seconds
        row.happened = executed.happened or first_error_of_answers(executed.notebook)
        cells = cells_to_review(one.notebook).items()
        row.review = "; ".join(f"cell {number}: {', '.join(words)[:100]}" for number, words in cells)[:300]
    return row
