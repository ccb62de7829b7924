"""Sweeps: one lesson, run with every combination of a grid, on several cores or several machines.

dask.distributed does the runs: in worker processes of this machine, or in those of a cluster whose address
you give. Each run is a kernel of its own. Its executed notebook and a JSON file with its results get their
names only when they are whole, so whatever is stopped or killed leaves no half of a run, and a sweep that is
started again does only what is missing. A change of the package is not noticed; choose a new folder then.
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout

from course_utils.data import not_written
from course_utils.errors import ConfigError
from course_utils.teaching.grids import plan_sweep
from course_utils.teaching.lessons import LessonRun, run_folder, run_lesson, write_file
from course_utils.teaching.sweep_results import write_results

TRIES = 2  # of a run whose lesson fails by itself
CONNECT = 30  # seconds until a scheduler and a worker must have answered


def sweep(
    notebook: str | Path,
    grid: str | Path,
    output: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> list[dict]:
    """Run a notebook with every combination of a grid, and gather the results.

    Args:
        notebook: Its path. It is copied first, so that you may change it meanwhile.
        grid: The path of a YAML file (see `grids`).
        output: The folder for `runs/` (for each run NAME.ipynb and NAME.json), `results.csv` and
            `results.ipynb`. None: runs/sweep_NOTEBOOK. One folder belongs to one notebook.
        workers: How many processes run lessons on this machine. None: one for each core.
        scheduler: The address of a dask scheduler, for example tcp://10.0.0.1:8786, instead. Its workers must
            have one thread each, the course installed, and the same paths (a shared disk).

    Returns:
        For each run, in the order of the grid: `name`, `source` (a hash of the notebook's cells), `tries` and
        the fields of `LessonRun`.

    Raises:
        ConfigError: If the grid, the notebook, the folder or the scheduler cannot be used; before any run.
        CheckpointError: If the table cannot be written. A run whose own result cannot be has failed; what was
            finished is kept.
        KeyboardInterrupt: At Ctrl-C. What was finished is kept.
    """
    from dask.system import CPU_COUNT

    notebook = Path(notebook).resolve()
    source = _hash_of_cells(notebook)
    plan = plan_sweep(notebook, Path(grid))
    if workers is not None and (workers < 1 or scheduler):
        found = f"{workers}" if workers < 1 else f"{workers}, and the scheduler {scheduler}"
        raise _not_possible("workers", "at least one worker, or a scheduler", found, "Choose one of the two.")
    output = Path(output).resolve() if output else sweep_folder(notebook)
    with _locked_folder(output, notebook):
        results = {name: _finished(output / "runs", name, plan.runs[name], source) for name in plan.runs}
        if missing := {name: run for name, run in plan.runs.items() if not results[name]}:
            copy = output / notebook.name
            write_file(copy, notebook.read_bytes())
            workers = min(workers or CPU_COUNT, len(missing))
            with _connected(workers, scheduler, notebook.parent, copy) as client:
                results |= _run_all(client, missing, source, copy, notebook.parent)
        write_results(output, notebook.name, plan.varied, list(results.values()))
    return list(results.values())


def sweep_folder(notebook: str | Path) -> Path:
    """Return the folder of a notebook's sweep if none is named: runs/sweep_NOTEBOOK."""
    return run_folder("sweep_" + re.sub(r"[^A-Za-z0-9._-]+", "-", Path(notebook).stem)[:100])


def _run_all(client, runs: Mapping[str, dict], source: str, notebook: Path, cwd: Path) -> dict[str, dict]:
    """Do runs, as many at a time as there are workers, and return the result of each by its name."""
    from distributed import as_completed
    from tqdm.auto import tqdm

    waiting, names, results, under_way = list(runs), {}, {}, as_completed(loop=client.loop)
    bar = tqdm(total=len(runs), desc=notebook.stem, unit="run")
    try:
        with bar:
            while waiting or under_way.count():
                # dask blames whatever waits for a worker that is lost, too: so nothing waits for one.
                while waiting and under_way.count() < max(1, len(client.nthreads())):
                    name = waiting.pop(0)
                    future = client.submit(_run, name, runs[name], source, notebook, cwd, pure=False)
                    names[future.key] = name
                    under_way.add(future)
                future = next(under_way)
                name, error = names[future.key], future.exception()
                if error:  # it lost one worker after the other, or the disk is full: the next one may be well
                    failed = LessonRun(notebook.stem[:2], notebook.name, "failed", parameters=runs[name])
                    failed.error = f"{type(error).__name__}: {getattr(error, 'found', error)}"
                    results[name] = {"name": name, "source": source, "tries": 0, **asdict(failed)}
                else:
                    results[name] = future.result()
                bar.set_postfix_str(name, refresh=False)
                bar.update()
    except KeyboardInterrupt:
        print(f"\nStopped. {bar.n} of {bar.total} runs are finished and kept; start again to go on.")
        raise
    return results


def _run(name: str, parameters: dict, source: str, notebook: Path, cwd: Path) -> dict:
    """Do one run, in a worker process. Another one may have been killed while or after it did the same."""
    folder, run, tries = notebook.parent / "runs", None, 0
    if result := _finished(folder, name, parameters, source):
        return result
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernel inherits it: there is a worker for each core
    while tries < TRIES and not (run and run.status == "ok"):
        # papermill writes after every cell, to a name that no other process has.
        part = folder / f".{name}.{uuid.uuid4().hex[:8]}.part.ipynb"
        run = run_lesson(notebook, parameters, part, cwd)
        if part.exists():
            os.replace(part, folder / f"{name}.ipynb")
        tries += 1
    result = {"name": name, "source": source, "tries": tries, **asdict(run)}
    write_file(folder / f"{name}.json", json.dumps(result, indent=2) + "\n")
    return result


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
def _connected(workers: int, scheduler: str | None, cwd: Path, notebook: Path) -> Iterator:
    """Yield a dask client: of new worker processes, which end with it, or of the cluster at an address."""
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if scheduler is None:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=None,  # what needs memory is the kernels, which dask does not see
                dashboard_address="127.0.0.1:0",  # any free port: another sweep may be under way
                silence_logs=logging.ERROR,
                env={"OMP_NUM_THREADS": "1"},
            )
            yield stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))
            return
        try:
            with ThreadPoolExecutor(1) as thread:  # in a notebook, this one has a loop that runs already
                thread.submit(asyncio.run, _greet(scheduler)).result()
            client = stack.enter_context(Client(scheduler, set_as_default=False, timeout=CONNECT))
            client.wait_for_workers(1, timeout=CONNECT)
        except Exception as error:  # what dask makes of the answer of another program is not foreseen
            raise _not_possible(
                scheduler,
                f"a dask scheduler with workers, as at tcp://10.0.0.1:8786, that answers in {CONNECT} s",
                f"{type(error).__name__}: {str(error) or 'no answer'}",
                "Check the address and the port: another program may listen there. If nothing does, start "
                "`dask scheduler`, and `dask worker ADDRESS --nthreads 1` on each machine.",
            ) from error
        try:
            unseen = client.run(_missing_paths, [str(notebook), str(cwd)])
        except Exception as error:  # what dask makes of an ImportError
            unseen = {worker: [str(error)] for worker in client.nthreads()}
        for worker, threads in client.nthreads().items():
            if threads != 1 or unseen.get(worker):
                raise _not_possible(
                    worker,
                    "workers with one thread each, with the course installed and the same files",
                    f"{threads} threads" + "".join(f"; no {path}" for path in unseen.get(worker, ())),
                    "Start the workers with --nthreads 1; name an --output on a disk that all of them have.",
                )
        yield client


async def _greet(scheduler: str) -> None:
    """Greet a scheduler, or raise a TimeoutError: `Client` waits for an answer as long as a port is open."""
    from distributed import Security
    from distributed.comm import connect

    async with asyncio.timeout(CONNECT):
        comm = await connect(scheduler, timeout=CONNECT, **Security().get_connection_args("client"))
    comm.abort()


def _missing_paths(paths: list[str]) -> list[str]:
    """Return, in a worker process, which of these paths it does not see."""
    return [path for path in paths if not os.path.exists(path)]


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
