"""A lesson is run with every combination of a grid; no run is lost, and none is done twice."""

import json
import os
import re
import signal
import threading
import time

import joblib
import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_output
from small_notebooks import write_grid, write_notebook

from course_teaching.__main__ import main
from course_teaching.sweeps import plan_runs, sweep
from course_utils.errors import ConfigError

pytestmark = pytest.mark.kernels

# No import of torch: a run takes as long as its kernel does to start.
RECORD = """
from IPython.display import display
metrics = {"val_accuracy": 0.5 + seed / 100 + lr, "threads": float(os.environ["OMP_NUM_THREADS"])}
display({"application/vnd.transfer-learning-course.metrics+json": metrics}, raw=True)
"""

# The first time that seed 1 is done its worker is killed, and the kernel, now an orphan, tries to live on.
KILL = """
import os, pathlib, signal, time
if seed == 1 and not pathlib.Path("killed").exists():
    pathlib.Path("killed").touch()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(4)
    pathlib.Path("orphan lived").touch()
"""


def times_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Sweep a notebook of which one run fails; give what came out."""
    folder = tmp_path_factory.mktemp("sweep")
    fail = "import os\nif seed == 2: raise RuntimeError('too fast')"
    notebook = write_notebook(folder / "lessons" / "07_small.ipynb", fail, RECORD)
    text = "epochs: [2]\nlr: [0.01]\nseed: [0, 1, 2]\n"
    return folder, sweep(notebook, write_grid(folder / "grid.yaml", text), folder / "out", workers=2)


def test_run_that_fails_is_a_row_and_the_others_are_done(swept):
    folder, results = swept
    assert [(r["parameters"]["seed"], r["status"]) for r in results] == [(0, "ok"), (1, "ok"), (2, "failed")]
    assert results[2]["error"] == "RuntimeError: too fast"
    for result in results:
        assert json.loads((folder / "out" / "runs" / f"{result['name']}.json").read_text()) == result
        assert result["parameters"]["epochs"] == 2
        executed = nbformat.read(folder / "out" / "runs" / f"{result['name']}.ipynb", as_version=4)
        outputs = [out for cell in executed.cells for out in cell.get("outputs", [])]
        errors = [out.evalue for out in outputs if out.output_type == "error"]
        assert errors == ["too fast"] * (result["status"] == "failed")
    assert [r["metrics"]["val_accuracy"] for r in results[:2]] == pytest.approx([0.51, 0.52])
    assert [r["metrics"]["threads"] for r in results[:2]] == [1, 1]


def test_table_has_a_row_for_each_run(swept):
    table = pd.read_csv(swept[0] / "out" / "results.csv")
    assert " ".join(table) == "name status seconds epochs lr seed threads val_accuracy error"
    assert list(table.status) == ["ok", "ok", "failed"]
    assert list(table.seed) == [0, 1, 2]


def test_command_does_only_what_is_missing_and_reports_what_failed(swept, monkeypatch, capsys):
    folder, results = swept
    grid = write_grid(folder / "fine.yaml", "epochs: [2]\nlr: [0.01]\nseed: [0, 1]")
    monkeypatch.setattr("joblib.Parallel", lambda *_, **__: pytest.fail("workers were started"))
    command = ["sweep", str(folder / "lessons" / "07_small.ipynb"), "--grid", str(grid)]
    command += ["--output", str(folder / "out")]
    before = times_of(folder / "out" / "runs")
    assert main(command) == 0
    assert "2 runs, 0 failed" in capsys.readouterr().out
    assert times_of(folder / "out" / "runs") == before
    monkeypatch.setattr("course_teaching.sweeps.sweep", lambda *_: results)
    assert main(command) == 1
    assert "RuntimeError: too fast" in capsys.readouterr().err


def test_sweep_is_run_again_only_when_the_code_of_the_notebook_has_changed(tmp_path):
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb", "import os", RECORD)
    grid = write_grid(tmp_path / "grid.yaml", "seed: [0]")
    (name,) = plan_runs(notebook, grid)
    own = nbformat.read(notebook, as_version=4)
    own.cells[-1].outputs = [new_output("stream", text="somebody looked at it, and saved")]
    nbformat.write(own, notebook)
    assert [*plan_runs(notebook, grid)] == [name]
    write_notebook(notebook, "import os", RECORD, "'changed'")
    assert [*plan_runs(notebook, grid)] != [name]


def test_sweep_on_a_dask_cluster(tmp_path):
    distributed = pytest.importorskip("distributed")
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb", "import os", RECORD)
    grid = write_grid(tmp_path / "grid.yaml", "seed: [0, 1]")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        results = sweep(notebook, grid, tmp_path / "out")
    assert [result["metrics"]["val_accuracy"] for result in results] == pytest.approx([0.52, 0.53])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_sweep_whose_worker_is_killed_does_what_is_missing_when_it_is_started_again(tmp_path, capsys):
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb", KILL, RECORD)
    grid, output = write_grid(tmp_path / "grid.yaml", "seed: [0, 1]"), tmp_path / "out"
    killed = sweep(notebook, grid, output, workers=2)[1]
    assert (killed["status"], killed["parameters"]) == ("failed", {"seed": 1})
    assert "Start the sweep again" in capsys.readouterr().out
    assert [result["status"] for result in sweep(notebook, grid, output, workers=2)] == ["ok", "ok"]
    time.sleep(max(0, 5 - (time.time() - (notebook.parent / "killed").stat().st_mtime)))
    assert not (notebook.parent / "orphan lived").exists(), "a kernel has outlived its worker"


def test_ctrl_c_leaves_what_is_finished(tmp_path):
    cell = "import os, time\nif seed: time.sleep(60)"
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb", cell, RECORD)
    grid, output = write_grid(tmp_path / "grid.yaml", "seed: [0, 1]"), tmp_path / "out"

    def interrupt():
        while not list((output / "runs").glob("*.json")):
            time.sleep(0.1)
        os.kill(os.getpid(), 2)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        sweep(notebook, grid, output, workers=2)
    assert [json.loads(path.read_text())["status"] for path in (output / "runs").glob("*.json")] == ["ok"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "should be a dict"),
        ("seed: 3", "wrapped in a list"),
        ("seed: [0", "while parsing"),
        ("seed: !!python/object/apply:os.getpid []", "ConstructorError"),
        ("epoch: [3]", "Did you mean 'epochs'"),
        ("epochs: [3, 0]", "greater than or equal to 1"),
        ("lr: [1e-3]", "of type str"),  # a text, as YAML reads it
    ],
)
def test_grid_that_is_wrong_is_reported_before_anything_runs(tmp_path, text, words):
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb")
    with pytest.raises(ConfigError, match=words):
        plan_runs(notebook, write_grid(tmp_path / "grid.yaml", text))


@pytest.mark.parametrize(
    "arguments", [{"notebook": "missing.ipynb"}, {"notebook": "grid.yaml"}, {"grid": "no"}]
)
def test_file_that_cannot_be_read_is_reported_before_anything_runs(tmp_path, monkeypatch, arguments):
    write_notebook(tmp_path / "lessons" / "01_small.ipynb")
    write_grid(tmp_path / "grid.yaml", "seed: [0]")
    monkeypatch.chdir(tmp_path)
    before = times_of(tmp_path)
    with pytest.raises(ConfigError, match="cannot be run like this"):
        sweep(**{"notebook": "lessons/01_small.ipynb", "grid": "grid.yaml", "output": "out", **arguments})
    assert times_of(tmp_path) == before


def test_runs_have_safe_and_different_names(tmp_path):
    notebook = write_notebook(tmp_path / "01_small.ipynb", parameters="weights = 'default'")
    values = ["../../x", "a/b", "a b", "a-b", "ü", "x" * 300]
    names = plan_runs(notebook, write_grid(tmp_path / "grid.yaml", f"weights: {values}"))
    assert len({name.lower() for name in names}) == len(values)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name) for name in names)
