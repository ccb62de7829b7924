"""Notebooks that take no longer than their kernel does to start, and grids for them."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
PARAMETERS = 'profile = "quick"\nepochs = 5\nlr = 0.02\nseed = 0\ndataset = "default"'


def write_notebook(path, *cells, parameters=PARAMETERS):
    """Write a notebook: a cell of parameters, and these cells of code."""
    notebook = new_notebook(metadata=KERNEL)
    notebook.cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook.cells += [new_code_cell(cell) for cell in cells]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path


def write_grid(path, text):
    path.write_text(text)
    return path
