"""Faults 36 to 42 with plain papermill and nbval. The course's way is in teaching/test_lessons.py."""

import inspect
import re
import subprocess
import sys

import nbformat
import papermill
import pytest
from nbformat.v4 import new_output
from nbval.plugin import pytest_addoption
from papermill.engines import NBClientEngine
from papermill.exceptions import PapermillExecutionError
from small_notebooks import outputs_of, write_notebook

pytestmark = pytest.mark.kernels
prepare = {"prepare_only": True, "progress_bar": False}


def test_fault_36_an_output_lies_wherever_a_name_leads(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    source = write_notebook(tmp_path / "in.ipynb")
    papermill.execute_notebook(source, str(tmp_path / "runs" / "mine" / "../../x.ipynb"), **prepare)
    assert (tmp_path / "x.ipynb").exists()


def test_faults_37_to_39_a_typo_other_types_and_code_in_a_name_run_without_an_error(tmp_path):
    source = write_notebook(tmp_path / "in.ipynb", "print(epochs, lr, bool(skip_bad_images))")
    given = {"epoch": 3, "epochs": -1, "lr": "1e-3", "skip_bad_images": "false"}
    given["a = 0; import os; os.mkdir('made by a name'); b"] = 1
    papermill.execute_notebook(source, tmp_path / "out.ipynb", given, cwd=tmp_path, progress_bar=False)
    assert outputs_of(tmp_path / "out.ipynb") == "-1 1e-3 True\n"  # 3 is not used, and "false" is true
    assert (tmp_path / "made by a name").is_dir()


def test_fault_37_a_notebook_without_a_parameters_cell_is_run(tmp_path):
    bare = write_notebook(tmp_path / "bare.ipynb", "1 + 1", parameters=None)
    papermill.execute_notebook(bare, tmp_path / "x.ipynb", {"epochs": 3}, **prepare)


def test_fault_40_papermill_and_nbval_wait():
    execute = inspect.signature(NBClientEngine.execute_managed_notebook)
    assert execute.parameters["execution_timeout"].default is None
    assert re.search(r"nbval-cell-timeout.{1,40}default=2000", inspect.getsource(pytest_addoption), re.DOTALL)


def test_fault_41_nbval_passes_on_stripped_outputs(tmp_path):
    notebook = nbformat.read(write_notebook(tmp_path / "a.ipynb", "print(1)", parameters=None), as_version=4)
    for name, outputs in (("stripped", []), ("wrong", [new_output("stream", name="stdout", text="2\n")])):
        notebook.cells[0].outputs = outputs
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--nbval"]
    result = subprocess.run(
        [*command, "stripped.ipynb", "wrong.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert re.findall(r"^(PASSED|FAILED) (\w+)\.ipynb::", result.stdout, re.MULTILINE) == [
        ("PASSED", "stripped"),
        ("FAILED", "wrong"),
    ]


def test_fault_42_a_cell_that_may_raise_is_a_failure_for_papermill(tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", "1 / 0", tags=["raises-exception"])
    with pytest.raises(PapermillExecutionError):
        papermill.execute_notebook(source, tmp_path / "b.ipynb", progress_bar=False)


def test_fault_42_papermill_writes_over_its_source(tmp_path):
    source = write_notebook(tmp_path / "a.ipynb")
    before = source.read_bytes()
    papermill.execute_notebook(source, source, {"epochs": 3}, **prepare)
    assert source.read_bytes() != before
