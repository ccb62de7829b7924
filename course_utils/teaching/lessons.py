"""Run the lessons one after the other with papermill, and gather what they measured.

Each lesson is executed in a process of its own; the executed notebook is kept, whatever happened in it.
What a lesson measured it hands over with `record`, as an output of one of its cells.
"""

import ast
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import nbformat

from course_utils.data import make_folder, write_atomically
from course_utils.errors import CheckpointError, ConfigError
from course_utils.settings import REPOSITORY_FOLDER, Settings, image_folder, unknown_name

NOTEBOOKS_FOLDER = REPOSITORY_FOLDER / "notebooks"
METRICS_TYPE = "application/vnd.transfer-learning-course.metrics+json"

# Seconds. `full` downloads, and may train on a CPU for hours; so may a folder of large photographs. A kernel
# that hangs is ended all the same.
CELL_TIMEOUT = {"quick": 300, "full": 6 * 3600}
START_TIMEOUT = 120


@dataclass
class LessonRun:
    """What happened to one lesson."""

    lesson: str
    notebook: str
    status: str = "ok"
    """"ok" or "failed"."""
    seconds: float = 0.0
    parameters: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    """What the lesson handed over with `record`; accuracies are numbers from 0 to 1."""
    cell: int | None = None
    """The number of the cell that failed, counted from 1 over all cells of the executed notebook."""
    error: str | None = None


def record(**metrics: float) -> None:
    """Hand results over to whoever runs this notebook: they become an output of the cell.

    Args:
        metrics: Names and numbers, for example val_accuracy=0.84.
    """
    from IPython.display import display

    numbers = {name: float(value) for name, value in metrics.items()}
    text = f"recorded: {', '.join(numbers)}"
    display({METRICS_TYPE: numbers, "text/plain": text}, raw=True)


