"""`make lab`: a student's own copies of the notebooks, which no later start changes."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.errors import ConfigError
from course_utils.notebook.lab import COPIES, copy_notebooks


@pytest.fixture
def course(tmp_path):
    """A course of one lesson, with a stored output, its exercise and its solution."""
    cells = [
        new_markdown_cell("# A lesson"),
        new_code_cell("1 + 1", execution_count=3, outputs=[new_output("stream", text="2")]),
    ]
    for folder in ("notebooks", "notebooks/exercises", "notebooks/exercises/solutions"):
        (tmp_path / folder).mkdir()
        nbformat.write(new_notebook(cells=cells), tmp_path / folder / "00_a.ipynb")
    return tmp_path


def test_copy_notebooks_leaves_out_outputs_and_solutions(course):
    before = (course / "notebooks" / "00_a.ipynb").read_bytes()
    copies = copy_notebooks(course)
    assert copies == [course / COPIES / name for name in ("00_a.ipynb", "exercises/00_a.ipynb")]
    assert sorted(path for path in (course / COPIES).rglob("*") if path.is_file()) == copies
    for copy in copies:
        text, code = nbformat.read(copy, as_version=4).cells
        assert (text.source, code.source) == ("# A lesson", "1 + 1")
        assert (code.outputs, code.execution_count) == ([], None)
    assert (course / "notebooks" / "00_a.ipynb").read_bytes() == before


def test_copy_notebooks_never_changes_a_copy(course):
    mine, _ = copy_notebooks(course)
    mine.write_text("my work")
    (course / COPIES / "exercises" / "00_a.ipynb").unlink()
    assert copy_notebooks(course) == [course / COPIES / "exercises" / "00_a.ipynb"]
    assert mine.read_text() == "my work" and copy_notebooks(course) == []


def test_copy_notebooks_names_a_folder_that_cannot_be_written(course, refused):
    (course / COPIES).write_text("a file")
    with refused(ConfigError, match="could not be written"):
        copy_notebooks(course)
    assert (course / COPIES).read_text() == "a file"
