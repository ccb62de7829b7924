"""Sweeps: one lesson, run with every combination of a grid, on several cores or several machines.

joblib does the runs, in processes of this machine or, within `joblib.parallel_config(backend="dask")`, of a
cluster. Each run is a kernel of its own. Its executed notebook and a JSON file with its results get their
names only when they are whole, so whatever is stopped or killed leaves no half of a run, and a sweep that is
started again does only what is missing or has failed. A change of the package is not noticed; choose a new
folder then.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout

from course_teaching.grids import plan_sweep
from course_teaching.lessons import LessonRun, run_lesson, write_file
from course_teaching.sweep_results import write_results
from course_utils.errors import CheckpointError, ConfigError
from course_utils.files import not_written
from course_utils.scale.run_folders import run_folder


def sweep(
    notebook: str | Path, grid: str | Path, output: str | Path | None = None, workers: int | None = None
) -> list[dict]:
    """Run a notebook with every combination of a grid, and gather the results.

    Args:
        notebook: Its path. It is copied first, so that you may change it meanwhile.
        grid: The path of a YAML file (see `grids`).
        output: The folder for `runs/` (for each run NAME.ipynb and NAME.json), `results.csv` and
            `results.ipynb`. None: runs/sweep_NOTEBOOK. One folder belongs to one notebook.
        workers: How many processes run lessons on this machine. None: one for each core. On a cluster there
            are as many as it has.

    Returns:
        For each run, in the order of the grid: `name`, `source` (a hash of the notebook's cells) and the
        fields of `LessonRun`.

    Raises:
        ConfigError: If the grid, the notebook or the folder cannot be used; before any run.
        CheckpointError: If the table cannot be written. A run whose own result cannot be has failed; what was
            finished is kept.
        KeyboardInterrupt: At Ctrl-C. What was finished is kept.
    """
    notebook = Path(notebook).resolve()
    source = _hash_of_cells(notebook)
    plan = plan_sweep(notebook, Path(grid))
    if workers is not None and workers < 1:
        raise _not_possible("workers", "at least one worker", workers, "Leave it out: one for each core.")
    output = Path(output).resolve() if output else sweep_folder(notebook)
    with _locked_folder(output, notebook):
        results = {name: _finished(output / "runs", name, plan.runs[name], source) for name in plan.runs}
        if missing := {name: run for name, run in plan.runs.items() if not results[name]}:
            copy = output / notebook.name
            write_file(copy, notebook.read_bytes())
            results |= _run_all(missing, source, copy, notebook.parent, workers)
        write_results(output, notebook.name, plan.varied, list(results.values()))
    return list(results.values())


def sweep_folder(notebook: str | Path) -> Path:
    """Return the folder of a notebook's sweep if none is named: runs/sweep_NOTEBOOK."""
    return run_folder("sweep_" + re.sub(r"[^A-Za-z0-9._-]+", "-", Path(notebook).stem)[:100])


def _run_all(
    runs: Mapping[str, dict], source: str, notebook: Path, cwd: Path, workers: int | None
) -> dict[str, dict]:
    """Do runs, as many at a time as there are workers, and return the result of each by its name."""
    from joblib import Parallel, cpu_count, delayed
    from tqdm.auto import tqdm

    results, why = {}, ""
    parallel = Parallel(min(workers or cpu_count(), len(runs)), batch_size=1, return_as="generator_unordered")
    with tqdm(total=len(runs), desc=notebook.stem, unit="run") as bar:
        try:
            for result in parallel(delayed(_run)(name, runs[name], source, notebook, cwd) for name in runs):
                results[result["name"]] = result
                bar.set_postfix_str(result["name"], refresh=False)
                bar.update()
        except KeyboardInterrupt:
            print(f"\nStopped. {bar.n} of {bar.total} runs are finished and kept; start again to go on.")
            raise
        except Exception as error:  # a process was killed, and joblib does no more; or the cluster is gone
            why = (
                f"{type(error).__name__}: this run or one beside it ended its process. Start the sweep again."
            )
    for name in runs.keys() - results.keys():
        results[name] = _result(name, source, _failed(notebook, runs[name], why))
    return results


def _run(name: str, parameters: dict, source: str, notebook: Path, cwd: Path) -> dict:
    """Do one run, in a process of joblib's. If it fails, so its status says; nothing is raised."""
    folder = notebook.parent / "runs"
    part = folder / f".{name}.part.ipynb"  # papermill writes after every cell
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernel inherits it: there is a worker for each core
    try:
        result = _result(name, source, run_lesson(notebook, parameters, part, cwd))
        if part.exists():
            os.replace(part, folder / f"{name}.ipynb")
        write_file(folder / f"{name}.json", json.dumps(result, indent=2) + "\n")
    except (CheckpointError, OSError) as error:  # the disk is full: the next run may need less room
        why = f"{type(error).__name__}: {getattr(error, 'found', error)}"
        return _result(name, source, _failed(notebook, parameters, why))
    return result


def _result(name: str, source: str, run: LessonRun) -> dict:
    return {"name": name, "source": source, **asdict(run)}


def _failed(notebook: Path, parameters: dict, why: str) -> LessonRun:
    return LessonRun(notebook.stem[:2], notebook.name, "failed", parameters=parameters, error=why)


def _finished(folder: Path, name: str, parameters: dict, source: str) -> dict | None:
    """Return the result of a run that went well with these parameters and cells, if it is here."""
    try:
        result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        found = result["status"], result["parameters"], result["source"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    fits = found == ("ok", parameters, source) and (folder / f"{name}.ipynb").exists()
    return result if fits else None


@contextmanager
def _locked_folder(output: Path, notebook: Path) -> Iterator[None]:
    """Make the folder of a sweep, or go on in it, with no other sweep in it meanwhile."""
    about = {"sweep": f"{notebook.parent.name}/{notebook.name}"}  # exercises have the names of lessons
    mark, lock = output / "sweep.json", FileLock(output / ".lock")
    try:
        found = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else None
        if found != about and output.exists() and any(output.iterdir()):
            holds = f"a sweep of {found['sweep']}" if found else "a folder that holds other things"
            expected = f"a new folder, or that of a sweep of {about['sweep']}"
            raise _not_possible(output, expected, holds, "Choose another folder with --output.")
        if not found:
            write_file(mark, json.dumps(about) + "\n", ConfigError)
        (output / "runs").mkdir(exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        expected, found = "no other sweep in this folder", "one that is under way"
        raise _not_possible(output, expected, found, "Wait until it has ended.") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise not_written(output, error, ConfigError) from error
    try:
        yield
    finally:
        for left in (output / "runs").glob(".*"):  # by a worker that was killed, now or earlier
            left.unlink(missing_ok=True)
        lock.release()


def _hash_of_cells(notebook: Path) -> str:
    """Return a hash of the cells of a notebook, without their outputs."""
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # nbformat passes on whatever json, jsonschema and the disk raise
        found = f"{type(error).__name__}: {str(error)[:200]}"
        raise _not_possible(notebook, "a notebook", found, "Check the path.") from error
    sources = [[cell.cell_type, cell.metadata.get("tags", []), cell.source] for cell in cells]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _not_possible(where: object, expected: str, found: str, do: str) -> ConfigError:
    return ConfigError("A sweep cannot be run like this.", where=where, expected=expected, found=found, do=do)
