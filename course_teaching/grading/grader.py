"""Grade submissions: run each notebook in a sandbox, and write marks and feedback.

Marks are worked out here, from notebooks whose tests come from the solutions and ran in a kernel that a
submission cannot leave. How far that goes is what `Isolation` says, and docs/grading.md.
"""

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from nbformat import NotebookNode

from course_teaching.exercises import SOLUTIONS_FOLDER, marks
from course_teaching.grading.answers import fill_in, find_lessons, read_solutions
from course_teaching.grading.engines import Isolation, Limits, remove_stale_workspaces
from course_teaching.grading.feedback import exercises_of, feedback_page, first_error_of_answers, with_marks
from course_teaching.grading.questions import TO_MARK, mark_questions, questions_of, read_levels
from course_teaching.grading.results import Graded, read_results, write_marks
from course_teaching.grading.review import cells_to_review
from course_teaching.grading.roster import assign
from course_teaching.grading.sandbox import ExecutedNotebook, find_isolation, run_in_sandbox
from course_teaching.grading.submissions import Submission, find_submissions
from course_teaching.lessons import write_file
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER


def make_limits(
    seconds: float = 300,
    memory_gb: float = 4,
    workers: int = 2,
    engine: str | None = None,
    image: str | None = None,
) -> Limits:
    """Return what one notebook may use.

    Args:
        seconds: Wall-clock time of the whole notebook; one of its cells may take a quarter of it.
        memory_gb: Memory, in gigabytes.
        workers: How many notebooks run at the same time.
        engine: What confines it, "docker", "podman", "bwrap" or "none"; None for the best that is there.
        image: For docker and podman, see `Limits`.

    Raises:
        ConfigError: If one of the numbers is out of range.
    """
    ranges = {"--seconds": (seconds, 10, 86_400), "--memory-gb": (memory_gb, 0.5, 10_000)}
    for option, (value, low, high) in {**ranges, "--workers": (workers, 1, 1_000)}.items():
        if not low <= value <= high:  # nor is NaN
            raise ConfigError(
                "A limit is out of range.",
                where=option,
                expected=f"a number from {low:g} to {high:,g}",
                found=repr(value),
                do="Leave it out for the default.",
            )
    own = {"engine": engine, "image": image, "workers": workers}
    return Limits(seconds=seconds, cell_seconds=seconds / 4, memory=int(memory_gb * 1e9), **own)


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

    Results of an earlier grading into the same folder stay where nothing that they depend on has changed.

    Args:
        submissions: A folder with one folder a student with notebooks, or one notebook or zip file a student;
            or a zip file of the whole class. It is only read.
        output: The folder for `marks.csv`, `to_mark.csv`, `grading.json` and `feedback/`.
        limits: What one notebook may use; `make_limits()` if None.
        solutions: The folder of the solution notebooks, with all tests.
        lessons: The lessons to grade, by name or number, which everybody should have handed in; if there
            are none, whatever was handed in.
        roster: The CSV file of the class, as Moodle or Canvas exports it, or with columns name and id.

    Returns:
        One result for each notebook and for each one that is missing, by student and lesson.

    Raises:
        ConfigError: Before anything runs, if a file cannot be used, a folder is empty, a lesson is unknown,
            or results would be overwritten that are not of such a grading.
    """
    submissions, output, limits = Path(submissions).resolve(), Path(output).resolve(), limits or make_limits()
    if output.is_relative_to(submissions):
        raise ConfigError(
            "The marks cannot be written into this folder.",
            where=output,
            expected="a folder outside of the submissions",
            found="a folder of the submissions",
            do="Choose another folder with --output.",
        )
    earlier, notebooks = read_results(output), read_solutions(solutions)
    read_levels(output)
    lessons = find_lessons(lessons, notebooks)
    found = assign(find_submissions(submissions, notebooks), lessons, roster)
    found = [one for one in found if not lessons or one.lesson in ("", *lessons)]
    remove_stale_workspaces()
    isolation = find_isolation(limits.engine, limits.image)
    kept = {row.fingerprint: row for row in earlier if row.feedback and (output / row.feedback).is_file()}
    # Marks of other lessons, which were not asked for this time.
    rows, waiting = [row for row in earlier if lessons and row.lesson not in ("", *lessons)], []
    for one in found:
        key = _fingerprint(one, notebooks.get(one.lesson), limits, isolation)
        if row := kept.get(key) if key else None:
            row.student, row.id, row.doubt = one.student, one.id, one.doubt
            rows.append(row)
        else:
            waiting.append((one, key))
    print(f"{len(waiting)} notebooks, {limits.workers} at a time. Confined by: {isolation}.", flush=True)
    if rows:
        print(f"{len(rows)} were graded before and are kept.")
    (output / "feedback").mkdir(parents=True, exist_ok=True)
    write_marks(output, rows)
    cancelled = threading.Event()
    with ThreadPoolExecutor(limits.workers) as pool:
        jobs = {pool.submit(_execute, one, limits, isolation, cancelled): (one, key) for one, key in waiting}
        try:
            for job in as_completed(jobs):
                (one, key), executed = jobs[job], job.result()
                row = _graded(one, executed, notebooks.get(one.lesson))
                row.fingerprint = key if row.status != "failed" else ""
                page = feedback_page(row, executed.notebook if executed else None, str(isolation))
                write_file(output / row.feedback, page, ConfigError)
                rows.append(row)
                write_marks(output, rows)
                print(row, flush=True)
        except BaseException:  # Ctrl-C, above all: keep what is done, end what runs
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if others := mark_questions(output, rows):
        print(f"{others} answers in {TO_MARK} have changed or are gone: grade changed answers again.")
    write_marks(output, rows)
    for row in rows:
        if (page := output / row.feedback).is_file():
            write_file(page, with_marks(page.read_text(encoding="utf-8"), row), ConfigError)
    return sorted(rows, key=lambda row: row.sort_key)


def _execute(
    one: Submission, limits: Limits, isolation: Isolation, cancelled: threading.Event
) -> ExecutedNotebook | None:
    if one.notebook is None:
        return None
    try:
        return run_in_sandbox(one.notebook, limits, isolation, cancelled)
    except Exception as error:  # a full disk, for example: the others are graded all the same
        return ExecutedNotebook(
            one.notebook, "failed", f"it could not be run: {type(error).__name__}: {error}"
        )


def _graded(one: Submission, executed: ExecutedNotebook | None, solution: NotebookNode | None) -> Graded:
    """Return the row of a submission."""
    status = "refused" if one.file else "missing"
    row = Graded(one.student, one.id, one.lesson, one.file, status, one.problem, one.note, one.doubt)
    plain = re.sub(r"[^\w.-]+", "_", f"{one.student}_{one.lesson or 'unknown'}").strip("._")[:100]
    digest = hashlib.sha256(f"{one.id} {one.student} {one.file} {one.lesson}".encode()).hexdigest()
    row.feedback = f"feedback/{plain}-{digest[:6]}.html"  # valid on every system, and never one twice
    if solution is not None:
        blank = fill_in(solution)[0]
        row.points, row.questions = marks(blank), questions_of(blank)
    if executed is not None:
        row.points |= marks(executed.notebook)
        row.exercises = exercises_of(executed.notebook)
        row.questions = questions_of(one.notebook, one.file)
        row.status, row.seconds = executed.status, executed.seconds
        row.happened = executed.happened or first_error_of_answers(executed.notebook)
        cells = cells_to_review(one.notebook).items()
        row.review = "; ".join(f"cell {number}: {', '.join(words)[:100]}" for number, words in cells)[:300]
    return row


def _fingerprint(one: Submission, solution: NotebookNode | None, limits: Limits, isolation: Isolation) -> str:
    """Return a SHA-256 over all that the marks of a submission depend on; "" if it cannot be graded."""
    if one.notebook is None:
        return ""
    parts = [one.file, one.digest, json.dumps(solution), repr(limits), repr(isolation), sys.version]
    digest = hashlib.sha256(json.dumps(parts).encode())
    for name in ("course_utils", "course_teaching"):
        for path in sorted((REPOSITORY_FOLDER / name).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
