"""Run one lesson with every combination of a grid, on several cores or several machines.

The runs are joblib calls on dask.distributed: worker processes of this machine, or those of a cluster whose
address you give. Each run is a kernel of its own. Its executed notebook and a JSON file with its results get
their names only when they are whole, so whatever is stopped or killed leaves no half of a run, and a sweep
that is started again does only what is missing. A change of the package is not noticed; choose a new folder
then.
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout

from course_utils.data import not_written, write_atomically
from course_utils.errors import CheckpointError, ConfigError
from course_utils.teaching.lessons import LessonRun, run_folder, run_lesson
from course_utils.teaching.sweeps.grids import Plan, plan_sweep
from course_utils.teaching.sweeps.results import write_results

TRIES = 2  # of a run whose lesson fails by itself
LOST = 3  # workers that one run may lose: it may be the run that kills them
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
    notebook = Path(notebook).resolve()
    source = _source(notebook)
    plan = plan_sweep(notebook, Path(grid))
    if workers is not None and (workers < 1 or scheduler):
        found = f"{workers}" if workers < 1 else f"{workers}, and the scheduler {scheduler}"
        raise _not_possible("workers", "at least one worker, or a scheduler", found, "Choose one of the two.")
    output = Path(output).resolve() if output else default_folder(notebook)
    with _own_folder(output, notebook):
        made = {}
        missing = [name for name in plan.runs if not _is_done(output / "runs", name, plan, source)]
        if missing:
            copy = output / notebook.name
            write_atomically(copy, lambda part: shutil.copyfile(notebook, part))
            wanted = min(workers or _cores(), len(missing))
            with _connected(wanted, scheduler, notebook.parent, copy) as client:
                made = _run_all(client, missing, plan, source, copy, notebook.parent)
        results = [made.get(name) or _read_result(output / "runs", name) for name in plan.runs]
        write_results(output, notebook.name, plan.varied, results, again=bool(missing))
    return results


def default_folder(notebook: str | Path) -> Path:
    """Return the folder of a notebook's sweep if none is named: runs/sweep_NOTEBOOK."""
    return run_folder("sweep_" + re.sub(r"[^A-Za-z0-9._-]+", "-", Path(notebook).stem)[:100])


def sweep_command(
    notebook: Path, grid: Path, output: Path | None, workers: int | None, scheduler: str | None
) -> int:
    """Do what `python -m course_utils sweep` does, and say how it ended.

    Returns:
        0 if every run is fine, 1 if one failed.

    Raises:
        ConfigError, CheckpointError, KeyboardInterrupt: As `sweep`.
    """
    output = Path(output).resolve() if output else default_folder(notebook)
    results = sweep(notebook, grid, output, workers, scheduler)
    failed = [result for result in results if result["status"] != "ok"]
    for result in failed:
        print(f"{result['name']}: cell {result['cell']}: {result['error']}", file=sys.stderr)
    print(f"{len(results)} runs, {len(failed)} failed. The table and its plots: {output / 'results.ipynb'}")
    return 1 if failed else 0


def _run_all(client, missing: list[str], plan: Plan, source: str, notebook: Path, cwd: Path) -> dict:
    """Do the runs that are missing, and return the result of each by its name."""
    from distributed.scheduler import KilledWorker
    from joblib import Parallel, delayed, parallel_config
    from tqdm.auto import tqdm

    results, folder = {}, notebook.parent / "runs"
    bar = tqdm(total=len(missing), desc=notebook.stem, unit="run")
    try:
        with bar, parallel_config("dask", client=client):
            for _ in range(LOST):
                # In pieces of one: a piece whose worker is killed is done again as a whole.
                calls = Parallel(n_jobs=-1, batch_size=1, return_as="generator_unordered")
                try:
                    for result in calls(
                        delayed(_run_one)(name, plan.runs[name], source, notebook, folder, cwd)
                        for name in missing
                    ):
                        results[result["name"]] = result
                        bar.set_postfix_str(result["name"], refresh=False)
                        bar.update()
                    return results
                except KilledWorker:  # the scheduler has given a run up; so the others are asked for again
                    missing = [name for name in missing if not _is_done(folder, name, plan, source)]
    except KeyboardInterrupt:
        print(f"\nStopped. {bar.n} of {bar.total} runs are finished and kept; start again to go on.")
        raise
    raise _not_possible(
        "workers",
        "workers that live as long as a run",
        f"workers that were lost again and again; {len(missing)} runs are missing",
        "See what ends them (memory?), or take fewer of them; then start again.",
    )


