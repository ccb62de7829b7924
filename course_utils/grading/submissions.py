"""What did the students hand in, and which of it do they answer for?

A submission gives its answers, and the cells that the student added. Everything else - tests, set-up, text -
comes from the solution notebook, so that nothing is gained by changing or deleting it.
"""

import copy
import json
import os
import re
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from course_utils.errors import ConfigError

NOTEBOOK_BYTES, NOTEBOOK_CELLS = 20_000_000, 2_000
IGNORED_FOLDERS = (".ipynb_checkpoints", "__MACOSX")


class UnreadableError(Exception):
    """A submission is not a notebook that can be graded; the message says why."""


@dataclass
class Submission:
    """One notebook of one student, or the lack of it."""

    student: str
    path: Path | None
    """None: nothing was handed in."""
    lesson: str = ""
    """The name of the solution, for example 03_replace_the_head; "" if it belongs to none."""
    notebook: NotebookNode | None = None
    """The solution with the student's answers."""
    problem: str = ""
    """Why it cannot be graded."""
    note: str = ""
    """What the teacher should know and need not act on."""


def read_solutions(folder: Path) -> dict[str, NotebookNode]:
    """Return the solution notebooks of a folder by their names without .ipynb.

    Raises:
        ConfigError: If the folder has no notebook, or one of them has no test that gives points.
    """
    folder = Path(folder).resolve()
    solutions = {path.stem: nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb"))}
    untested = [name for name, notebook in solutions.items() if not any(map(_is_graded, notebook.cells))]
    if untested or not solutions:
        raise ConfigError(
            "There is nothing to grade with.",
            where=folder,
            expected="solution notebooks with test cells that give points",
            found=f"none in {', '.join(untested)}" if untested else "no notebook",
            do="Name the folder of the solutions with --solutions.",
        )
    return solutions


def find_submissions(folder: Path, solutions: Mapping[str, NotebookNode]) -> list[Submission]:
    """Return what was handed in, in the order of the students and lessons.

    A student is a folder, or a notebook that lies in `folder` itself. Who has not handed in a lesson that
    others have is listed without a path.

    Args:
        folder: The submissions.
        solutions: What `read_solutions` gave.

    Raises:
        ConfigError: If the folder cannot be read, or nothing lies in it.
    """
    folder = Path(folder).resolve()
    try:
        entries = sorted(entry for entry in folder.iterdir() if not _is_ignored(entry))
    except OSError as error:
        raise _nothing_handed_in(folder, f"{type(error).__name__}: {error}") from error
    found, empty = [], []
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            notebooks = _notebooks_below(entry)
            found += [Submission(entry.name, path) for path in notebooks]
            empty += [] if notebooks else [entry.name]
        elif entry.suffix == ".ipynb":
            found.append(Submission(_student_of(entry, solutions), entry))
    if not found and not empty:
        raise _nothing_handed_in(folder, "no folder and no .ipynb file")
    for submission in found:
        _read(submission, solutions)
    _add_missing(found, empty)
    _note_duplicates(found)
    return sorted(found, key=lambda one: (_as_one_name(one.student), one.lesson, str(one.path)))


def _nothing_handed_in(folder: Path, found: str) -> ConfigError:
    return ConfigError(
        "There are no submissions.",
        where=folder,
        expected="a folder with one folder or one notebook for each student",
        found=found,
        do="Name the folder that holds the students' folders.",
    )


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name in IGNORED_FOLDERS


def _notebooks_below(folder: Path) -> list[Path]:
    """Return the notebooks anywhere in a student's folder; links to folders are not followed."""
    paths = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_ignored(Path(name)))
        paths += [Path(place) / name for name in names if name.endswith(".ipynb")]
    return sorted(path for path in paths if not _is_ignored(path))


def _student_of(path: Path, solutions: Mapping[str, NotebookNode]) -> str:
    """Return the student's name in a file name such as anna_03_replace_the_head.ipynb."""
    for lesson in solutions:
        if path.stem.endswith(lesson):
            return path.stem.removesuffix(lesson).strip(" _-") or path.stem
    return path.stem


def _read(submission: Submission, solutions: Mapping[str, NotebookNode]) -> None:
    """Find out which lesson a notebook belongs to, and put its answers into that lesson's solution."""
    path = submission.path
    submission.lesson = _lesson_by_name(path, solutions)
    try:
        cells = read_cells(path)
        submission.lesson = submission.lesson or _lesson_by_cells(cells, solutions)
        if not submission.lesson:
            raise UnreadableError("it belongs to no exercise: neither its name nor its cells are known")
        submission.notebook = restore(solutions[submission.lesson], cells)
    except UnreadableError as error:
        submission.problem = str(error)


