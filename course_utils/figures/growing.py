"""Pictures of what grows, and of what should not: lesson 11."""

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from course_utils.figures.described import BLUE, GREY, MARKERS, ORANGE, DescribedFigure


def growth(table: pd.DataFrame) -> DescribedFigure:
    """Draw time and memory over the number of files, on logarithmic scales.

    Args:
        table: One row for each measurement, with the columns `from` (what was read), `files`,
            `seconds, median` and `memory at most, MB`.
    """
    words = "; ".join(
        f"{row['from']}, {row['files']:,} files: {row['seconds, median']:.1f} s, "
        f"{row['memory at most, MB']:.0f} MB"
        for _, row in table.iterrows()
    )
    figure = DescribedFigure(
        f"Time and highest memory of an extraction over the number of files. {words}.", figsize=(8, 3.4)
    )
    time, memory = figure.subplots(1, 2)
    for (kind, rows), colour, marker in zip(table.groupby("from"), (BLUE, ORANGE), MARKERS, strict=False):
        look = {"color": colour, "marker": marker, "label": kind}
        time.plot(rows["files"], rows["seconds, median"], **look)
        memory.plot(rows["files"], rows["memory at most, MB"], **look)
    files = np.array([table["files"].min(), table["files"].max()])
    first = table[table["files"] == files[0]]["seconds, median"].min()
    time.plot(files, first * files / files[0], ":", color=GREY, label="in proportion")
    time.set(xscale="log", yscale="log", xlabel="files", ylabel="seconds")
    memory.set(xscale="log", xlabel="files", ylabel="highest memory (MB)")
    memory.set_ylim(0, 1.25 * table["memory at most, MB"].max())
    time.legend()
    time.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    time.yaxis.set_major_formatter("{x:g}")
    counts = sorted(set(table["files"]))
    for axes in (time, memory):
        axes.minorticks_off()
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.grid(alpha=0.4)
    return figure
