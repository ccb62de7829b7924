"""Lessons: papermill runs them one after another, and their recorded results are gathered.

Each lesson is executed in a process of its own; the executed notebook is kept, even if it failed. Results
that a lesson passes to `record` become an output of one of its cells.
"""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat

from course_utils.errors import CheckpointError, ConfigError, CourseError
from course_utils.files import check_new, make_folder, write_atomically
from course_utils.notebook.records import METRICS_TYPE
from course_utils.settings import REPOSITORY_FOLDER, Settings, image_folder, unknown_name

NOTEBOOKS_FOLDER = REPOSITORY_FOLDER / "notebooks"

# How long to wait for a kernel to start, or for its last output, on a busy machine.
ANSWER_SECONDS = 600


@dataclass
class LessonRun:
    """The outcome of one lesson."""

    lesson: str
    notebook: str
    status: str = "ok"  # or "failed"
    seconds: float = 0.0
    parameters: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)  # all that the lesson recorded; accuracies from 0 to 1
    cell: int | None = None  # the one that failed, counted from 1 over all cells of the executed notebook
    error: str | None = None


def lesson_notebooks(only: Sequence[str] = ()) -> list[Path]:
    """Return the notebooks of all lessons in order, or of those whose numbers are in `only`.

    Raises:
        ConfigError: If there is no lesson with such a number.
    """
    found = {path.name[:2]: path for path in sorted(NOTEBOOKS_FOLDER.glob("[0-9][0-9]_*.ipynb"))}
    for number in only:
        if number not in found:
            raise unknown_name("lesson", number, found)
    return [path for number, path in found.items() if not only or number in only]


def plan_parameters(notebooks: Iterable[Path], given: Mapping[str, object]) -> dict[Path, dict]:
    """Return, for each notebook, the given parameters that it takes.

    A notebook takes the names in its parameters cell, and every setting if they include `dataset`. A name
    that no notebook takes is an error. Paths are made absolute, since a notebook runs in its own folder.

    Raises:
        ConfigError: If a name is unknown, or a value has the wrong type or is out of range.
    """
    from papermill import inspect_notebook

    notebooks = list(notebooks)
    given = {name: _absolute(name, value) for name, value in given.items()}
    declared = {notebook: set(inspect_notebook(notebook)) for notebook in notebooks}
    for names in declared.values():
        if "dataset" in names:
            names.update(Settings.model_fields)
    known = set().union(*declared.values())
    for name in given:
        if name not in known:
            raise unknown_name("parameter", name, known)
    Settings(**given)
    return {
        notebook: {name: value for name, value in given.items() if name in names}
        for notebook, names in declared.items()
    }


def _absolute(name: str, value: object) -> object:
    with suppress(OSError, RuntimeError, ValueError):  # not a path: `Settings` reports it
        if name == "dataset" and str(value).startswith("folder:"):
            return f"folder:{image_folder(value)}"
        is_file = name == "weights" and str(value).endswith(".safetensors")
        if is_file or (name == "photographs" and isinstance(value, str)):
            return str(Path(value).expanduser().resolve())
        if name == "groups" and ".csv:" in str(value):  # FILE.csv:COLUMN
            file, column = str(value).rsplit(":", 1)
            return f"{Path(file).expanduser().resolve()}:{column}"
    return value


def run_lessons(
    notebooks: Iterable[Path],
    parameters: Mapping[str, object],
    output: Path,
    seconds_per_cell: int | None = None,
) -> list[LessonRun]:
    """Execute notebooks in order; if one fails, the others still run.

    Args:
        notebooks: Their paths.
        parameters: Passed to every notebook that has them.
        output: The folder for the executed notebooks and `results.json`, a list of the fields of each
            `LessonRun`.
        seconds_per_cell: A cell that takes longer fails. None: a cell may take as long as it needs.

    Raises:
        ConfigError: If a parameter is wrong, the executed notebooks would overwrite their sources, or the
            folder cannot be written to.
        CheckpointError: If `results.json` cannot be written.
        KeyboardInterrupt: After Ctrl-C. It says what is kept.
    """
    output = Path(output).resolve()
    plan = plan_parameters(notebooks, parameters)
    for name in ["results.json", *(notebook.name for notebook in plan)]:
        check_new(output / name, ConfigError, another="folder")
    make_folder(output, ConfigError)
    runs = []
    for notebook, own_parameters in plan.items():
        bar = {"desc": notebook.stem, "file": sys.stdout}
        options = {"seconds_per_cell": seconds_per_cell, "progress_bar": bar}
        try:
            runs.append(run_lesson(notebook, own_parameters, output / notebook.name, **options))
        except KeyboardInterrupt:
            kept = f"Kept in {output}: this notebook up to there, and the {len(runs)} before it."
            raise KeyboardInterrupt(f"Interrupted in {notebook.stem}. {kept}") from None
        print(f"{notebook.stem}: {runs[-1].status} in {runs[-1].seconds:.0f} s", flush=True)
        write_file(output / "results.json", json.dumps([asdict(run) for run in runs], indent=2) + "\n")
    return runs


