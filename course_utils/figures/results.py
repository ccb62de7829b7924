"""Figures of measurements: bars, matrices, intervals, histograms and scatter plots."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from course_utils.evaluation.calibration import calibration_error, reliability_table
from course_utils.evaluation.comparison import mean_interval
from course_utils.evaluation.metrics import Evaluation, accuracy_interval, confusion_matrix
from course_utils.figures.described import (
    BLUE,
    COLOURS,
    DATASET_NAMES,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    DescribedFigure,
    in_words,
)

MOST_CLASSES = 30  # of a confusion matrix: with more, its numbers are unreadable


def bars(values: pd.Series, label: str) -> DescribedFigure:
    """Draw one horizontal bar for each entry of a series, with its value at its end.

    The label says what the numbers are, with their unit.
    """
    words = ", ".join(f"{name} {value:,.4g}" for name, value in values.items())
    figure = DescribedFigure(f"Bar chart of {label}: {words}.", figsize=(6.5, 0.36 * len(values) + 0.9))
    axes = figure.add_subplot(xlabel=label)
    drawn = axes.barh(values.index, values, color=BLUE)
    axes.bar_label(drawn, fmt=lambda value: f"{value:,.3g}" if value < 100 else f"{value:,.0f}", padding=3)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    return figure


def class_counts(counts: pd.DataFrame) -> DescribedFigure:
    """Draw the number of images of each class (row) in each split (column)."""
    words = "; ".join(f"{name}: {', '.join(map(str, row))}" for name, *row in counts.itertuples())
    figure = DescribedFigure(
        f"Bar chart of images in each class, in the order {', '.join(counts.columns)}. {words}.",
        figsize=(7, 3.4),
    )
    axes = figure.add_subplot(xlabel="images")
    ends = counts.cumsum(axis=1)
    for split, colour in zip(counts, cycle((BLUE, ORANGE, GREEN)), strict=False):
        axes.barh(counts.index, counts[split], left=ends[split] - counts[split], color=colour, label=split)
    axes.invert_yaxis()
    axes.legend(title="split", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def confusion(result: Evaluation, unit: str = "images") -> DescribedFigure:
    """Draw the confusion matrix: how often each true class (row) was predicted as each (column).

    The unit says what was classified. Of more than 30 classes, those with the most mistakes are drawn.
    """
    names, matrix = np.array(result.classes), confusion_matrix(result).numpy()
    wrong = matrix * (1 - np.eye(len(names), dtype=int))
    truth, answer = np.unravel_index(wrong.argmax(), wrong.shape)
    frequent = f"The most frequent mistake: {names[truth]} taken for {names[answer]}, {wrong.max()} times."
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)  # a class that was not recognised, or wrongly named
    drawn = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
    size, matrix = len(drawn), matrix[np.ix_(drawn, drawn)]
    left_out = f"The {size} of {len(names):,} classes with the most mistakes." if size < len(names) else ""
    figure = DescribedFigure(
        f"Confusion matrix of {len(names)} classes: {result.correct} of {len(result.labels)} {unit} are on "
        f"the diagonal. {frequent if wrong.any() else 'There is no mistake.'} {left_out}",
        figsize=(0.5 * size + 2, 0.45 * size + 1.6),
    )
    axes = figure.add_subplot(xlabel="predicted class", ylabel="true class")
    axes.set_title(left_out, fontsize=10)
    picture = axes.imshow(matrix, cmap="viridis")
    for row, column in np.argwhere(matrix):
        count = matrix[row, column]
        colour = "white" if count < matrix.max() / 2 else "black"
        axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(size), names[drawn], rotation=45, ha="right")
    axes.set_yticks(range(size), names[drawn])
    figure.colorbar(picture, label=unit, shrink=0.8)
    return figure


def draw_intervals(axes: Axes, table: pd.DataFrame, places: np.ndarray, colour: str = BLUE, **look) -> None:
    """Draw the column `accuracy` with its interval, `low` to `high`, at these places of the vertical axis."""
    spread = np.stack([table.accuracy - table.low, table.high - table.accuracy]).clip(0)
    axes.errorbar(table.accuracy, places, xerr=spread, **{"fmt": "o", "color": colour, "capsize": 4} | look)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def interval_plot(
    table: pd.DataFrame, label: str = "accuracy, with 95 % interval", chance: float | None = None
) -> DescribedFigure:
    """Draw accuracies, or other numbers, by name: the columns `accuracy`, `low` and `high`.

    The label says what the numbers are, with their unit. A line marks 0 if the intervals lie on both sides of
    it, as those of differences do. With `chance`, in per cent, a dotted line marks it, and the axis goes from
    0 to 100.
    """
    words = in_words(table.rename_axis("name"), "{name} {accuracy:.1f} ({low:.1f} to {high:.1f})")
    words += "" if chance is None else f". A dotted line marks chance, {chance:g}"
    figure = DescribedFigure(f"Dot plot of {label}: {words}.", figsize=(6.5, 0.4 * len(table) + 0.9))
    (axes,) = figure.panels([""])
    if table.low.min() < 0 < table.high.max():
        axes.axvline(0, color="black", linewidth=0.8)
    if chance is not None:
        axes.axvline(chance, color="black", linestyle=":", linewidth=1)
        axes.text(chance, 1, "chance", transform=axes.get_xaxis_transform(), ha="center", va="bottom")
        axes.set_xlim(0, 100)
    draw_intervals(axes, table, np.arange(len(table)))
    _name_rows(axes, table.index)
    axes.set_xlabel(label)
    return figure


def gains_over(runs: pd.DataFrame, baseline: str) -> DescribedFigure:
    """Draw how many points each way of training gains over a baseline, on the same seeds.

    There is a panel for each test, a row for each way, a dot for each seed, and the mean of the differences
    with its 95 % interval (Student's t). Ways are drawn in the order of the table.

    Args:
        runs: A row for each test, way and seed, with the columns `test`, `way`, `seed` and `accuracy` (0 to
            1). Every way has the seeds of the baseline.
        baseline: The way that the others are compared with.
    """
    runs = runs.set_index(["test", "seed"])
    base = runs[runs.way == baseline].accuracy
    runs["gain"] = 100 * (runs.accuracy - base.reindex(runs.index))
    rows = [
        [test, way, gains, *mean_interval(gains)]
        for test, own in runs[runs.way != baseline].groupby("test", sort=False)
        for way, gains in own.groupby("way", sort=False).gain
    ]
    table = pd.DataFrame(rows, columns=["test", "way", "gains", "accuracy", "low", "high"])
    words = in_words(table, "{test}, {way} {accuracy:+.1f} ({low:+.1f} to {high:+.1f})")
    tests, ways = table.test.unique(), table.groupby("test").way.agg(list)
    figure = DescribedFigure(
        f"Dot plots of points gained over {baseline}, with a line at 0, a dot for each of "
        f"{runs.index.unique('seed').size} seeds, and means with 95 % intervals: {words}.",
        figsize=(3.2 * len(tests) + 2, 0.45 * ways.map(len).max() + 1.2),
    )
    for axes, test in zip(panels := figure.panels(tests, sharex=True), tests, strict=True):
        part = table[table.test == test]
        axes.axvline(0, color="black", linewidth=0.8)
        for row, gains in enumerate(part.gains):
            axes.plot(gains, np.full(len(gains), row + 0.18), "o", color=GREY, markersize=4, alpha=0.7)
        draw_intervals(axes, part, np.arange(len(part)) - 0.08, fmt="D", markersize=5)
        _name_rows(axes, part.way)
        axes.set_xlabel(f"points above {baseline}")
        if axes is not panels[0] and ways[test] == ways[tests[0]]:
            axes.set_yticks([])
    return figure


def costs(table: pd.DataFrame, chance: float) -> DescribedFigure:
    """Draw the costs of faults, with intervals: a panel for each dataset, a bar for each way to make a fault.

    The columns are `dataset`, `fault`, `way`, `cost`, `low` and `high`, the last three in points of accuracy,
    and `right_accuracy` (0 to 1). A fault without a row changes no picture of that dataset. A line marks the
    cost at which accuracy falls to `chance`, in per cent. All panels have the same scale.
    """
    datasets, faults, ways = (list(table[column].unique()) for column in ("dataset", "fault", "way"))
    words = in_words(table, "{dataset}, {fault}, {way} {cost:.0f} ({low:.0f} to {high:.0f})")
    description = f"Cost of each fault in points of accuracy, with 95 % interval. {words}."
    figure = DescribedFigure(description, figsize=(9, 0.42 * len(faults) + 1.6))
    thickness = 0.8 / len(ways)
    accuracy = 100 * table.groupby("dataset").right_accuracy.first()
    titles = [f"{dataset}\n{accuracy[dataset]:.0f} % without a fault" for dataset in datasets]
    for axes, dataset in zip(figure.panels(titles, sharex=True, sharey=True), datasets, strict=True):
        part = table[table.dataset == dataset]
        for number, (way, colour) in enumerate(zip(ways, cycle(COLOURS), strict=False)):
            rows = part[part.way == way].assign(accuracy=part.cost)
            places = rows.fault.map(faults.index) + (number - (len(ways) - 1) / 2) * thickness
            axes.barh(places, rows.cost, thickness, color=colour, label=way)
            draw_intervals(axes, rows, places, "black", fmt="none", elinewidth=1, capsize=2)
        for fault in set(faults) - set(part.fault):
            axes.text(1, faults.index(fault), "changes no picture", va="center", fontsize=8, color=GREY)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.axvline(accuracy[dataset] - chance, color=GREY, linestyle=":", label="only guessing is left")
        axes.set_xlabel("cost (points of accuracy)")
        _name_rows(axes, faults)
    figure.legend_below(axes, columns=len(ways) + 1)
    return figure


def score_histograms(
    scores: Mapping[str, Mapping[str, torch.Tensor]], thresholds: Mapping[str, float]
) -> DescribedFigure:
    """Draw histograms of detectors' scores for known and unknown images, with each threshold.

    `scores` has, by detector and then by the name of a set of images, a score for each image ([images], the
    known set first); `thresholds` has one for each detector. There is a panel for each detector.
    """
    kept = {
        key: ", ".join(f"{name} {(own >= thresholds[key]).double().mean():.0%}" for name, own in sets.items())
        for key, sets in scores.items()
    }
    words = "; ".join(f"{detector}: {shares}" for detector, shares in kept.items())
    figure = DescribedFigure(
        f"Histograms of scores, with a line at each detector's threshold. Kept above it, by {words}.",
        figsize=(3.2 * len(scores) + 0.4, 3.2),
    )
    panels = figure.panels([f"{detector}\nkept: {shares}" for detector, shares in kept.items()])
    for axes, (detector, sets) in zip(panels, scores.items(), strict=True):
        ends = np.quantile(torch.cat(list(sets.values())).numpy(), [0.01, 1])
        for (name, own), colour in zip(sets.items(), cycle((BLUE, ORANGE)), strict=False):
            look = {"weights": np.full(len(own), 100 / len(own)), "color": colour, "alpha": 0.6}
            axes.hist(own.numpy().clip(*ends), 25, range=tuple(ends), label=name, **look)
        axes.axvline(thresholds[detector], color="black", linestyle="--", label="threshold")
        axes.set_xlabel("score")
    panels[0].set_ylabel("images of each set (%)")
    figure.legend_below(axes, columns=3)
    return figure


def spreads(samples: Mapping[str, np.ndarray], label: str) -> DescribedFigure:
    """Draw a histogram of each sample of numbers (by name), with its middle 95 % darker than the rest.

    The label says what the numbers are, with their unit.
    """
    ends = {name: np.quantile(values, [0.025, 0.975]) for name, values in samples.items()}
    words = "; ".join(f"{name}: 95 % lie from {low:.1f} to {high:.1f}" for name, (low, high) in ends.items())
    figure = DescribedFigure(f"Histograms of the {label}. {words}.", figsize=(6.5, 1.5 * len(samples) + 0.6))
    panels = figure.subplots(len(samples), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, samples.items(), strict=True):
        low, high = ends[name]
        steps = np.diff(np.unique(values.round(6)))  # bins of whole steps, so that all hold equally many
        width = steps.min() * max(1, round(np.ptp(values) / 30 / steps.min()))
        bins = np.arange(values.min() - steps.min() / 2, values.max() + width, width)
        axes.hist(values, bins, color=GREY, alpha=0.4)
        axes.hist(values[(values >= low) & (values <= high)], bins, color=BLUE, label="middle 95 %")
        axes.set_title(name, fontsize=10)
        axes.set_ylabel("repetitions")
    panels[0].legend()
    panels[-1].set_xlabel(label)
    return figure


def reliability(results: Mapping[str, Evaluation], bins: int = 15) -> DescribedFigure:
    """Draw reliability diagrams, one panel for each result by name, with 95 % intervals.

    Accuracy over confidence in bins of equal width; below, the number of predictions.
    """
    errors = {name: 100 * calibration_error(result, bins) for name, result in results.items()}
    words = "; ".join(
        f"{name}: mean confidence {result.probabilities.max(dim=1).values.mean():.1%}, accuracy "
        f"{result.accuracy:.1%}, expected calibration error {errors[name]:.1f} points"
        for name, result in results.items()
    )
    figure = DescribedFigure(
        f"Reliability diagrams, accuracy over confidence. {words}.", figsize=(3.2 * len(results), 4.4)
    )
    panels = figure.subplots(2, len(results), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    for above, below, (name, result) in zip(*panels, results.items(), strict=True):
        table = reliability_table(result, bins)
        correct = (table.accuracy * table.images).round().astype(int)
        bounds = np.array([accuracy_interval(*row) for row in zip(correct, table.images, strict=True)])
        spread = 100 * np.abs(bounds.T - table.accuracy.to_numpy())
        x, y = 100 * table.confidence, 100 * table.accuracy
        above.plot([0, 100], [0, 100], "--", color=GREY, label="calibrated")
        above.errorbar(x, y, spread, fmt="o", color=BLUE, label="measured", capsize=3)
        above.set_title(f"{name}\nerror: {errors[name]:.1f} points", fontsize=10)
        above.set(xlim=(0, 100), ylim=(-3, 103), xlabel="confidence (%)", ylabel="accuracy (%)")
        widths = 100 * (table.high - table.low)
        below.bar(100 * table.low, table.images, width=widths, align="edge", color=BLUE, ec="white")
        below.set(xlabel="confidence (%)", ylabel="images")
    panels[0, 0].legend()
    return figure


def embedding(
    points: Mapping[str, np.ndarray], labels: torch.Tensor, classes: Sequence[str]
) -> DescribedFigure:
    """Draw each image as a point, with a colour and a marker for its class (`labels`: int64, [images]).

    There is one panel for each title, with points as `tsne_embedding` returns them: [images, 2].
    """
    figure = DescribedFigure(
        f"Maps by t-SNE of {len(labels)} images of {len(classes)} classes: a point for each, with a "
        f"colour and a shape for its class. {'; '.join(points)}.",
        figsize=(4 * len(points), 5),
    )
    for axes, positions in zip(figure.panels(points), points.values(), strict=True):
        for label, (name, colour, marker) in enumerate(
            zip(classes, cycle(COLOURS), cycle(MARKERS), strict=False)
        ):
            x, y = positions[labels.numpy() == label].T
            axes.scatter(x, y, s=22, linewidths=0, alpha=0.8, color=colour, marker=marker, label=name)
        axes.set(xticks=[], yticks=[], xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    figure.legend_below(axes, columns=5)
    return figure


def scores_and_results(runs: pd.DataFrame, scores: Mapping[str, str], chance: float) -> DescribedFigure:
    """Draw test accuracy over cheap scores: a row for each score, a column for each dataset.

    Args:
        runs: A row for each candidate and seed: `dataset`, `candidate`, `test_accuracy` (0 to 1), and scores.
        scores: The label of each column with a score.
        chance: The accuracy of guessing, in per cent.
    """
    runs = runs.replace({"dataset": DATASET_NAMES}).assign(percent=100 * runs.test_accuracy)
    means = runs.groupby(["dataset", "candidate"], sort=False)[[*scores, "percent"]].mean()
    values = "".join(f" {label} {{{score}:.2f}}," for score, label in scores.items())
    words = in_words(means, "{dataset}, {candidate}:" + values + " accuracy {percent:.1f} %")
    datasets = runs.dataset.unique()
    figure = DescribedFigure(
        f"Scatter plots of test accuracy after fine-tuning over scores before it. Means: {words}.",
        figsize=(4.2 * len(datasets), 2.7 * len(scores) + 0.7),
    )
    panels = figure.subplots(len(scores), len(datasets), squeeze=False, sharey=True, sharex="row")
    for row, (score, label) in zip(panels, scores.items(), strict=True):
        for axes, dataset in zip(row, datasets, strict=True):
            axes.axhline(chance, color=GREY, linestyle="--", linewidth=1)
            candidates = runs[runs.dataset == dataset].groupby("candidate", sort=False)
            for (name, own), colour, marker in zip(candidates, COLOURS, MARKERS, strict=False):
                axes.plot(own[score], own.percent, marker, color=colour, alpha=0.8, label=name)
            axes.set(xlabel=label, ylim=(0, 100), title=dataset)
            axes.grid(alpha=0.3)
        row[0].set_ylabel("fine-tuned: test accuracy (%)")
    figure.legend_below(panels[0][0], columns=3)
    panels[0][0].annotate("chance", (0.02, chance + 2), xycoords=("axes fraction", "data"), fontsize=8)
    return figure
