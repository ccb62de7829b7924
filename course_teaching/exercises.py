"""Make exercises from their solutions, and count the points of answers.

The solutions in notebooks/exercises/solutions are the source. The student's version of each is made from it
by the preprocessors of `nbgrader generate_assignment`.
"""

import copy
import re
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from traitlets.config import Config

from course_teaching.lessons import write_file
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

EXERCISES_FOLDER = REPOSITORY_FOLDER / "notebooks" / "exercises"
SOLUTIONS_FOLDER = EXERCISES_FOLDER / "solutions"

# nbgrader's own stub raises an error. With these, a blank notebook runs, and each check says where to begin.
STUB = "# YOUR CODE HERE"
TEXT_STUB = "YOUR ANSWER HERE"


def generate_exercises(solutions: Path = SOLUTIONS_FOLDER, output: Path = EXERCISES_FOLDER) -> list[Path]:
    """Write the student's version of every solution, and return their paths in order.

    Args:
        solutions: A folder of notebooks with nbgrader's cells. They are only read.
        output: The folder to write to; notebooks with the same names are replaced.

    Raises:
        nbformat.ValidationError: If the metadata of a notebook is not valid for nbgrader.
        ConfigError: If a notebook cannot be written.
    """
    written = []
    for path in sorted(solutions.glob("*.ipynb")):
        student = students_version(nbformat.read(path, as_version=4))
        written.append(output / path.name)
        write_file(written[-1], nbformat.writes(student) + "\n", ConfigError)
    return written


def students_version(solution: NotebookNode) -> NotebookNode:
    """Return a copy of a notebook without its solutions, hidden tests and outputs."""
    # nbgrader takes a second to import, and only this function needs it.
    from nbgrader.preprocessors import (
        CheckCellMetadata,
        ClearHiddenTests,
        ClearOutput,
        ClearSolutions,
        ComputeChecksums,
        LockCells,
    )

    notebook, resources = copy.deepcopy(solution), {}
    for cell in graded_cells(notebook):
        # An answer that fails its test must not keep "run all" from running the exercises below it.
        tags = cell.metadata.get("tags", [])
        cell.metadata["tags"] = [*tags, *({"raises-exception"} - set(tags))]
    config = Config({"ClearSolutions": {"code_stub": {"python": STUB}, "text_stub": TEXT_STUB}})
    # The order of nbgrader's GenerateAssignment, without the steps that need its database.
    steps = (LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ClearHiddenTests, ComputeChecksums)
    for step in steps:
        notebook, resources = step(config=config).preprocess(notebook, resources)
    return notebook


def nbgrader_of(cell: NotebookNode) -> Mapping:
    """Return nbgrader's metadata of a cell; empty if it has none."""
    return cell.metadata.get("nbgrader", {})


def is_test(cell: NotebookNode) -> bool:
    """Return whether a cell is a test: it gives points and is not an answer."""
    return bool(nbgrader_of(cell).get("grade") and not nbgrader_of(cell).get("solution"))


def graded_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the test cells, in order."""
    return [cell for cell in notebook.cells if is_test(cell)]


def human_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """Return the answers that a person marks, with their place in the notebook."""
    cells = enumerate(notebook.cells)
    return [(place, cell) for place, cell in cells if nbgrader_of(cell).get("grade") and not is_test(cell)]


def title_above(notebook: NotebookNode, place: int) -> str:
    """Return the last heading above a cell, such as "Exercise 2 – One class by hand"; "" if there is none."""
    for cell in reversed(notebook.cells[:place]):
        found = re.match(r"#+ (.+?)(?: \([\w ]+\))?$", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and found:
            return found[1]
    return ""


def marks(executed: NotebookNode) -> dict[str, tuple[float, float]]:
    """Return the points and the maximum points of each test cell of an executed notebook.

    A test that ran without an error gets all its points; one that failed, or was not run, gets none.
    """
    points = {}
    for cell in graded_cells(executed):
        of = float(cell.metadata.nbgrader["points"])
        failed = any(output.output_type == "error" for output in cell.get("outputs", []))
        ran = cell.get("execution_count") is not None
        points[cell.metadata.nbgrader["grade_id"]] = (of if ran and not failed else 0.0, of)
    return points
