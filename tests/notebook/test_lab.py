"""`make lab`: a student's own copies of the notebooks, which no later start changes."""

import os
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.errors import ConfigError
from course_utils.notebook.lab import COPIES, UPLOAD_MB, copy_notebooks, lab_environment
from course_utils.settings import REPOSITORY_FOLDER


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


def test_copy_notebooks_without_notebooks_names_what_is_missing(tmp_path, refused):
    with refused(ConfigError, match="no notebook"):
        copy_notebooks(tmp_path)
    assert not (tmp_path / COPIES).exists()


def test_copy_notebooks_names_a_folder_that_cannot_be_written(course, refused):
    (course / COPIES).write_text("a file")
    with refused(ConfigError, match="cannot be copied"):
        copy_notebooks(course)
    assert (course / COPIES).read_text() == "a file"


SERVER = """
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from course_utils.notebook.lab import lab_arguments

app = ServerApp()
arguments = [*lab_arguments(), "--allow-root", "--no-browser"]
app.initialize(arguments, find_extensions=False, new_httpserver=False)

class Request(KernelWebsocketHandler):
    application = app.web_app

    def __init__(self):
        pass

print(app.root_dir, Request().max_message_size)
"""


def test_lab_arguments_set_the_root_and_let_large_pictures_through(tmp_path):
    own = {name: str(tmp_path) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    command = [sys.executable, "-W", "ignore", "-c", SERVER]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(REPOSITORY_FOLDER), str(UPLOAD_MB * 2**20)] and UPLOAD_MB > 16


def test_lab_environment_explains_a_missing_name_before_any_cell_has_run(tmp_path, monkeypatch):
    for name, value in lab_environment().items():
        monkeypatch.setenv(name, value)
    cells = [new_code_cell("'course_utils' in globals()"), new_code_cell("model")]
    run = NotebookClient(new_notebook(cells=cells), startup_timeout=600, allow_errors=True)
    imported, missing = run.execute(cwd=tmp_path).cells
    assert imported.outputs[0].data["text/plain"] == "False"
    assert "Run All Above" in "".join(missing.outputs[0].traceback)
