"""What came out of a sweep? One table of all runs, and a notebook that shows the means over seeds."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import numpy as np
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.data import write_atomically
from course_utils.teaching.lessons import run_lesson

if TYPE_CHECKING:  # with torch, which the table does not need
    from course_utils.figures import DescribedFigure

MOST_DRAWN = 40  # settings in one figure
FEWEST = 3  # runs that an interval is given for


def write_results(output: Path, notebook: str, varied: list[str], results: list[dict], again: bool) -> None:
    """Write `results.csv`, a row for each run, and `results.ipynb`, executed, into the folder of a sweep.

    Args:
        output: The folder.
        notebook: The name of the lesson.
        varied: The parameters of the grid.
        results: As `sweeps.sweep` returns them.
        again: Whether to do so also if the table that is there says the same.

    Raises:
        CheckpointError: If a file cannot be written.
    """
    table = results_frame(results, varied)
    path, book = output / "results.csv", output / "results.ipynb"
    text = table.to_csv(index=False, lineterminator="\n")
    if not again and book.exists() and path.exists() and path.read_bytes() == text.encode():
        return
    write_atomically(path, lambda part: part.write_bytes(text.encode()))
    metrics = list(dict.fromkeys(name for result in results for name in _metrics(result)))
    source, executed = output / "runs" / ".results.ipynb", output / "runs" / ".results.part.ipynb"
    try:
        made = nbformat.writes(_results_notebook(notebook, varied, metrics))
        write_atomically(source, lambda part: part.write_text(made, encoding="utf-8"))
        run = run_lesson(source, {}, executed, cwd=output)
        if executed.exists():
            write_atomically(book, lambda part: shutil.copyfile(executed, part))
    finally:
        for left in (source, executed):
            left.unlink(missing_ok=True)
    if run.status != "ok":
        print(f"The plots could not be made ({run.error}); the table is in {path}.")


def results_frame(results: list[dict], varied: list[str]) -> pd.DataFrame:
    """Return one row for each run: its name and status, its parameters, what it recorded, its error.

    Args:
        results: As `sweeps.sweep` returns them.
        varied: The parameters that come first.
    """
    rows = []
    for result in results:
        given = {name: result["parameters"][name] for name in varied}
        row = {name: result[name] for name in ("name", "status", "tries", "seconds")}
        rows.append({**row, **given, **result["parameters"], **_metrics(result), "error": result["error"]})
    table = pd.DataFrame(rows)
    return table[[*(name for name in table.columns if name != "error"), "error"]]


def over_seeds(table: pd.DataFrame, metric: str, varied: Sequence[str]) -> pd.DataFrame:
    """Return the mean over seeds of what was recorded, and its 95 % Student-t interval, for each setting.

    Args:
        table: `results.csv`, read with pandas. Runs that failed are left out.
        metric: The name of a column. If it ends with "accuracy", its intervals are cut off at 0 and 1.
        varied: The parameters of the grid; `seed` is what the mean is taken over.

    Returns:
        One row for each setting, with the columns `mean`, `low`, `high`, `runs` (how many) and `each` (a list
        of what they recorded). With fewer than three runs the limits are missing (NaN): that of two is 12.7
        times as wide as they are apart, and says next to nothing.
    """
    from course_utils.evaluation import mean_interval

    settings = [name for name in varied if name != "seed"]
    fine = table[(table.status == "ok") & table[metric].notna()]
    words = [
        ", ".join(f"{name} {_told(row[name])}" for name in settings) or "all runs"
        for row in fine.to_dict("records")
    ]
    bounds = (0, 1) if metric.endswith("accuracy") else (-math.inf, math.inf)
    rows = {}
    for setting, values in fine.groupby(pd.Series(words, index=fine.index, dtype=object), sort=False)[metric]:
        mean, *limits = mean_interval(values)
        low, high = limits if len(values) >= FEWEST else (math.nan, math.nan)
        limits = [float(np.clip(limit, *bounds)) for limit in (low, high)]
        rows[setting] = [mean, *limits, len(values), list(values)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high", "runs", "each"])


def draw_means(means: pd.DataFrame, metric: str) -> "DescribedFigure":
    """Draw what `over_seeds` returns: each run, their mean, and its interval where there is one."""
    from course_utils.figures import interval_plot
    from course_utils.figures.described import GREY

    shown = means.sort_values("mean", ascending=False).head(MOST_DRAWN) if len(means) > MOST_DRAWN else means
    words = "; ".join(
        f"{setting}: {row['mean']:.4g} ("
        + ("" if pd.isna(row["low"]) else f"{row['low']:.4g} to {row['high']:.4g}, ")
        + f"{row['runs']} run{'s' * (row['runs'] > 1)})"
        for setting, row in shown.iterrows()
    )
    left = f" The {len(shown)} highest of {len(means)} settings are drawn." if len(shown) < len(means) else ""
    interval = f"95 % interval where there are at least {FEWEST} runs"
    told = (
        f"Means of {metric} over the seeds, with the {interval}, and each run as a grey point.{left} {words}."
    )
    label = f"{metric}: each run (grey), mean over seeds,\n{interval}"
    figure = interval_plot(shown.rename(columns={"mean": "accuracy"}), told, label=label)
    points = shown.explode("each")
    figure.axes[0].plot(points["each"].astype(float), points.index, ".", color=GREY, zorder=3)
    return figure


def _results_notebook(notebook: str, varied: list[str], metrics: list[str]) -> nbformat.NotebookNode:
    """Return the notebook of results, not executed."""
    cells = [
        new_markdown_cell(
            f"# What a sweep of `{notebook}` gave\n\n`results.csv` has a row for each run. Below, the mean "
            "over the seeds of whatever the runs recorded, with its 95 % interval (Student's t). An interval "
            f"needs {FEWEST} seeds or more, and is wide with few; that of an accuracy is cut off at 0 and 1. "
            "With fewer seeds, look at the runs themselves: the grey points."
        ),
        new_code_cell(
            "import pandas as pd\n\n"
            "from course_utils.teaching.sweeps.results import draw_means, over_seeds\n\n"
            f'varied = {varied!r}\ntable = pd.read_csv("results.csv")\ntable'
        ),
    ]
    for metric in metrics:
        cells += [
            new_markdown_cell(f"## {metric}"),
            new_code_cell(f"means = over_seeds(table, {metric!r}, varied)\nmeans"),
            new_code_cell(f"draw_means(means, {metric!r})"),
        ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(cells):  # else drawn at random
        cell["id"] = f"results-{number}"
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _metrics(result: dict) -> dict:
    """Return what a run recorded, under names that are none of its other columns'."""
    taken = {"name", "status", "tries", "seconds", "error", *result["parameters"]}
    return {name + "_recorded" * (name in taken): value for name, value in result["metrics"].items()}


def _told(value: object) -> str:
    if pd.isna(value):
        return "None"
    return f"{value:g}" if isinstance(value, float) else str(value)
