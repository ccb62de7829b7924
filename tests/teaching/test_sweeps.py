"""A lesson is run with every combination of a grid; no run is lost, and none is done twice."""

import json
import os
import signal
import threading
import time

import joblib
import nbformat
import pandas as pd
import pytest
from small_notebooks import write_grid, write_notebook

from course_teaching import sweeps
from course_teaching.__main__ import main
from course_teaching.sweeps import sweep
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
    text = "parameters: {epochs: 2}\ngrid:\n  lr: [0.01]\n  seed: [0, 1, 2]\n"
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
    assert not list((folder / "out" / "runs").glob(".*"))


def test_table_has_a_row_for_each_run(swept):
    table = pd.read_csv(swept[0] / "out" / "results.csv")
    assert " ".join(table) == "name status seconds lr seed epochs threads val_accuracy error"
    assert list(table.status) == ["ok", "ok", "failed"]
    assert list(table.seed) == [0, 1, 2]


def test_notebook_of_results_shows_means_with_a_text_for_each_picture(swept):
    cells = nbformat.read(swept[0] / "out" / "results.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [out["metadata"]["image/png"]["alt"] for out in outputs if "image/png" in out.get("data", {})]
    assert len(texts) == 2
    assert texts[1].startswith("Means of val_accuracy over the seeds")
    assert "lr 0.01: 0.515 (2 runs)" in texts[1]


def test_command_does_only_what_is_missing_and_reports_what_failed(swept, monkeypatch, capsys):
    folder, results = swept
    grid = write_grid(folder / "fine.yaml", "parameters: {epochs: 2}\ngrid: {lr: [0.01], seed: [0, 1]}")
    monkeypatch.setattr("joblib.Parallel", lambda *_, **__: pytest.fail("workers were started"))
    command = ["sweep", str(folder / "lessons" / "07_small.ipynb"), "--grid", str(grid)]
    command += ["--output", str(folder / "out")]
    assert main(command) == 0
    assert "2 runs, 0 failed" in capsys.readouterr().out
    before = times_of(folder / "out")
    assert main(command) == 0
    assert times_of(folder / "out") == before
    monkeypatch.setattr("course_teaching.sweeps.sweep", lambda *_: results)
    assert main(command) == 1
    assert "RuntimeError: too fast" in capsys.readouterr().err


@pytest.fixture
def no_plots(monkeypatch):
    """Leave the notebook of results out: it imports torch."""
    monkeypatch.setattr(sweeps, "write_results", lambda *_, **__: None)


def test_sweep_is_run_again_only_when_the_notebook_has_changed(tmp_path, no_plots):
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb", "import os", RECORD)
    grid, output = write_grid(tmp_path / "grid.yaml", "seed: [0]"), tmp_path / "out"
    first = sweep(notebook, grid, output)
    assert [result["status"] for result in first] == ["ok"]
    before = times_of(output)
    assert sweep(notebook, grid, output) == first
    assert times_of(output) == before

    executed = nbformat.read(output / "runs" / f"{first[0]['name']}.ipynb", as_version=4)
    own = nbformat.read(notebook, as_version=4)
    own.cells[-1].outputs = executed.cells[-1].outputs  # somebody looked at it, and saved
    nbformat.write(own, notebook)
    assert sweep(notebook, grid, output) == first

    write_notebook(notebook, "import os", RECORD, "'changed'")
    again = sweep(notebook, grid, output)
    assert [result["name"] for result in again] == [result["name"] for result in first]
    assert again[0]["source"] != first[0]["source"]


def test_sweep_on_a_dask_cluster(tmp_path, no_plots):
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
def test_sweep_whose_worker_is_killed_does_what_is_missing_when_it_is_started_again(tmp_path, no_plots):
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb", KILL, RECORD)
    grid, output = write_grid(tmp_path / "grid.yaml", "seed: [0, 1]"), tmp_path / "out"
    killed = sweep(notebook, grid, output, workers=2)[1]
    assert killed["status"] == "failed" and "Start the sweep again" in killed["error"]
    assert [result["status"] for result in sweep(notebook, grid, output, workers=2)] == ["ok", "ok"]
    assert not list((output / "runs").glob(".*"))
    time.sleep(max(0, 5 - (time.time() - (notebook.parent / "killed").stat().st_mtime)))
    assert not (notebook.parent / "orphan lived").exists(), "a kernel has outlived its worker"


def test_ctrl_c_leaves_what_is_finished(tmp_path, no_plots, capsys):
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
    assert "start again" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"workers": 0}, "at least one worker"),
        ({"output": "lessons"}, "Choose another folder"),
        ({"notebook": "missing.ipynb"}, "FileNotFoundError"),
        ({"notebook": "grid.yaml"}, "a notebook"),
    ],
)
def test_what_cannot_be_done_is_reported_before_anything_runs(tmp_path, monkeypatch, arguments, words):
    write_notebook(tmp_path / "lessons" / "01_small.ipynb")
    write_grid(tmp_path / "grid.yaml", "seed: [0]")
    monkeypatch.chdir(tmp_path)
    before = times_of(tmp_path)
    asked = {"notebook": "lessons/01_small.ipynb", "grid": "grid.yaml", "output": "out", **arguments}
    with pytest.raises(ConfigError, match=words):
        sweep(**asked)
    assert times_of(tmp_path) == before


def test_folder_of_another_sweep_and_one_under_way_are_refused(tmp_path):
    one = write_notebook(tmp_path / "lessons" / "01_small.ipynb")
    with sweeps._locked_folder(tmp_path / "out", one):
        with pytest.raises(ConfigError, match="a sweep of lessons/01_small"):
            sweeps._locked_folder(tmp_path / "out", tmp_path / "exercises" / one.name).__enter__()
        with pytest.raises(ConfigError, match="under way"):
            sweeps._locked_folder(tmp_path / "out", one).__enter__()
