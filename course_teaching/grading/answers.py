"""Solutions, and a student's answers put into one in the place of its own.

Everything else - tests, set-up, text - comes from the solution, so that nothing is gained by changing or
deleting it. Cells that the student added stay where they were.
"""

import copy
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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


@dataclass
class PlacedCells:
    """Where a student's cells belong in the solution."""

    # By the number of a solution's cell: what the student has in its place, and has added behind it.
    answers: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    added: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))  # -1: before all
    texts: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))  # likewise, of Markdown
    # Answers without nbgrader's metadata, found by their cell id, or only by the cells around them.
    by_id: int = 0
    by_place: int = 0


def read_solutions(folder: Path) -> dict[str, NotebookNode]:
    """Return the solution notebooks of a folder by their names without .ipynb.

    Raise a ConfigError if the folder has no notebook, or one of them has no test that gives points.
    """
    folder = Path(folder).resolve()
    solutions = {path.stem: nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb"))}
    untested = [name for name, notebook in solutions.items() if not graded_cells(notebook)]
    if untested or not solutions:
        raise ConfigError(
            "There is nothing to grade with.",
            where=folder,
            expected="solution notebooks with test cells that give points",
            found=f"none in {', '.join(untested)}" if untested else "no notebook",
            do="Name the folder of the solutions with --solutions.",
        )
    return solutions


def find_lessons(names: Iterable[str], solutions: Mapping[str, NotebookNode]) -> list[str]:
    """Return the lessons with these names or numbers, such as 03; raise a ConfigError if there is none."""
    lessons = []
    for name in names:
        fitting = [lesson for lesson in solutions if name in (lesson, lesson.split("_")[0])]
        if not fitting:
            raise unknown_name("lesson", name, solutions)
        lessons += fitting
    return lessons


def split_hidden(source: str) -> tuple[str, list[str]]:
    """Return what a student is shown of a test cell, and the lines that are hidden."""
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
    """Read type, source, text (the source, stripped), grade_id and id of a notebook's cells.

    Raise an UnreadableError if it is not a notebook, or has too many cells.
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
        if notebook.get("nbformat", 4) < 4:
            notebook = nbformat.convert(nbformat.from_dict(notebook), 4)
        cells = [_read_cell(cell) for cell in notebook["cells"]]
    except Exception as error:  # no JSON, nested without end, or JSON that is no notebook
        problem = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UnreadableError(f"it is not a notebook: {problem}") from error
    if not cells or len(cells) > NOTEBOOK_CELLS:
        raise UnreadableError(f"it has {len(cells)} cells")
    return cells


def _read_cell(cell: Mapping) -> dict:
    source = cell["source"]
    source = source if isinstance(source, str) else "".join(source)
    # Half of a pair of surrogates is a text to JSON, but nothing that can be written to a file.
    source = source.encode("utf-8", "replace").decode("utf-8")
    keys = {"grade_id": cell.get("metadata", {}).get("nbgrader", {}).get("grade_id"), "id": cell.get("id")}
    keys = {name: value if isinstance(value, str) else None for name, value in keys.items()}
    return {"type": str(cell["cell_type"]), "source": source, "text": source.strip(), **keys}


def lesson_by_cells(cells: list[dict], solutions: Mapping[str, NotebookNode], named: str) -> str:
    """Return the lesson that most of the cells are known from; the one of the file's name if none is."""
    known = {lesson: _known_keys(notebook).keys() for lesson, notebook in solutions.items()}
    times = Counter(key for keys in known.values() for key in keys)
    own = {key for cell in cells for key in _keys(cell) if times[key] == 1}
    shared = {lesson: len(own & keys) for lesson, keys in known.items()}
    best = max(shared, key=lambda lesson: (shared[lesson], lesson == named))
    return best if shared[best] else named


def _keys(cell: Mapping) -> list[tuple[str, str]]:
    """Return what a cell can be known by, the surest first."""
    return [(kind, cell[kind]) for kind in ("grade_id", "id", "text") if cell[kind]]


def _known_keys(solution: NotebookNode) -> dict[tuple[str, str], int]:
    """Return the cells of a solution by what a student's version of them can be known by."""
    known = {}
    for number, cell in enumerate(solution.cells):
        text = split_hidden(cell.source)[0].replace(FURTHER_TESTS, "").strip()
        text = "" if nbgrader_of(cell).get("solution") else text
        keys = {"grade_id": nbgrader_of(cell).get("grade_id"), "id": cell.get("id"), "text": text}
        for key in _keys(keys):
            known.setdefault(key, number)
    return known


def place_cells(solution: NotebookNode, cells: list[dict]) -> PlacedCells:
    """Find out which cell of the solution each of a student's cells stands for, and where the others stand.

    A cell is known by its nbgrader metadata; if that is lost, by its id; and a question or a test by its
    text. An answer that is known by none of them is what stands between the cells around it.
    """
    known, placed, last = _known_keys(solution), PlacedCells(), -1
    found = [[key for key in _keys(cell) if key in known] for cell in cells]
    sure = {known[keys[0]] for keys in found if keys and keys[0][0] != "text"}
    for cell, keys in zip(cells, found, strict=True):
        if keys and (keys[0][0] != "text" or known[keys[0]] not in sure):
            last = known[keys[0]]
            placed.answers[last].append(cell["source"])
            placed.by_id += keys[0][0] == "id" and bool(nbgrader_of(solution.cells[last]).get("solution"))
        elif not keys and cell["text"]:
            (placed.added if cell["type"] == "code" else placed.texts)[last].append(cell["source"])
    for number, cell in enumerate(solution.cells):
        before = max((place for place in placed.answers if place < number), default=-1)
        lost = nbgrader_of(cell).get("solution") and number not in placed.answers
        there = placed.added if cell.cell_type == "code" else placed.texts
        if placed.answers and lost and before in there:
            placed.answers[number] = there.pop(before)
            placed.by_place += 1
    return placed


def fill_in(solution: NotebookNode, placed: PlacedCells) -> NotebookNode:
    """Return a solution with a student's answers in the place of its own, ready to be executed.

    An answer that was split into several cells is joined; one that was deleted is empty.
    """
    notebook = copy.deepcopy(solution)
    cells = [new_code_cell(source) for source in placed.added.get(-1, [])]
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        answers = placed.answers.get(number, [])
        if nbgrader_of(cell).get("solution") and cell.cell_type == "code":
            cell.source = "\n".join(answers)
        elif nbgrader_of(cell).get("solution"):  # with what was written into cells around it
            texts = [*placed.texts.get(number - 1, []), *answers, *placed.texts.get(number, [])]
            cell.source = "\n\n".join(text for text in texts if text.strip() != TEXT_STUB)
        cells += [cell, *(new_code_cell(source) for source in placed.added.get(number, []))]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook.cells, notebook.nbformat, notebook.nbformat_minor = cells, 4, 5
    return notebook
