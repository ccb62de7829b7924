"""Results of a sweep: one table of all runs, and a notebook that shows the means over seeds."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_teaching.lessons import run_lesson, write_file
from course_utils.evaluation.comparison import mean_interval
from course_utils.figures.described import GREY, DescribedFigure
from course_utils.figures.results import interval_plot

MOST_DRAWN = 40  # settings in one figure
FEWEST = 3  # runs that an interval is given for

INTRODUCTION = f"""\
# Results of a sweep of `{{notebook}}`

`results.csv` has a row for each run. Below, the mean over the seeds of whatever the runs recorded, with its
95 % interval (Student's t). An interval needs {FEWEST} seeds or more, and is wide with few; that of an
accuracy is cut off at 0 and 1. With fewer seeds, look at the runs themselves: the grey points."""
READ_TABLE = """\
import pandas as pd

from course_teaching.sweep_results import draw_means, means_over_seeds

varied = {varied!r}
table = pd.read_csv("results.csv")
table"""
SHOW_METRIC = """\
means = means_over_seeds(table, {metric!r}, varied)
display(means)
draw_means(means, {metric!r})"""


def write_results(output: Path, notebook: str, varied: list[str], results: list[dict]) -> None:
    """Write `results.csv`, a row for each run, and `results.ipynb`, executed, into the folder of a sweep.

    Nothing is done if both are there, and the table says the same. Raise a CheckpointError if a file cannot
    be written.
    """
    path, book = output / "results.csv", output / "results.ipynb"
    table = results_frame(results, varied).to_csv(index=False, lineterminator="\n").encode()
    if book.exists() and path.exists() and path.read_bytes() == table:
        return
    write_file(path, table)
    cells = [
        new_markdown_cell(INTRODUCTION.format(notebook=notebook)),
        new_code_cell(READ_TABLE.format(varied=varied)),
    ]
    for metric in dict.fromkeys(name for result in results for name in _metrics(result)):
        cells += [new_markdown_cell(f"## {metric}"), new_code_cell(SHOW_METRIC.format(metric=metric))]
    for number, cell in enumerate(cells):  # else drawn at random
        cell["id"] = f"results-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    source, executed = (output / "runs" / f".results{end}.ipynb" for end in ("", ".executed"))
    write_file(source, nbformat.writes(new_notebook(cells=cells, metadata={"kernelspec": kernel})))
    run = run_lesson(source, {}, executed, cwd=output)
    if executed.exists():
        os.replace(executed, book)
    if run.status != "ok":
        print(f"The plots could not be made ({run.error}); the table is in {path}.")


def results_frame(results: list[dict], varied: list[str]) -> pd.DataFrame:
    """Return one row for each run: its name and status, its parameters, what it recorded, its error."""
    rows = []
    for result in results:
        row = {name: result[name] for name in ("name", "status", "seconds")}
        row |= {name: result["parameters"][name] for name in varied}
        rows.append({**row, **result["parameters"], **_metrics(result), "error": result["error"]})
    table = pd.DataFrame(rows)
    return table[[*table.columns.drop("error"), "error"]]


def _metrics(result: dict) -> dict:
    """Return what a run recorded, under names that are none of its other columns'."""
    taken = {"name", "status", "seconds", "error", *result["parameters"]}
    return {name + "_recorded" * (name in taken): value for name, value in result["metrics"].items()}


def means_over_seeds(table: pd.DataFrame, metric: str, varied: Sequence[str]) -> pd.DataFrame:
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
    fine = table[(table.status == "ok") & table[metric].notna()]
    settings = [
        ", ".join(f"{name} {_readable(row[name])}" for name in varied if name != "seed") or "all runs"
        for row in fine.to_dict("records")
    ]
    bounds = (0, 1) if metric.endswith("accuracy") else (-math.inf, math.inf)
    rows = {}
    for setting, values in fine[metric].groupby(pd.Series(settings, fine.index, dtype=object), sort=False):
        mean, *limits = mean_interval(values)
        limits = np.clip(limits, *bounds) if len(values) >= FEWEST else [math.nan, math.nan]
        rows[setting] = [mean, *limits, len(values), list(values)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high", "runs", "each"])


def _readable(value: object) -> str:
    if pd.isna(value):
        return "None"
    return f"{value:g}" if isinstance(value, float) else str(value)


def draw_means(means: pd.DataFrame, metric: str) -> DescribedFigure:
    """Draw what `means_over_seeds` returns: each run, their mean, and its interval where there is one."""
    shown = means.sort_values("mean", ascending=False).head(MOST_DRAWN) if len(means) > MOST_DRAWN else means
    words = []
    for setting, row in shown.iterrows():
        interval = "" if pd.isna(row["low"]) else f"{row['low']:.4g} to {row['high']:.4g}, "
        runs = f"{row['runs']} run{'s' * (row['runs'] > 1)}"
        words.append(f"{setting}: {row['mean']:.4g} ({interval}{runs})")
    left = f" The {len(shown)} highest of {len(means)} settings are drawn." if len(shown) < len(means) else ""
    interval = f"95 % interval where there are at least {FEWEST} runs"
    description = f"Means of {metric} over the seeds, with the {interval}, and each run as a grey point."
    description += f"{left} {'; '.join(words)}."
    label = f"{metric}: each run (grey), mean over seeds,\n{interval}"
    figure = interval_plot(shown.rename(columns={"mean": "accuracy"}), description, label=label)
    points = shown.explode("each")
    figure.axes[0].plot(points["each"].astype(float), points.index, ".", color=GREY, zorder=3)
    return figure
