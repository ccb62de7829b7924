"""Figures for choosing a network and adapting it (lessons 12 and 13)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image

from course_utils.evaluation.comparison import mean_interval
from course_utils.figures.curves import DATASET_NAMES
from course_utils.figures.described import (
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    ORANGE,
    DescribedFigure,
    escape_dollar,
)


def search_results(searches: Sequence[tuple[str, Image.Image, str, Sequence]]) -> DescribedFigure:
    """Draw one row for each search: the query, and what was found, with class and cosine similarity.

    A search is a title, the query, its class, and what was found: pictures, each with class and similarity.
    """
    words = "; ".join(
        f"{title}, query {own_class}: "
        + ", ".join(f"{name} {similarity:.2f}" for _, name, similarity in found)
        for title, _, own_class, found in searches
    )
    columns = 1 + max(len(found) for *_, found in searches)
    figure = DescribedFigure(
        f"{len(searches)} searches by picture, with the classes and cosine similarities found. {words}.",
        figsize=(1.5 * columns, 1.8 * len(searches)),
    )
    panels = figure.subplots(len(searches), columns, squeeze=False)
    for row, (title, query, own_class, found) in zip(panels, searches, strict=True):
        row[0].imshow(query)
        row[0].set_title(escape_dollar(f"QUERY\n{own_class}"), fontsize=9)
        row[0].set_ylabel(escape_dollar(title), fontsize=9)
        for axes, (picture, name, similarity) in zip(row[1:], found, strict=False):
            same = name == own_class
            axes.imshow(picture)
            axes.set_title(escape_dollar(f"{name}{'' if same else ' ✗'}\n{similarity:.2f}"), fontsize=9)
            axes.spines[:].set(color=BLUE if same else ORANGE, linewidth=2.5)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    return figure


def scores_and_results(runs: pd.DataFrame, scores: Mapping[str, str], chance: float) -> DescribedFigure:
    """Draw test accuracy over cheap scores: a row for each score, a column for each dataset.

    Args:
        runs: A row for each candidate and seed: `dataset`, `candidate`, `test_accuracy` (0 to 1), and scores.
        scores: The label of each column with a score.
        chance: The accuracy of guessing, in per cent.
    """
    means = runs.groupby(["dataset", "candidate"], sort=False)[[*scores, "test_accuracy"]].mean()
    words = "; ".join(
        f"{DATASET_NAMES.get(dataset, dataset)}, {name}: "
        + ", ".join(f"{scores[score]} {row[score]:.2f}" for score in scores)
        + f", accuracy {100 * row.test_accuracy:.1f} %"
        for (dataset, name), row in means.iterrows()
    )
    names, datasets = runs.candidate.unique(), runs.dataset.unique()
    figure = DescribedFigure(
        f"Scatter plots of test accuracy after fine-tuning over scores before it. Means: {words}.",
        figsize=(4.2 * len(datasets), 2.7 * len(scores) + 0.7),
    )
    panels = figure.subplots(len(scores), len(datasets), squeeze=False, sharey=True, sharex="row")
    for row, (score, label) in zip(panels, scores.items(), strict=True):
        for axes, dataset in zip(row, datasets, strict=True):
            axes.axhline(chance, color=GREY, linestyle="--", linewidth=1)
            for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
                own = runs[(runs.dataset == dataset) & (runs.candidate == name)]
                look = {"color": colour, "marker": marker, "linestyle": "none", "alpha": 0.8}
                axes.plot(own[score], 100 * own.test_accuracy, label=escape_dollar(name), **look)
            axes.set(xlabel=label, ylim=(0, 100))
            axes.set_title(escape_dollar(DATASET_NAMES.get(dataset, dataset)))
            axes.grid(alpha=0.3)
        row[0].set_ylabel("fine-tuned: test accuracy (%)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    panels[0][0].annotate("chance", (0.02, chance + 2), xycoords=("axes fraction", "data"), fontsize=8)
    return figure


def gains_over(runs: pd.DataFrame, baseline: str) -> DescribedFigure:
    """Draw how many points each way of training gains over one of them, on the same seeds.

    A panel for each test, a row for each way, a dot for each seed, and the mean of the differences with its
    95 % interval (Student's t). Ways are drawn in the order in which they come.

    Args:
        runs: A row for each test, way and seed, with the columns `test`, `way`, `seed` and `accuracy` (0 to
            1). Every way has the seeds of the baseline.
        baseline: The way that the others are compared with.
    """
    tests = list(runs.test.unique())
    wide = runs.pivot(index=["test", "seed"], columns="way", values="accuracy")
    gains = 100 * wide.drop(columns=baseline).sub(wide[baseline], axis=0)
    panels = {
        test: [
            (way, (own := gains.loc[test, way].dropna()), *mean_interval(own))
            for way in runs.way[(runs.test == test) & (runs.way != baseline)].unique()
        ]
        for test in tests
    }
    words = "; ".join(
        f"{test}, {way} {mean:+.1f} ({low:+.1f} to {high:+.1f})"
        for test, rows in panels.items()
        for way, _, mean, low, high in rows
    )
    figure = DescribedFigure(
        f"Dot plots of points gained over {baseline}, with a line at 0, a dot for each of "
        f"{runs.seed.nunique()} seeds, and means with 95 % intervals: {words}.",
        figsize=(3.2 * len(tests) + 2, 0.45 * max(map(len, panels.values())) + 1.2),
    )
    columns = figure.subplots(1, len(tests), squeeze=False, sharex=True)[0]
    for axes, (test, rows) in zip(columns, panels.items(), strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        for row, (_, own, mean, low, high) in enumerate(rows):
            axes.plot(own, np.full(len(own), row + 0.18), "o", color=GREY, markersize=4, alpha=0.7)
            spread = [[mean - low], [high - mean]]
            axes.errorbar(mean, row - 0.08, xerr=spread, fmt="D", color=BLUE, capsize=4, markersize=5)
        repeated = axes is not columns[0] and [way for way, *_ in rows] == [
            way for way, *_ in panels[tests[0]]
        ]
        names = [] if repeated else [escape_dollar(way) for way, *_ in rows]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set(title=escape_dollar(test), xlabel=f"points above {baseline}")
        axes.grid(axis="x", alpha=0.3)
    return figure
