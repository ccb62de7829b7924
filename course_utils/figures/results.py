"""Figures of measurements: bars, matrices, intervals and scatter plots."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
import torch

from course_utils.evaluation.calibration import calibration_error, reliability_table
from course_utils.evaluation.metrics import Evaluation, accuracy_interval, confusion_matrix
from course_utils.figures.described import (
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    ORANGE,
    DescribedFigure,
    escape_dollar,
)

MOST_CLASSES = 30  # of a confusion matrix: with more, its numbers are unreadable


def bars(values: pd.Series, label: str, description: str = "") -> DescribedFigure:
    """Draw one horizontal bar for each entry of a series, with its value at its end.

    The label says what the numbers are, with their unit. Without a `description`, label and values make one.
    """
    words = ", ".join(f"{name} {value:,.4g}" for name, value in values.items())
    description = description or f"Bar chart of {label}: {words}."
    figure = DescribedFigure(description, figsize=(6.5, 0.36 * len(values) + 0.9))
    axes = figure.add_subplot(xlabel=label)
    drawn = axes.barh([escape_dollar(name) for name in values.index], values.to_numpy(), color=BLUE)
    axes.bar_label(drawn, fmt=lambda value: f"{value:,.3g}" if value < 100 else f"{value:,.0f}", padding=3)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    return figure


def untrained_heads(table: pd.DataFrame, num_classes: int) -> DescribedFigure:
    """Draw the loss and the accuracy of untrained heads (rows) as points, with a line for chance."""
    chances = {"loss": np.log(num_classes), "accuracy": 100 / num_classes}
    values = {"loss": table.loss, "accuracy": 100 * table.accuracy}
    labels = {"loss": "loss (nats)", "accuracy": "accuracy (%)"}
    figure = DescribedFigure(
        f"Two dot plots of {len(table)} untrained heads. Loss: {table.loss.min():.2f} to "
        f"{table.loss.max():.2f}, with a line for chance at {chances['loss']:.2f}. Accuracy: "
        f"{values['accuracy'].min():.1f} to {values['accuracy'].max():.1f} %, with a line for chance at "
        f"{chances['accuracy']:.1f} %.",
        figsize=(7.5, 0.28 * len(table) + 1.1),
    )
    for axes, (name, chance) in zip(figure.subplots(1, 2, sharey=True), chances.items(), strict=True):
        axes.axvline(chance, color=ORANGE, linestyle="--", label="chance")
        axes.plot(values[name], [escape_dollar(head) for head in table.index], "o", color=BLUE)
        axes.set(xlabel=labels[name], xlim=(0, max(2 * chance, 1.1 * values[name].max())))
        axes.grid(axis="x", alpha=0.4)
    axes.invert_yaxis()
    axes.margins(y=0.15)
    axes.legend(loc="upper right")
    return figure


def confusion(result: Evaluation, unit: str = "images") -> DescribedFigure:
    """Draw the confusion matrix: how often each true class (row) was predicted as each (column).

    The unit says what was classified. Of more than 30 classes, those with the most mistakes are drawn.
    """
    matrix = confusion_matrix(result).numpy()
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    truth, answer = np.unravel_index(wrong.argmax(), wrong.shape)
    names = result.classes
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)  # a class that was not recognised, or wrongly named
    drawn = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
    size = len(drawn)
    left_out = f"The {size} of {len(names):,} classes with the most mistakes." if size < len(names) else ""
    frequent = f"The most frequent mistake: {names[truth]} taken for {names[answer]}, {wrong.max()} times."
    if not wrong.any():
        frequent = "There is no mistake."
    figure = DescribedFigure(
        f"Confusion matrix of {len(names)} classes: {result.correct} of {len(result.labels)} {unit} are on "
        f"the diagonal. {frequent} {left_out}",
        figsize=(0.5 * size + 2, 0.45 * size + 1.6),
    )
    axes = figure.add_subplot(xlabel="predicted class", ylabel="true class")
    axes.set_title(left_out, fontsize=10)
    matrix = matrix[np.ix_(drawn, drawn)]
    picture = axes.imshow(matrix, cmap="viridis")
    for row, column in np.argwhere(matrix):
        count = matrix[row, column]
        colour = "white" if count < matrix.max() / 2 else "black"
        axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    labels = [escape_dollar(names[label]) for label in drawn]
    axes.set_xticks(range(size), labels, rotation=45, ha="right")
    axes.set_yticks(range(size), labels)
    figure.colorbar(picture, label=unit, shrink=0.8)
    return figure


def interval_plot(
    table: pd.DataFrame,
    description: str = "",
    label: str = "accuracy, with 95 % interval",
    chance: float | None = None,
) -> DescribedFigure:
    """Draw accuracies, or other numbers, by name: the columns `accuracy`, `low` and `high`.

    The label says what the numbers are, with their unit. A line marks 0 if the intervals lie on both sides of
    it, as those of differences do. With `chance`, in per cent, a dotted line marks it, and the axis goes from
    0 to 100. Without a description, the figure lists its numbers.
    """
    rows = (f"{row.Index} {row.accuracy:.1f} ({row.low:.1f} to {row.high:.1f})" for row in table.itertuples())
    description = description or f"Dot plot of {label}: {'; '.join(rows)}."
    if chance is not None:
        description += f" A dotted line marks chance, {chance:g}."
    figure = DescribedFigure(description, figsize=(6.5, 0.4 * len(table) + 0.9))
    axes = figure.add_subplot(xlabel=label)
    spread = np.stack([table.accuracy - table.low, table.high - table.accuracy]).clip(0)
    names = [escape_dollar(name) for name in table.index]
    if table.low.min() < 0 < table.high.max():
        axes.axvline(0, color="black", linewidth=0.8)
    if chance is not None:
        axes.axvline(chance, color="black", linestyle=":", linewidth=1)
        axes.text(chance, 1, "chance", transform=axes.get_xaxis_transform(), ha="center", va="bottom")
        axes.set_xlim(0, 100)
    axes.errorbar(table.accuracy, names, xerr=spread, fmt="o", color=BLUE, capsize=4)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.4)
    return figure


def score_histograms(
    scores: Mapping[str, Mapping[str, torch.Tensor]], thresholds: Mapping[str, float]
) -> DescribedFigure:
    """Draw how the scores of detectors scatter over known and unknown images, with each threshold.

    `scores` has, by detector and then by the name of a set of images, a score for each image ([images], the
    known set first); `thresholds` has one for each detector. There is a panel for each detector.
    """
    kept = {
        detector: {name: 100 * float((own >= thresholds[detector]).mean()) for name, own in sets.items()}
        for detector, sets in _as_arrays(scores).items()
    }
    words = "; ".join(
        f"{detector}: {', '.join(f'{share:.0f} % of {name}' for name, share in shares.items())}"
        for detector, shares in kept.items()
    )
    figure = DescribedFigure(
        f"Histograms of scores, with a line at each detector's threshold. Kept above it, by {words}.",
        figsize=(3.2 * len(scores) + 0.4, 3.2),
    )
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (detector, sets) in zip(panels, _as_arrays(scores).items(), strict=True):
        low, high = np.quantile(np.concatenate(list(sets.values())), [0.01, 1])
        for (name, own), colour in zip(sets.items(), cycle((BLUE, ORANGE)), strict=False):
            look = {"color": colour, "alpha": 0.6, "label": escape_dollar(name), "range": (low, high)}
            axes.hist(own.clip(low, high), 25, weights=np.full(len(own), 100 / len(own)), **look)
        axes.axvline(thresholds[detector], color="black", linestyle="--", label="threshold")
        shares = ", ".join(f"{escape_dollar(name)} {share:.0f} %" for name, share in kept[detector].items())
        axes.set_title(f"{escape_dollar(detector)}\nkept: {shares}", fontsize=9)
        axes.set(xlabel="score")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    panels[0].set_ylabel("images of each set (%)")
    return figure


def _as_arrays(scores: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, dict[str, np.ndarray]]:
    return {key: {name: np.asarray(own, float) for name, own in sets.items()} for key, sets in scores.items()}


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
        middle = values[(values >= low) & (values <= high)]
        steps = np.diff(np.unique(values.round(6)))  # bins of whole steps: else some would hold more of them
        width = steps.min() * max(1, round(np.ptp(values) / 30 / steps.min()))
        bins = np.arange(values.min() - steps.min() / 2, values.max() + width, width)
        axes.hist(values, bins, color=GREY, alpha=0.4)
        axes.hist(middle, bins, color=BLUE, label="middle 95 %")
        axes.set_title(escape_dollar(name), fontsize=10)
        axes.set(ylabel="repetitions")
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
        above.set_title(f"{escape_dollar(name)}\nerror: {errors[name]:.1f} points", fontsize=10)
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
    titles = "; ".join(" ".join(title.split()) for title in points)
    figure = DescribedFigure(
        f"Maps by t-SNE of {len(labels)} images of {len(classes)} classes: a point for each, with a "
        f"colour and a shape for its class. {titles}.",
        figsize=(4 * len(points), 5),
    )
    panels = figure.subplots(1, len(points), squeeze=False)[0]
    for axes, (title, positions) in zip(panels, points.items(), strict=True):
        for label, name in enumerate(classes):
            x, y = positions[labels.numpy() == label].T
            look = {"color": COLOURS[label % len(COLOURS)], "marker": MARKERS[label % len(MARKERS)]}
            axes.scatter(x, y, s=22, linewidths=0, alpha=0.8, label=escape_dollar(name), **look)
        axes.set_title(escape_dollar(title), fontsize=10)
        axes.set(xticks=[], yticks=[], xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, markerscale=1.6)
    return figure


def costs(table: pd.DataFrame, chance: float) -> DescribedFigure:
    """Draw the costs of faults, with intervals: a panel for each dataset, a bar for each way to make a fault.

    The columns are `dataset`, `fault`, `way`, `cost`, `low` and `high`, the last three in points of accuracy,
    and `right_accuracy` (0 to 1). A fault without a row changes no picture of that dataset. A line marks the
    cost at which only guessing is left, for `chance` in per cent. All panels have the same scale.
    """
    datasets, faults, ways = (list(table[column].unique()) for column in ("dataset", "fault", "way"))
    words = "; ".join(
        f"{row.dataset}, {row.fault}, {row.way} {row.cost:.0f} ({row.low:.0f} to {row.high:.0f})"
        for row in table.itertuples()
    )
    description = f"Cost of each fault in points of accuracy, with 95 % interval. {words}."
    figure = DescribedFigure(description, figsize=(9, 0.42 * len(faults) + 1.6))
    thickness = 0.8 / len(ways)
    panels = figure.subplots(1, len(datasets), sharex=True, sharey=True, squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        part = table[table.dataset == dataset]
        for number, (way, colour) in enumerate(zip(ways, cycle(COLOURS), strict=False)):
            rows = part[part.way == way]
            y = rows.fault.map(faults.index) + (number - (len(ways) - 1) / 2) * thickness
            spread = np.stack([rows.cost - rows.low, rows.high - rows.cost]).clip(0)
            axes.barh(y, rows.cost, thickness, color=colour, label=way)
            axes.errorbar(rows.cost, y, xerr=spread, fmt="none", ecolor="black", elinewidth=1, capsize=2)
        for fault in set(faults) - set(part.fault):
            axes.text(1, faults.index(fault), "changes no picture", va="center", fontsize=8, color=GREY)
        accuracy = 100 * part.right_accuracy.iloc[0]
        axes.axvline(0, color="black", linewidth=0.8)
        axes.axvline(accuracy - chance, color=GREY, linestyle=":", label="only guessing is left")
        axes.set_title(f"{escape_dollar(dataset)}\n{accuracy:.0f} % without a fault", fontsize=10)
        axes.set_xlabel("cost (points of accuracy)")
        axes.grid(axis="x", alpha=0.4)
        axes.set_axisbelow(True)
    axes.set_yticks(range(len(faults)), faults)
    axes.invert_yaxis()  # shared: the first fault is at the top of every panel
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(ways) + 1)
    return figure
