"""Faults 36 to 42: first what plain papermill or nbval makes of it, then what the course does."""

import inspect
import json
import re
import subprocess
import sys

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbval.plugin import pytest_addoption
from papermill.engines import NBClientEngine
from papermill.exceptions import PapermillExecutionError

from course_utils import __main__
from course_utils.__main__ import main
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER
from course_utils.teaching import lessons as runs
from course_utils.teaching.lessons import (
    NOTEBOOKS_FOLDER,
    lesson_notebooks,
    new_output_folder,
    run_folder,
    run_lessons,
)

pytestmark = pytest.mark.kernels
KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
PARAMETERS = 'profile = "quick"\nepochs = 5\nlr = 0.1\nskip_bad_images = False'
SHOW = "print(epochs, lr, bool(skip_bad_images))"


def write_notebook(path, *cells, parameters=PARAMETERS, tags=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(metadata=KERNEL)
    if parameters:
        notebook.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [new_code_cell(cell, metadata={"tags": list(tags)}) for cell in cells]
    nbformat.write(notebook, path)
    return path


def texts(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """Make one lesson, 01, the whole series of the command line."""
    path = write_notebook(tmp_path / "notebooks" / "01_one.ipynb", SHOW)
    monkeypatch.setattr(__main__, "lesson_notebooks", lambda only: lesson_notebooks(only, path.parent))
    monkeypatch.setattr(runs, "REPOSITORY_FOLDER", tmp_path / "repository")
    return path


# 36. Names of runs


def test_fault_36_plain_papermill_writes_wherever_a_name_leads(lesson, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    papermill.execute_notebook(
        lesson, str(tmp_path / "runs" / "mine" / "../../x.ipynb"), prepare_only=True, progress_bar=False
    )
    assert (tmp_path / "x.ipynb").exists()


@pytest.mark.parametrize(
    "name", ["../../x", "..", ".", "", "a/b", "/x", "a\\b", "C:x", "a\n", "a\0", "é", "x" * 201]
)
def test_fault_36_name_that_could_lead_elsewhere_is_refused(lesson, tmp_path, name, capsys):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="cannot have this name"):
        run_folder(name)
    assert main(["run", f"--name={name}"]) == 2
    assert "ConfigError" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_fault_36_name_of_a_run_is_a_folder_in_runs(lesson, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(
        __main__, "run_lessons", lambda notebooks, parameters, output: given.append(output) or []
    )
    assert main(["run", "--name", "First_try-2.0"]) == 0
    assert given == [(tmp_path / "repository" / "runs" / "First_try-2.0").resolve()]
    assert new_output_folder("quick").parent == tmp_path / "repository" / "runs"
    with pytest.raises(ConfigError):
        new_output_folder("../../x")
    with pytest.raises(SystemExit):
        main(["run", "--name", "a", "--output", "b"])


# 37 to 39. Names and values of parameters


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    """Give plain papermill a typo, texts for other types, a value out of range, and code as a name."""
    folder = tmp_path_factory.mktemp("plain")
    source = write_notebook(folder / "in.ipynb", SHOW)
    given = {
        "epoch": 3,
        "epochs": -1,
        "lr": "1e-3",
        "skip_bad_images": "false",
        "a = 0; import os; os.mkdir('made by a name'); b": 1,
    }
    papermill.execute_notebook(source, folder / "out.ipynb", given, cwd=folder, progress_bar=False)
    return folder


def test_fault_37_plain_papermill_runs_with_a_typo(plain_run, lesson, tmp_path, capsys):
    assert texts(plain_run / "out.ipynb") == "-1 1e-3 True\n"  # no error anywhere, and 3 is not used
    assert main(["run", "--output", str(tmp_path / "out"), "-p", "epoch", "3"]) == 2
    assert "Did you mean 'epochs'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_fault_37_notebook_without_a_parameters_cell(tmp_path):
    bare = write_notebook(tmp_path / "01_bare.ipynb", "1 + 1", parameters=None)
    papermill.execute_notebook(
        bare, tmp_path / "x.ipynb", {"epochs": 3}, prepare_only=True, progress_bar=False
    )
    with pytest.raises(ConfigError, match="no parameters"):
        run_lessons([bare], {"epochs": 3}, tmp_path / "out")


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("skip_bad_images", "false", "type str"),
        ("lr", "'1e-3'", "Write 0.001 without quotes"),
        ("epochs", "-1", "greater than or equal to 1"),
    ],
)
def test_fault_38_plain_papermill_checks_no_type(plain_run, lesson, tmp_path, capsys, name, value, told):
    assert texts(plain_run / "out.ipynb") == "-1 1e-3 True\n"  # "false" is true
    assert main(["run", "--output", str(tmp_path / "out"), "-p", name, value]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_fault_39_plain_papermill_runs_code_in_a_name(plain_run, lesson, tmp_path, capsys, monkeypatch):
    assert (plain_run / "made by a name").is_dir()
    monkeypatch.chdir(tmp_path)
    name = "epochs = 1; import os; os.mkdir('made by a name'); b"
    assert main(["run", "--output", str(tmp_path / "out"), "-p", name, "1"]) == 2
    assert "There is no parameter" in capsys.readouterr().err
    assert not (tmp_path / "made by a name").exists() and not (tmp_path / "out").exists()


# 40. Kernels that hang


def test_fault_40_papermill_and_nbval_wait(tmp_path):
    execute = inspect.signature(NBClientEngine.execute_managed_notebook)
    assert execute.parameters["execution_timeout"].default is None
    assert re.search(r"nbval-cell-timeout.{1,40}default=2000", inspect.getsource(pytest_addoption), re.DOTALL)
    for name in ("Makefile", "docs/setup.md"):
        commands = re.findall(r"^.*pytest.*--nbval .*$", (REPOSITORY_FOLDER / name).read_text(), re.MULTILINE)
        assert commands and all("--nbval-cell-timeout=300" in command for command in commands)
    assert max(runs.CELL_TIMEOUT["quick"], runs.START_TIMEOUT) <= 300


def test_fault_40_kernel_that_ignores_interrupts_is_ended(tmp_path, monkeypatch):
    monkeypatch.setitem(runs.CELL_TIMEOUT, "quick", 2)
    hangs = (
        "import os, signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print(os.getpid(), flush=True)\nwhile True:\n    time.sleep(0.1)"
    )
    notebook = write_notebook(tmp_path / "01_hangs.ipynb", hangs)
    (run,) = run_lessons([notebook], {}, tmp_path / "out")
    assert run.status == "failed" and run.seconds < 60
    process = int(texts(tmp_path / "out" / "01_hangs.ipynb"))  # what it said so far is kept
    assert subprocess.run(["ps", "-p", str(process), "-o", "stat="], capture_output=True).stdout.strip() in (
        b"",
        b"Z",
    )
    assert json.loads((tmp_path / "out" / "results.json").read_text())[0]["status"] == "failed"


# 41. Outputs that were stripped


def test_fault_41_nbval_passes_on_stripped_outputs(tmp_path):
    notebook = nbformat.read(write_notebook(tmp_path / "a.ipynb", "print(1)", parameters=None), as_version=4)
    for name, outputs in (("stripped", []), ("wrong", [new_output("stream", name="stdout", text="2\n")])):
        notebook.cells[0].outputs = outputs
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--nbval"]
    result = subprocess.run(
        [*command, "stripped.ipynb", "wrong.ipynb"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert re.findall(r"^(PASSED|FAILED) (\w+)\.ipynb::", result.stdout, re.MULTILINE) == [
        ("PASSED", "stripped"),
        ("FAILED", "wrong"),
    ]
    # That no lesson is stripped, test_notebooks.py shows: test_nbval_has_something_to_compare.


# 42. Cells that may fail, and outputs over inputs


def test_fault_42_cell_that_may_raise_is_a_failure_for_papermill(tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", "1 / 0", tags=["raises-exception"])
    with pytest.raises(PapermillExecutionError):
        papermill.execute_notebook(source, tmp_path / "b.ipynb", progress_bar=False)
    for path in NOTEBOOKS_FOLDER.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert "raises-exception" not in cell.metadata.get("tags", []), path.name


def test_fault_42_plain_papermill_writes_over_its_source(lesson, capsys):
    before, plain = lesson.read_bytes(), lesson.with_name("plain.ipynb")
    plain.write_bytes(before)
    papermill.execute_notebook(plain, plain, {"epochs": 3}, prepare_only=True, progress_bar=False)
    assert plain.read_bytes() != before
    for output in (lesson.parent, lesson.parent / ".." / lesson.parent.name):
        assert main(["run", "--output", str(output)]) == 2
        assert "overwrite" in capsys.readouterr().err
    assert lesson.read_bytes() == before
