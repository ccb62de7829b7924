"""Grade what students handed in: run each notebook shut in, and write marks and feedback as they come.

Marks are worked out here, from notebooks whose tests come from the solutions and ran in a kernel that a
submission cannot leave. How far that goes is in the words of `Isolation` and in docs/grading.md.
"""

import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from nbformat import NotebookNode

from course_teaching.exercises import SOLUTIONS_FOLDER, marks
from course_teaching.grading.answers import PlacedCells, fill_in, find_lessons, read_solutions
from course_teaching.grading.engines import Limits
from course_teaching.grading.exports import class_folder
from course_teaching.grading.feedback import exercises_of, feedback_page, first_error_of_answers
from course_teaching.grading.questions import questions_of
from course_teaching.grading.results import Graded, fingerprint, read_results, write_results
from course_teaching.grading.review import cells_to_review
from course_teaching.grading.sandbox import ExecutedNotebook, find_isolation, run_in_sandbox
from course_teaching.grading.submissions import Submission, find_submissions
from course_teaching.grading.workspace import remove_stale_workspaces
from course_teaching.lessons import write_file
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

# What has the answers, besides the solutions.
ANSWERS = (".git", "notebooks/exercises", "tests", "runs")


def make_limits(
    seconds: float, memory_gb: float, engine: str | None = None, image: str | None = None
) -> Limits:
    """Return what one notebook may use.

    Args:
        seconds: Wall-clock time of the whole notebook; one of its cells may take a quarter of it.
        memory_gb: Memory, in gigabytes.
        engine: What shuts it in, "docker", "podman", "bwrap" or "none"; None for the best that is there.
        image: For docker and podman, see `Limits`.

    Raises:
        ConfigError: If one of the numbers is out of range.
    """
    _in_range("--seconds", seconds, 10, 86_400)
    _in_range("--memory-gb", memory_gb, 0.5, 10_000)
    limits = {"seconds": seconds, "cell_seconds": seconds / 4, "memory": int(memory_gb * 1e9)}
    return Limits(**limits, engine=engine, image=image)


def _in_range(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN is not, either
        raise ConfigError(
            "A limit is out of range.",
            where=option,
            expected=f"a number from {low:g} to {high:,g}",
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

    What an earlier grading into the same folder has written stays where nothing that it depends on has
    changed.

    Args:
        submissions: A folder with one folder a student with notebooks, or one notebook or zip file a student;
            or a zip file of the whole class. It is only read.
        output: The folder for `marks.csv`, `grading.json` and `feedback/`, all written as results come.
        limits: What one notebook may use; `make_limits(300, 4)` if None.
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
    limits, solutions = limits or make_limits(300, 4), Path(solutions).resolve()
    _in_range("--workers", workers, 1, 1_000)
    if output == submissions or submissions in output.parents:
        raise ConfigError(
            "The marks cannot be written there.",
            where=output,
            expected="a folder outside of the submissions",
            found="a folder of the submissions",
            do="Choose another folder with --output.",
        )
    earlier, notebooks = read_results(output), read_solutions(solutions)
    lessons = find_lessons(lessons, notebooks)
    with class_folder(submissions) as folder:
        found = find_submissions(folder, notebooks, lessons)
        remove_stale_workspaces()
        isolation = find_isolation(limits.engine, limits.image)
        prints = [fingerprint(one, notebooks.get(one.lesson), limits, isolation) for one in found]
        known = {*prints} - {""}  # of those that can be graded
        rows = [row for row in earlier if row.fingerprint in known and (output / row.feedback).is_file()]
        unchanged = {row.fingerprint for row in rows}
        waiting = [index for index, key in enumerate(prints) if key not in unchanged]
        if lessons:  # those of other lessons, which are not asked for this time
            rows += [row for row in earlier if row.lesson not in ("", *lessons)]
        print(f"{len(waiting)} notebooks, {workers} at a time. Shut in by: {isolation}.", flush=True)
        if rows:
            print(f"{len(rows)} were graded before and are kept.")
        (output / "feedback").mkdir(parents=True, exist_ok=True)
        pages = _page_names([found[index] for index in waiting], [row.feedback for row in rows])
        pages = dict(zip(waiting, pages, strict=True))
        # What has the answers, and what others handed in.
        hide = [submissions, folder, solutions, output, *(REPOSITORY_FOLDER / name for name in ANSWERS)]
        cancelled = threading.Event()

        def execute(notebook: NotebookNode | None) -> ExecutedNotebook | None:
            if notebook is None:
                return None
            try:
                return run_in_sandbox(notebook, limits, isolation, hide=hide, cancelled=cancelled)
            except Exception as error:  # a full disk, for example: the others are graded all the same
                problem = f"it could not be run: {type(error).__name__}: {error}"
                return ExecutedNotebook(notebook, "failed", problem)

        write_results(output, rows)
        with ThreadPoolExecutor(workers) as pool:
            futures = {pool.submit(execute, found[index].notebook): index for index in waiting}
            try:
                for future in as_completed(futures):
                    index, executed = futures[future], future.result()
                    row = _result(found[index], executed, notebooks.get(found[index].lesson))
                    row.feedback = pages[index]
                    row.fingerprint = prints[index] if row.status != "failed" else ""
                    page = feedback_page(row, executed.notebook if executed else None, str(isolation))
                    write_file(output / row.feedback, page, ConfigError)
                    rows.append(row)
                    write_results(output, rows)
                    print(row, flush=True)
            except BaseException:  # Ctrl-C, above all: what is done is kept, what runs is ended
                cancelled.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return sorted(rows, key=lambda row: row.sort_key)


def _result(
    submission: Submission, executed: ExecutedNotebook | None, solution: NotebookNode | None
) -> Graded:
    """Return the row of a submission, without its files."""
    status = "missing" if submission.path is None else "refused"
    row = Graded(submission.student, submission.lesson, submission.file, status, submission.problem)
    row.id = submission.id
    if solution is not None:
        blank = fill_in(solution, PlacedCells())
        row.points, row.questions = marks(blank), questions_of(blank, ("", "", ""), answered=False)
    if executed is not None:
        row.points.update(marks(executed.notebook))
        row.exercises = exercises_of(executed.notebook)
        who = (submission.student, submission.id, submission.lesson)
        row.questions = questions_of(submission.notebook, who, answered=True)
        row.status, row.seconds = executed.status, executed.seconds
        row.happened = executed.happened or first_error_of_answers(executed.notebook)
        cells = cells_to_review(submission.notebook).items()
        row.review = "; ".join(f"cell {number}: {', '.join(words)[:100]}" for number, words in cells)[:300]
    row.happened = "; ".join(text for text in (row.happened, submission.note) if text)
    return row


def _page_names(found: Iterable[Submission], taken: Iterable[str]) -> list[str]:
    """Return for each submission the path of its page: safe on every system, and never one twice."""
    names, taken = [], {name.casefold() for name in taken}
    for one in found:
        plain = re.sub(r"[^\w.-]+", "_", f"{one.student}_{one.lesson or 'unknown'}").strip("._")[:100]
        name, number = f"feedback/{plain}.html", 2
        while name.casefold() in taken:
            name, number = f"feedback/{plain}-{number}.html", number + 1
        names.append(name)
        taken.add(name.casefold())
    return names
