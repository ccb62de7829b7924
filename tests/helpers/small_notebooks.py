"""Notebooks that take no longer than their kernel does to start, and grids for them."""

import os
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from course_utils.settings import REPOSITORY_FOLDER

KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
PARAMETERS = """\
profile = "quick"
epochs = 5
lr = 0.02
seed = 0
dataset = "default"
skip_bad_images = False"""


def write_notebook(path, *cells, parameters=PARAMETERS, tags=()):
    """Write a notebook: a cell of parameters (None: without one), and these cells of code with these tags."""
    notebook = new_notebook(metadata=KERNEL)
    if parameters:
        notebook.cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook.cells += [new_code_cell(cell, metadata={"tags": list(tags)}) for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def cells_of(path, kind):
    """Return the cells of a notebook that are of one kind, "code" or "markdown"."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def text_of(path, kind):
    """Return the sources of a notebook's cells of one kind, as one text."""
    return "\n".join(cell.source for cell in cells_of(path, kind))


def outputs_of(path):
    """Return all that a notebook's cells printed and returned, as one text."""
    outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])]
    return "".join(out.get("text", "") + out.get("data", {}).get("text/plain", "") for out in outputs)


def run_nbval(notebook, *options):
    """Run nbval on a notebook that lies anywhere, as `make test` runs it on the lessons."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "conftest", "--nbval"]
    command += [*options, str(notebook)]
    own = {**os.environ, "PYTHONPATH": str(REPOSITORY_FOLDER / "notebooks")}  # for its conftest
    return subprocess.run(
        command, cwd=REPOSITORY_FOLDER, env=own, capture_output=True, text=True, timeout=1800
    )


def write_grid(path, text):
    path.write_text(text)
    return path
