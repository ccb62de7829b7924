"""Solutions, and how a student's answers replace the solution's own.

Everything else - tests, set-up, text - comes from the solution, so changing or deleting it gains nothing.
Code cells that the student added stay where they were.
"""

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from course_teaching.exercises import TEXT_STUB, graded_cells, nbgrader_of
from course_utils.errors import ConfigError
from course_utils.settings import unknown_name

NOTEBOOK_CELLS = 2_000
FURTHER_TESTS = "# (further tests, which are not shown)"


class UnreadableError(Exception):
    """A submission is not a notebook that can be graded; the message says why."""


def read_solutions(folder: Path) -> dict[str, NotebookNode]:
    """Return the solution notebooks of a folder by their names without .ipynb.

    Raise a ConfigError if the folder has no notebook, or one of them has no test that gives points.
    """
    folder = Path(folder).resolve()
    solutions = {path.stem: nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb"))}
    untested = [name for name, notebook in solutions.items() if not graded_cells(notebook)]
    if untested or not solutions:
        raise ConfigError(
            "The solutions cannot be used for grading.",
            where=folder,
            expected="solution notebooks with test cells that give points",
            found=f"none in {', '.join(untested)}" if untested else "no notebooks",
            do="Name the folder of the solutions with --solutions.",
        )
    return solutions


def find_lessons(names: Iterable[str], solutions: Mapping[str, NotebookNode]) -> list[str]:
    """Return the lessons with these names or numbers, such as 03; raise a ConfigError for an unknown one."""
    lessons = []
    for name in names:
        fitting = [lesson for lesson in solutions if name in (lesson, lesson.split("_")[0])]
        if not fitting:
            raise unknown_name("lesson", name, solutions)
        lessons += fitting
    return lessons


def split_hidden(source: str) -> tuple[str, list[str]]:
    """Return the part of a test cell that students see, and the hidden lines."""
    shown, hidden, inside = [], [], False
    for line in source.splitlines():
        if not inside and line.strip().startswith("### BEGIN HIDDEN TESTS"):
            shown.append(FURTHER_TESTS)
            inside = True
        elif inside and line.strip().startswith("### END HIDDEN TESTS"):
            inside = False
        else:
            (hidden if inside else shown).append(line)
    return "\n".join(shown), hidden


def read_cells(content: bytes) -> list[dict]:
    """Read type, source, grade_id and id of a notebook's cells.

    Raise an UnreadableError if it is not a notebook, or has too many cells.
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
        cells = [_read_cell(cell) for cell in notebook["cells"]]
    except Exception as error:  # not JSON, endlessly nested, or JSON that is not a notebook
        problem = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UnreadableError(f"it is not a notebook: {problem}") from error
    if not cells or len(cells) > NOTEBOOK_CELLS:
        raise UnreadableError(f"it has {len(cells)} cells")
    return cells


def _read_cell(cell: Mapping) -> dict:
    # Half of a pair of surrogates is text to JSON, but cannot be written to a file.
    source = "".join(cell["source"]).encode("utf-8", "replace").decode("utf-8")
    keys = {"grade_id": cell.get("metadata", {}).get("nbgrader", {}).get("grade_id"), "id": cell.get("id")}
    keys = {name: value for name, value in keys.items() if isinstance(value, str)}
    return {"type": str(cell["cell_type"]), "source": source, "keys": [*keys.items()]}


def _known_keys(solution: NotebookNode) -> dict[tuple[str, str], int]:
    """Return the numbers of a solution's cells by grade_id and by id, which a student's version keeps."""
    known = {}
    for number, cell in enumerate(solution.cells):
        keys = {"grade_id": nbgrader_of(cell).get("grade_id"), "id": cell.get("id")}
        known |= {(kind, key): number for kind, key in keys.items() if key}
    return known


def lesson_by_cells(cells: list[dict], solutions: Mapping[str, NotebookNode], named: str) -> str:
    """Return the lesson that shares most cells with these; if none does, the lesson `named` by the file."""
    known = {lesson: _known_keys(notebook).keys() for lesson, notebook in solutions.items()}
    times = Counter(key for keys in known.values() for key in keys)
    own = {key for cell in cells for key in cell["keys"] if times[key] == 1}
    shared = {lesson: len(own & keys) for lesson, keys in known.items()}
    best = max(shared, key=lambda lesson: (shared[lesson], lesson == named))
    return best if shared[best] else named


def fill_in(solution: NotebookNode, cells: Iterable[Mapping] = ()) -> tuple[NotebookNode, str]:
    """Return a solution with a student's answers instead of its own, and a note about answers found by id.

    A cell is recognised by its nbgrader metadata or, if an editor has lost it, by its id. An answer that was
    split into several cells is joined; a deleted one is empty.
    """
    known, answers, added, last, by_id = _known_keys(solution), {}, {}, -1, 0
    for cell in cells:
        keys = [key for key in cell["keys"] if key in known]
        if keys:
            last = known[keys[0]]
            answers.setdefault(last, []).append(cell["source"])
            by_id += keys[0][0] == "id" and bool(nbgrader_of(solution.cells[last]).get("solution"))
        elif cell["type"] == "code" and cell["source"].strip():
            added.setdefault(last, []).append(cell["source"])
    notebook = copy.deepcopy(solution)
    filled = [new_code_cell(source) for source in added.get(-1, [])]
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if nbgrader_of(cell).get("solution"):
            parts = [text for text in answers.get(number, []) if text.strip() != TEXT_STUB]
            cell.source = "\n".join(parts)
        filled += [cell, *(new_code_cell(source) for source in added.get(number, []))]
    for number, cell in enumerate(filled):
        cell["id"] = f"cell-{number}"
    notebook.cells, notebook.nbformat, notebook.nbformat_minor = filled, 4, 5
    note = f"{by_id} of its answers had lost their metadata: found by cell id" if by_id else ""
    return notebook, note if answers else "none of its cells is one of the exercise: they were run before it"