def write_file(path: Path, content: str | bytes, error: type[CourseError] = CheckpointError) -> None:
    """Write a file, as a whole or not at all. Raise an `error` if it cannot be written."""

    def write(part: Path) -> None:
        part.write_bytes(content.encode() if isinstance(content, str) else content)

    write_atomically(path, write, error)


def run_lesson(
    notebook: Path,
    parameters: dict,
    output: Path,
    cwd: Path | None = None,
    *,
    seconds_per_cell: int | None = None,
    progress_bar: bool | dict = False,
) -> LessonRun:
    """Execute one notebook. If it fails, its status says so; no error is raised.

    Args:
        notebook: Its path.
        parameters: As `plan_parameters` returns them.
        output: The path of the executed notebook. The kernel's messages outside cells go to kernels.log next
            to it.
        cwd: The folder in which it runs. None: its own.
        seconds_per_cell: A cell that takes longer fails. None: a cell may take as long as it needs.
        progress_bar: Whether to show one, or options of tqdm for it.
    """
    import papermill

    from course_teaching.kernels import OwnKernel, kernel_messages_in

    run = LessonRun(notebook.stem[:2], notebook.name, parameters=parameters)
    started = time.perf_counter()
    try:
        with kernel_messages_in(output.parent / "kernels.log"):
            papermill.execute_notebook(
                notebook,
                output,
                parameters=parameters,
                cwd=cwd or notebook.parent,
                progress_bar=progress_bar,
                kernel_name="python3",
                kernel_manager_class=OwnKernel,
                execution_timeout=seconds_per_cell,
                start_timeout=ANSWER_SECONDS,
                iopub_timeout=ANSWER_SECONDS,
            )
    except Exception as error:  # an error in a cell, a dead kernel, a timeout, a full disk
        name, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
        # The cell's number in papermill's own error is from before it added cells.
        run.status, run.error, run.cell = "failed", f"{name}: {text}", _last_started_cell(output)
    run.seconds = round(time.perf_counter() - started, 1)
    run.metrics = read_metrics(output)
    return run


def _last_started_cell(notebook: Path) -> int | None:
    times = [cell.metadata.get("papermill", {}).get("start_time") for cell in _cells_of(notebook)]
    return max((number for number, time in enumerate(times, 1) if time), default=None)


def read_metrics(notebook: Path) -> dict[str, float]:
    """Return everything that `record` put into an executed notebook."""
    metrics = {}
    for cell in _cells_of(notebook):
        for output in cell.get("outputs", []):
            metrics.update(output.get("data", {}).get(METRICS_TYPE, {}))
    return metrics


def _cells_of(notebook: Path) -> list:
    """Return the cells of a notebook; none if there is no notebook, or an incomplete one."""
    try:
        return nbformat.read(notebook, as_version=4).cells
    except (OSError, ValueError):
        return []


def results_table(runs: Iterable[LessonRun]) -> str:
    """Return the runs as a table of text: lesson, status, seconds and accuracy."""
    rows = [f"{'lesson':<28} {'status':<7} {'seconds':>7}  accuracy"]
    for run in runs:
        accuracies = {name: value for name, value in run.metrics.items() if name.endswith("_accuracy")}
        words = [f"{name.removesuffix('_accuracy')} {value:.3f}" for name, value in accuracies.items()]
        row = f"{Path(run.notebook).stem:<28} {run.status:<7} {run.seconds:>7.1f}  {', '.join(words) or '-'}"
        rows += [row, f"    cell {run.cell}: {run.error}"] if run.status == "failed" else [row]
    return "\n".join(rows)
