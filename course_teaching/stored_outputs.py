"""Refresh the stored outputs of the lessons, and the README's picture, which is one of them."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat

from course_teaching.lessons import NOTEBOOKS_FOLDER, LessonRun, run_lessons, write_file
from course_utils.settings import REPOSITORY_FOLDER

FRONT_PICTURE = REPOSITORY_FOLDER / "docs" / "pictures" / "transfer.png"
NOT_STORED = "output-not-stored"


def refresh_outputs(notebooks: Iterable[Path], output: Path) -> list[LessonRun]:
    """Run lessons in the quick profile and store their outputs in the notebooks themselves.

    Progress bars are left out, because a stored one cannot be drawn; so are papermill's cells and metadata. A
    cell with the tag "output-not-stored" shows texts that may be stored only in the data folder, so it stays
    empty. A lesson that fails is not changed.

    Raises:
        ConfigError: As `run_lessons`, before anything runs.
        CheckpointError: If a notebook cannot be written.
    """
    notebooks = list(notebooks)
    runs = run_lessons(notebooks, {}, output)
    for notebook, run in zip(notebooks, runs, strict=True):
        if run.status == "ok":
            source = nbformat.read(notebook, as_version=4)
            executed = nbformat.read(Path(output) / notebook.name, as_version=4)
            for cell, done in zip(source.cells, executed.cells, strict=True):
                if cell.cell_type == "code":
                    kept = [out for out in done.outputs if not _is_progress_bar(out)]
                    cell.outputs = [] if NOT_STORED in cell.metadata.get("tags", []) else kept
                    cell.execution_count = done.execution_count
            write_file(notebook, nbformat.writes(source) + "\n")
    return runs


def _is_progress_bar(output: Mapping) -> bool:
    if output.get("name") == "stderr":  # anything else there is a warning, which must be seen
        return all("%|" in line for line in output["text"].splitlines() if line.strip())
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def front_picture() -> bytes:
    """Return the PNG file that the cell of lesson 07 with the tag "front-page" has drawn."""
    lesson = nbformat.read(NOTEBOOKS_FOLDER / "07_does_transfer_pay.ipynb", as_version=4)
    (cell,) = (cell for cell in lesson.cells if "front-page" in cell.metadata.get("tags", []))
    (png,) = (output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
    return base64.b64decode(png)
