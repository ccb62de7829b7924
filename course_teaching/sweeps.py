"""Sweeps: run one lesson with every combination of a grid, on several cores or machines.

A grid is a file of YAML with a list of values for each parameter. These are six runs of three epochs:

    epochs: [3]
    lr: [0.005, 0.02]
    seed: [0, 1, 2]

joblib does the runs, in processes of this machine or, within `joblib.parallel_config(backend="dask")`, of a
cluster. Each run has its own kernel, and is finished once its JSON file exists. So a sweep that was stopped
or killed, and is started again, does only the runs that are missing or failed. Runs of a changed notebook
have other names. A change of the package is not noticed, so choose a new folder after one.
"""

import hashlib
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import nbformat
import yaml

from course_teaching.lessons import LessonRun, plan_parameters, run_lesson, write_file
from course_utils.errors import ConfigError
from course_utils.files import make_folder
from course_utils.settings import REPOSITORY_FOLDER


def sweep(
    notebook: str | Path, grid: str | Path, output: str | Path | None = None, workers: int | None = None
) -> list[dict]:
    """Run a notebook with every combination of a grid, and write `results.csv`, with a row for each run.

    Args:
        notebook: Its path. It is copied first, so you may change it during the sweep.
        grid: The path of a YAML file, as this module describes it.
        output: The folder for `runs/` (for each run NAME.ipynb and NAME.json) and `results.csv`. None:
            runs/sweep_NOTEBOOK.
        workers: How many processes run lessons on this machine. None: one for each core. A cluster uses all
            the workers that it has.

    Returns:
        For each run, in scikit-learn's order of the grid: its `name` and the fields of `LessonRun`.

    Raises:
        ConfigError: Before any run, if the grid, the notebook or the folder cannot be used.
        KeyboardInterrupt: After Ctrl-C. Finished runs are kept.
    """
    notebook = Path(notebook).resolve()
    output = Path(output or REPOSITORY_FOLDER / "runs" / f"sweep_{notebook.stem}").resolve()
    runs, folder = plan_runs(notebook, Path(grid)), output / "runs"
    make_folder(folder, ConfigError)
    copy = output / notebook.name
    write_file(copy, notebook.read_bytes())
    missing = {name: run for name, run in runs.items() if _result(folder, name, run)["status"] != "ok"}
    if missing:
        _run_all(missing, copy, notebook.parent, workers)
    results = [_result(folder, name, run) for name, run in runs.items()]
    write_file(output / "results.csv", results_table(results))
    return results


def plan_runs(notebook: Path, grid: Path) -> dict[str, dict]:
    """Return the parameters of each run by its name, checked for the notebook. Nothing is run.

    A name begins with the parameters, for people, and ends with eight digits of a hash over them and the
    notebook's cells.

    Raises:
        ConfigError: If a file cannot be read or is not a grid, a name is unknown, or a value has the wrong
            type or is out of range.
    """
    from sklearn.model_selection import ParameterGrid

    try:
        cells = [[cell.cell_type, cell.source] for cell in nbformat.read(notebook, as_version=4).cells]
        combinations = list(ParameterGrid(yaml.safe_load(grid.read_text(encoding="utf-8"))))
    except (OSError, yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigError(
            "A sweep cannot be run like this.",
            where=f"{notebook}, {grid.resolve()}",
            expected="a notebook, and a file of YAML: names of parameters, and for each a list of values",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            do="Correct the file, or its path. A line of a grid is, for example, lr: [0.01, 0.02].",
        ) from error
    runs = {}
    for combination in combinations:
        parameters = plan_parameters([notebook], combination)[notebook]
        words = "_".join(f"{name}-{value}" for name, value in parameters.items())
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", words)[:120]
        digest = hashlib.sha256(json.dumps([parameters, cells], sort_keys=True).encode()).hexdigest()
        runs[f"{readable}_{digest[:8]}"] = parameters
    return runs


def _run_all(runs: dict[str, dict], notebook: Path, cwd: Path, workers: int | None) -> None:
    """Do the runs, as many at a time as there are workers; each writes its files."""
    from joblib import Parallel, cpu_count, delayed
    from tqdm.auto import tqdm

    number = min(workers or cpu_count(), len(runs))
    done = Parallel(number, batch_size=1, return_as="generator_unordered")(
        delayed(_run)(name, parameters, notebook, cwd) for name, parameters in runs.items()
    )
    try:
        for _ in tqdm(done, total=len(runs), desc=notebook.stem, unit="run"):
            pass
    except Exception as error:  # a process was killed, so joblib stops; or the disk is full
        print(f"{type(error).__name__}: {error}\nNot all runs are finished. Start the sweep again.")


def _run(name: str, parameters: dict, notebook: Path, cwd: Path) -> None:
    """Do one run, in a process of joblib's. If its notebook fails, its status says so."""
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernel inherits it: there is a worker for each core
    path = notebook.parent / "runs" / name
    run = run_lesson(notebook, parameters, path.with_name(f"{name}.ipynb"), cwd)
    write_file(path.with_name(f"{name}.json"), json.dumps({"name": name, **asdict(run)}, indent=2) + "\n")


def _result(folder: Path, name: str, parameters: dict) -> dict:
    """Return the stored result of a run; without one, its status is "failed"."""
    path = folder / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    run = LessonRun("", "", "failed", parameters=parameters, error="it has not been finished")
    return {"name": name, **asdict(run)}


def results_table(results: list[dict]) -> str:
    """Return the text of a CSV file with a row for each run: its parameters and recorded results."""
    import pandas as pd

    rows = []
    for result in results:
        row = {name: result[name] for name in ("name", "status", "seconds")}
        rows.append({**row, **result["parameters"], **result["metrics"], "error": result["error"]})
    return pd.DataFrame(rows).to_csv(index=False)
