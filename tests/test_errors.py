"""What somebody sees of an error of the course: in a notebook, with %tb, and where there is no IPython."""

import re
import subprocess
import sys

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

MESSAGE = """\
DataError: The folder cannot be used.
  where:    pets
  expected: cats
  found:    dogs
  do next:  Look for the cats."""

RAISES = """\
from course_utils.errors import DataError

def look(folder):
    try:
        {}[folder]
    except KeyError as error:
        parts = {"where": folder, "expected": "cats", "found": "dogs", "do": "Look for the cats."}
        raise DataError("The folder cannot be used.", **parts) from error"""

FROM_THE_PACKAGE = """\
from course_utils.settings import Settings

def make(epochs):
    return Settings(epochs=epochs)

make(-1)"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Run cells in a kernel; return the traceback that each of them shows, without colours."""
    sources = RAISES, 'look("pets")', "%tb", FROM_THE_PACKAGE
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, startup_timeout=600, allow_errors=True)
    cells = client.execute(cwd=tmp_path_factory.mktemp("cells")).cells
    errors = [[out for out in cell.outputs if out.output_type == "error"] for cell in cells]
    return [re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(one[0].traceback)) if one else "" for one in errors]


def test_a_cell_shows_the_four_lines_first_and_then_its_own_lines_alone(shown):
    message, _, own = shown[1].partition("\n\n")
    assert message == MESSAGE
    assert 'line 1: look("pets")' in own and "line 8, in look: raise DataError" in own
    assert "KeyError" not in own and "Traceback" not in shown[1]


def test_lines_of_the_package_are_not_among_them(shown):
    assert shown[3].startswith("ConfigError: The parameter 'epochs'")
    own = shown[3].split("Your code:\n")[1].split("\n\n")[0]
    assert own.splitlines() == ["  line 6: make(-1)", "  line 4, in make: return Settings(epochs=epochs)"]


def test_tb_shows_the_whole_traceback_with_the_error_that_started_it(shown):
    assert "KeyError" in shown[2] and "direct cause" in shown[2] and "----> 1 look" in shown[2]
    assert shown[2].endswith(MESSAGE)


def test_a_script_ends_with_pythons_own_traceback():
    done = subprocess.run([sys.executable, "-c", FROM_THE_PACKAGE], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("Traceback") and "Your code" not in done.stderr
    assert "ConfigError: The parameter 'epochs'" in done.stderr