def _run_one(name: str, parameters: dict, source: str, notebook: Path, folder: Path, cwd: Path) -> dict:
    """Do one run, in a worker process. Another one may have been killed in the middle of the same run."""
    run, tries = LessonRun(notebook.stem[:2], notebook.name, status="failed", parameters=parameters), 0
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernel inherits it: there is a worker for each core
    begun = folder / f".{name}.begun"
    try:
        with begun.open("ab") as file:
            file.write(b".")
        if begun.stat().st_size > LOST:
            run.error = f"{LOST} workers were lost while they did this run"
        else:
            while run.status != "ok" and tries < TRIES:
                # papermill writes after every cell, to a name that no other process has.
                part = folder / f".{name}.{uuid.uuid4().hex[:8]}.part.ipynb"
                run, tries = run_lesson(notebook, parameters, part, cwd), tries + 1
                if part.exists():
                    os.replace(part, folder / f"{name}.ipynb")
        result = {"name": name, "source": source, "tries": tries, **asdict(run)}
        text = json.dumps(result, indent=2) + "\n"
        write_atomically(folder / f"{name}.json", lambda part: part.write_text(text, encoding="utf-8"))
        begun.unlink(missing_ok=True)
        return result
    except (OSError, CheckpointError) as error:  # a full disk: the next run may need less room
        run.status, run.error = "failed", f"{type(error).__name__}: {getattr(error, 'found', error)}"
        return {"name": name, "source": source, "tries": tries, **asdict(run)}


@contextmanager
def _connected(workers: int, scheduler: str | None, cwd: Path, notebook: Path) -> Iterator:
    """Give a dask client: of new worker processes, which end with it, or of the cluster at an address."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise _not_possible(
            "dask", "dask.distributed", "no such package", 'pip install "dask[distributed]"'
        ) from error

    with ExitStack() as stack:
        if scheduler is None:
            # A worker is lost with whatever waits for it; that says nothing against those runs.
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 10**6}))
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
                thread.submit(asyncio.run, _handshake(scheduler)).result()
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


async def _handshake(scheduler: str) -> None:
    """Greet a scheduler, or raise a TimeoutError: `Client` waits for an answer as long as a port is open."""
    from distributed import Security
    from distributed.comm import connect

    about = Security().get_connection_args("client")
    async with asyncio.timeout(CONNECT):
        comm = await connect(scheduler, timeout=CONNECT, **about)
    comm.abort()


def _missing_paths(paths: list[str]) -> list[str]:
    """Tell, in a worker process, which of these paths it does not see."""
    return [path for path in paths if not os.path.exists(path)]


@contextmanager
def _own_folder(output: Path, notebook: Path) -> Iterator[None]:
    """Make the folder of a sweep, or go on in it, with no other sweep in it meanwhile."""
    about = {"sweep": f"{notebook.parent.name}/{notebook.name}"}  # exercises have the names of lessons
    mark = output / "sweep.json"
    try:
        found = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else None
        if found != about and output.exists() and any(output.iterdir()):
            raise _not_possible(
                output,
                f"a new folder, or that of a sweep of {about['sweep']}",
                f"a sweep of {found['sweep']}" if found else "a folder that holds other things",
                "Choose another folder with --output.",
            )
        if found != about:
            text = json.dumps(about) + "\n"
            write_atomically(mark, lambda part: part.write_text(text, encoding="utf-8"), ConfigError)
        (output / "runs").mkdir(exist_ok=True)
        lock = FileLock(output / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise _not_possible(
                output, "no other sweep in this folder", "one that is under way", "Wait until it has ended."
            ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise not_written(output, error, ConfigError) from error
    try:
        _remove_unfinished(output / "runs")  # left by a sweep that was killed
        yield
    finally:
        _remove_unfinished(output / "runs")  # left by a worker that was
        lock.release()


def _remove_unfinished(folder: Path) -> None:
    for left in folder.glob(".*"):
        left.unlink(missing_ok=True)


def _source(notebook: Path) -> str:
    """Return a hash of the cells of a notebook, without their outputs."""
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # nbformat passes on whatever json, jsonschema and the disk raise
        raise _not_possible(
            notebook, "a notebook", f"{type(error).__name__}: {str(error)[:200]}", "Check the path."
        ) from error
    told = [[cell.cell_type, cell.metadata.get("tags", []), cell.source] for cell in cells]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _read_result(folder: Path, name: str) -> dict:
    """Return what is kept of a run; an empty dictionary if there is nothing that can be read."""
    try:
        result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}


def _is_done(folder: Path, name: str, plan: Plan, source: str) -> bool:
    result, wanted = _read_result(folder, name), {"status": "ok", "source": source}
    wanted["parameters"] = plan.runs[name]
    fits = all(result.get(key) == value for key, value in wanted.items())
    return fits and (folder / f"{name}.ipynb").exists()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _not_possible(where: object, expected: str, found: str, do: str) -> ConfigError:
    return ConfigError("A sweep cannot be run like this.", where=where, expected=expected, found=found, do=do)