def _lesson_by_name(path: Path, solutions: Mapping[str, NotebookNode]) -> str:
    exact = [lesson for lesson in solutions if path.stem.endswith(lesson)]
    number = re.match(r"\d\d(?=_)", path.stem)
    same_number = [lesson for lesson in solutions if number and lesson.startswith(number[0] + "_")]
    names = exact or same_number
    return names[0] if len(names) == 1 else ""


def _lesson_by_cells(cells: list[dict], solutions: Mapping[str, NotebookNode]) -> str:
    own = {cell["grade_id"] for cell in cells} - {None}
    shared = {lesson: len(own & set(_grade_ids(notebook))) for lesson, notebook in solutions.items()}
    best = max(shared, key=shared.get)
    return best if shared[best] else ""


def read_cells(path: Path) -> list[dict]:
    """Read what is needed of a notebook that may be anything: type, source and grade_id of its cells.

    Raises:
        UnreadableError: If it is not a notebook, or too large.
    """
    try:
        # Neither a link, which could lead anywhere, nor a pipe, which never ends.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UnreadableError("it is not a file but a link or a device")
        if path.stat().st_size > NOTEBOOK_BYTES:
            size, most = path.stat().st_size / 1e6, NOTEBOOK_BYTES / 1e6
            raise UnreadableError(f"it is too large: {size:.0f} MB, and {most:.0f} MB are the most")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(content, dict) and content.get("nbformat", 4) < 4:
            content = nbformat.convert(nbformat.from_dict(content), 4)
        cells = [_read_cell(cell) for cell in content["cells"]]
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        told = " ".join(str(error).split())[:120]
        raise UnreadableError(f"it is not a notebook: {type(error).__name__}: {told}") from error
    except UnreadableError:
        raise
    except Exception as error:  # JSON, and yet no notebook
        raise UnreadableError(
            "it is not a notebook: it has no cells, or not such as a notebook has"
        ) from error
    if not cells or len(cells) > NOTEBOOK_CELLS:
        raise UnreadableError(f"it has {len(cells)} cells")
    return cells


def _read_cell(cell: Mapping) -> dict:
    source = cell["source"]
    text = source if isinstance(source, str) else "".join(source)
    metadata = cell.get("metadata", {}).get("nbgrader", {})
    grade_id = metadata.get("grade_id")
    return {
        "type": str(cell["cell_type"]),
        # Half of a pair of surrogates is a text to JSON, but nothing that can be written to a file.
        "source": text.encode("utf-8", "replace").decode("utf-8"),
        "grade_id": grade_id if isinstance(grade_id, str) else None,
        "id": str(cell.get("id")),
    }


def restore(solution: NotebookNode, cells: list[dict]) -> NotebookNode:
    """Return a solution with a student's answers in the place of its own, ready to be executed.

    Cells that the student added stay behind the cell that they stood behind. An answer that was split into
    several cells is joined; one that was deleted is empty.

    Args:
        solution: The notebook with all tests; it is not changed.
        cells: What `read_cells` gave.
    """
    known = set(_grade_ids(solution))
    texts = {cell.source.strip() for cell in solution.cells if not _is_answer(cell)}
    ids = {cell.get("id") for cell in solution.cells}
    answers, added, last = defaultdict(list), defaultdict(list), None
    for cell in cells:
        if cell["grade_id"] in known:
            last = cell["grade_id"]
            answers[last].append(cell["source"])
        elif cell["type"] == "code" and cell["id"] not in ids and cell["source"].strip() not in {"", *texts}:
            added[last].append(cell["source"])
    notebook = copy.deepcopy(solution)
    restored = [new_code_cell(source) for source in added[None]]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if _is_answer(cell):
            cell.source = "\n".join(answers[grade_id])
        restored += [cell, *(new_code_cell(source) for source in (added[grade_id] if grade_id else []))]
    notebook.cells = restored
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _is_graded(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def _is_answer(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def _grade_ids(notebook: NotebookNode) -> list[str]:
    named = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    return [grade_id for grade_id in named if grade_id]


def _as_one_name(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _add_missing(found: list[Submission], empty: list[str]) -> None:
    """Add what students lack of the lessons that at least one of them has handed in."""
    lessons = {one.lesson for one in found} - {""}
    students = {_as_one_name(one.student): one.student for one in found}
    students.update({_as_one_name(name): name for name in empty})
    there = {(_as_one_name(one.student), one.lesson) for one in found}
    for key, student in students.items():
        for lesson in sorted(lessons) or [""]:
            if (key, lesson) not in there and (lessons or student in empty):
                found.append(Submission(student, None, lesson, problem="nothing was handed in"))


def _note_duplicates(found: list[Submission]) -> None:
    """Say where one student seems to have handed in a lesson twice, or where two have the same name."""
    counted = Counter((_as_one_name(one.student), one.lesson) for one in found if one.lesson)
    for one in found:
        times = counted[_as_one_name(one.student), one.lesson]
        if times > 1:
            one.note = f"duplicate: {times} notebooks of this name for this lesson"