def lesson_notebooks(only: Sequence[str] = (), folder: Path = NOTEBOOKS_FOLDER) -> list[Path]:
    """Return the notebooks of the lessons in order, or of those whose numbers are in `only`.

    Raises:
        ConfigError: If there is no lesson with such a number.
    """
    found = {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    for number in only:
        if number not in found:
            raise unknown_name("lesson", number, found)
    return [path for number, path in found.items() if not only or number in only]


def read_value(text: str) -> object:
    """Read a value from the command line: a number, True, False, None or, failing these, a text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def plan_parameters(notebooks: Iterable[Path], given: Mapping[str, object]) -> dict[Path, dict]:
    """Decide, before anything runs, which parameters each notebook is given.

    A lesson is given those that its parameters cell has. A name that no chosen lesson has is an error.
    Paths are made absolute, since a notebook runs in its own folder.

    Raises:
        ConfigError: If a name is unknown, or a value has the wrong type or is out of range.
    """
    from papermill import inspect_notebook

    notebooks = list(notebooks)
    given = {name: _absolute(name, value) for name, value in given.items()}
    declared = {notebook: set(inspect_notebook(_for_papermill(notebook))) for notebook in notebooks}
    for notebook, names in declared.items():
        if not names:
            raise ConfigError(
                "A notebook has no parameters.",
                where=notebook,
                expected="a cell with the tag `parameters`",
                found="none",
                do="Add the tag to the cell that sets the parameters.",
            )
    for name in given:
        if not any(name in names for names in declared.values()):
            raise unknown_name("parameter", name, set().union(*declared.values()))
    Settings(**given)
    return {
        notebook: {name: value for name, value in given.items() if name in names}
        for notebook, names in declared.items()
    }


def _for_papermill(path: Path) -> Path:
    """Return a path as papermill wants it: of `B{seed}` it would make B3, another folder."""
    return Path(str(path).replace("{", "{{").replace("}", "}}"))


def _absolute(name: str, value: object) -> object:
    with suppress(OSError, RuntimeError, ValueError):  # no path at all: Settings says so
        if name == "dataset" and isinstance(value, str) and value.startswith("folder:"):
            return f"folder:{image_folder(value)}"
        if name == "weights" and isinstance(value, str) and value.endswith(".safetensors"):
            return str(Path(value).expanduser().resolve())
    return value


def run_lessons(notebooks: Iterable[Path], parameters: Mapping[str, object], output: Path) -> list[LessonRun]:
    """Execute notebooks in order; a failing one does not keep the others from running.

    Args:
        notebooks: Their paths.
        parameters: Given to every notebook that has them.
        output: The folder for the executed notebooks and `results.json`, which is written after every
            lesson: a list with the fields of `LessonRun`.

    Raises:
        ConfigError: If a parameter is wrong, the executed notebooks would overwrite their sources, or the
            folder cannot be written to.
        CheckpointError: After the last lesson, if `results.json` could not be written. They are printed then.
    """
    output = Path(output).resolve()
    plan = plan_parameters(notebooks, parameters)
    _refuse_to_overwrite(plan, output)
    make_folder(output, ConfigError)
    runs, unwritten = [], None
    for notebook, own_parameters in plan.items():
        print(f"{notebook.stem} ...", end=" ", flush=True)
        run = run_lesson(notebook, own_parameters, output / notebook.name)
        print(f"{run.status} in {run.seconds:.0f} s", flush=True)
        runs.append(run)
        results = json.dumps([asdict(run) for run in runs], indent=2) + "\n"
        try:
            write_atomically(
                output / "results.json", lambda part, text=results: part.write_text(text, encoding="utf-8")
            )
            unwritten = None
        except CheckpointError as error:  # a full disk: the next lesson may need less room
            unwritten = error
    if unwritten:
        print(f"\n{results_table(runs)}\n")
        raise unwritten
    return runs


def _refuse_to_overwrite(notebooks: Iterable[Path], output: Path) -> None:
    for name in ["results.json", *(notebook.name for notebook in notebooks)]:
        if (output / name).exists():
            raise ConfigError(
                "The results would overwrite a file.",
                where=output / name,
                expected="a folder without a file of this name",
                found="a file",
                do="Choose another folder with --output.",
            )


def run_lesson(notebook: Path, parameters: dict, output: Path, cwd: Path | None = None) -> LessonRun:
    """Execute one notebook, whose parameters were checked, and say what happened; nothing is raised.

    Args:
        notebook: Its path.
        parameters: As `plan_parameters` returns them.
        output: The path of the executed notebook; what the kernel says outside of cells is kept beside it.
        cwd: The folder in which it runs. None: its own.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    run = LessonRun(notebook.stem[:2], notebook.name, parameters=parameters)
    own_pictures = str(parameters.get("dataset")).startswith("folder:")  # how large and many is not known
    limit = CELL_TIMEOUT["full" if own_pictures else parameters.get("profile", "quick")]
    started = time.perf_counter()
    try:
        with _kernel_messages_in(output.parent / "kernels.log"):
            papermill.execute_notebook(
                _for_papermill(notebook),
                _for_papermill(output),
                parameters=parameters,
                cwd=cwd or notebook.parent,
                progress_bar=False,
                execution_timeout=limit,
                start_timeout=START_TIMEOUT,
            )
    except PapermillExecutionError as error:
        run.status, run.error = "failed", f"{error.ename}: {error.evalue}"
        run.cell = _last_started_cell(output)  # papermill's own number is from before it added cells
    except Exception as error:  # a dead kernel, a timeout: the next lesson runs all the same
        run.status, run.error = "failed", f"{type(error).__name__}: {error}"
        run.cell = _last_started_cell(output)
    run.seconds = round(time.perf_counter() - started, 1)
    if run.status == "failed" and not _cells_of(output):
        output.unlink(missing_ok=True)  # half a notebook, for which the disk had no room
    run.metrics = read_metrics(output)
    return run


@contextmanager
def _kernel_messages_in(log: Path) -> Iterator[None]:
    """Keep in a file what a kernel says outside of its cells: it inherits this process's error stream."""
    sys.stderr.flush()
    saved = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _last_started_cell(notebook: Path) -> int | None:
    cells = _cells_of(notebook)
    started = [n for n, cell in enumerate(cells, 1) if cell.metadata.get("papermill", {}).get("start_time")]
    return started[-1] if started else None


def read_metrics(notebook: Path) -> dict[str, float]:
    """Return everything that `record` put into an executed notebook."""
    metrics = {}
    for cell in _cells_of(notebook):
        for output in cell.get("outputs", []):
            metrics.update(output.get("data", {}).get(METRICS_TYPE, {}))
    return metrics


def _cells_of(notebook: Path) -> list:
    """Return the cells of an executed notebook; none if there is no notebook, or only half of one."""
    try:
        return nbformat.read(notebook, as_version=4).cells
    except (OSError, ValueError):
        return []


def results_table(runs: Iterable[LessonRun]) -> str:
    """Return the runs as a table of text: lesson, status, seconds and accuracy."""
    rows = [f"{'lesson':<28} {'status':<7} {'seconds':>7}  accuracy"]
    for run in runs:
        name = Path(run.notebook).stem
        accuracy = ", ".join(
            f"{metric.removesuffix('_accuracy')} {value:.3f}"
            for metric, value in run.metrics.items()
            if metric.endswith("_accuracy")
        )
        rows.append(f"{name:<28} {run.status:<7} {run.seconds:>7.1f}  {accuracy or '-'}")
        if run.status == "failed":
            rows.append(f"    cell {run.cell}: {run.error}")
    return "\n".join(rows)


def new_output_folder(profile: str) -> Path:
    """Return a folder name under `runs/` that is new: the time, the profile, and eight random digits.

    Of runs that start in the same second, each gets another one.
    """
    return run_folder(f"{datetime.now():%Y-%m-%d_%H%M%S}_{profile}_{secrets.token_hex(4)}")


def run_folder(name: str) -> Path:
    """Return the absolute path of the folder of a run under `runs/`.

    Raises:
        ConfigError: If the name could lead anywhere else.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or set(name) == {"."} or len(name) > 200:
        raise ConfigError(
            "A run cannot have this name.",
            where="name",
            expected="letters from A to Z, digits, dots, _ and -, at most 200, so that it stays inside runs/",
            found=repr(name),
            do="Choose a name such as first-try; to write elsewhere, give the folder with --output.",
        )
    return REPOSITORY_FOLDER / "runs" / name


def refresh_outputs(notebooks: Iterable[Path], output: Path) -> list[LessonRun]:
    """Run lessons in the quick profile and store their outputs in the notebooks themselves.

    For maintainers. Progress bars are left out, since a stored one cannot be drawn; so is what papermill
    adds. A lesson that fails is left as it was.

    Raises:
        ConfigError: As `run_lessons`, or if the notebooks' folder cannot be written to; before anything runs.
    """
    notebooks = list(notebooks)
    for folder in {notebook.parent for notebook in notebooks}:
        make_folder(folder, ConfigError)
    runs = run_lessons(notebooks, {}, output)
    for notebook, run in zip(notebooks, runs, strict=True):
        if run.status == "ok":
            source = nbformat.read(notebook, as_version=4)
            executed = nbformat.read(Path(output) / notebook.name, as_version=4)
            for cell, done in zip(source.cells, executed.cells, strict=True):
                if cell.cell_type == "code":
                    cell.outputs = [out for out in done.outputs if not _is_progress_bar(out)]
                    cell.execution_count = done.execution_count
            text = nbformat.writes(source) + "\n"
            write_atomically(notebook, lambda part, text=text: part.write_text(text, encoding="utf-8"))
    return runs


def _is_progress_bar(output: Mapping) -> bool:
    if output.get("name") == "stderr":  # anything else there is a warning: it must be seen, and mended
        return all("%|" in line for line in output["text"].splitlines() if line.strip())
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
