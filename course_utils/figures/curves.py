"""Line charts: losses, accuracies, learning rates, time and memory over steps, epochs, seconds and images."""

from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from course_utils.evaluation.comparison import aggregate_runs
from course_utils.figures.described import (
    BLUE,
    COLOURS,
    DATASET_NAMES,
    GREEN,
    GREY,
    ORANGE,
    DescribedFigure,
    in_words,
)
from course_utils.training.history import History

LOOKS = {"from scratch": (GREY, "s", "--"), "frozen": (ORANGE, "o", "-"), "fine-tuned": (BLUE, "^", "-")}
"""Colour, marker and line of each way to initialise a network; other lines get theirs in order."""


def draw_lines(
    axes: Axes, means: pd.DataFrame, x: str, y: str, by: str, points: pd.DataFrame | None = None
) -> None:
    """Draw a line for each value of the column `by`, with its interval if there are columns `low` and `high`.

    `points` has the same columns `x`, `y` and `by`, and a row for each run: these are drawn as points.
    """
    colours = (BLUE, ORANGE, GREEN, GREY, *COLOURS[3:])
    looks = zip(colours, cycle("o^sDv"), cycle(("-", "--", "-.", ":")), strict=False)
    for (name, rows), look in zip(means.groupby(by, sort=False), looks, strict=False):
        colour, marker, line = LOOKS.get(name, look)
        spread = [rows[y] - rows.low, rows.high - rows[y]] if "low" in rows else None
        axes.errorbar(rows[x], rows[y], spread, fmt=marker + line, color=colour, capsize=3, label=name)
        if points is not None:
            runs = points[points[by] == name]
            axes.plot(runs[x], runs[y], ".", color=colour, alpha=0.5)


def _log_axis(axes: Axes, values: pd.Series | None = None) -> None:
    """Make the horizontal axis logarithmic, with ticks at the values, or at 1, 2, 5, 10, and so on."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    if values is not None:
        axes.set_xticks(sorted(set(values)), [f"{value:,}" for value in sorted(set(values))])
    axes.minorticks_off()


def learning_curves(history: History) -> DescribedFigure:
    """Draw loss and accuracy of every epoch, training and validation, with the best epoch marked."""
    table, best = history.to_frame(), history.best
    figure = DescribedFigure(
        f"Two line charts over {len(table)} epochs. Loss: training goes from {table.train_loss.iloc[0]:.2f} "
        f"to {table.train_loss.iloc[-1]:.2f}, validation from {table.val_loss.iloc[0]:.2f} to "
        f"{table.val_loss.iloc[-1]:.2f}. The best epoch is {best.epoch}, with a validation accuracy of "
        f"{best.val_accuracy:.3f}.",
        figsize=(8, 3),
    )
    labels = {"loss": "loss (nats)", "accuracy": "accuracy"}
    for axes, (quantity, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        axes.plot(table.index, table[f"train_{quantity}"], "o--", color=BLUE, label="training")
        axes.plot(table.index, table[f"val_{quantity}"], "o-", color=ORANGE, label="validation")
        axes.axvline(best.epoch, color=GREY, linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


def lr_range(table: pd.DataFrame, chosen: float) -> DescribedFigure:
    """Draw the loss over the learning rate, from `lr_range_test`, with the chosen rate marked."""
    smooth = table.loss.rolling(3, center=True).mean().fillna(table.loss)
    figure = DescribedFigure(
        f"Line chart of the loss while the learning rate grows from {table.lr.iloc[0]:.0e} to "
        f"{table.lr.iloc[-1]:.0e}. It begins at {table.loss.iloc[0]:.2f}, is lowest near a rate of "
        f"{table.lr[smooth.idxmin()]:.0e}, and ends at {table.loss.iloc[-1]:.2f}. A line marks {chosen:g}.",
        figsize=(6, 3),
    )
    axes = figure.add_subplot(xlabel="learning rate of the head", ylabel="loss (nats)", xscale="log")
    axes.plot(table.lr, table.loss, ".", color=GREY, label="each batch")
    axes.plot(table.lr, smooth, color=BLUE, label="mean of three")
    axes.axvline(chosen, color=ORANGE, linestyle="--", label=f"{chosen:g}")
    axes.set_ylim(0, min(table.loss.max(), 2.5 * table.loss.iloc[0]) * 1.05)
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:f}".rstrip("0").rstrip("."))
    axes.legend()
    return figure


def rates_over_steps(rates: pd.DataFrame) -> DescribedFigure:
    """Draw the learning rate of stages (columns) over the steps (rows)."""
    tops = ", ".join(f"{name} {values.max():.1e}" for name, values in rates.items())
    figure = DescribedFigure(
        f"Line chart of learning rates over {len(rates)} steps. They rise for "
        f"{int(rates.iloc[:, 0].argmax())} steps, then fall to almost zero. "
        f"The highest of each stage: {tops}.",
        figsize=(6, 3),
    )
    axes = figure.add_subplot(xlabel="step", ylabel="learning rate")
    for (name, values), colour, line in zip(rates.items(), COLOURS, cycle(("-", "--", "-.")), strict=False):
        axes.plot(values, line, color=colour, label=name)
    axes.legend(title="stage")
    return figure


def transfer_curves(runs: pd.DataFrame, unit: str = "images", chance: float | None = None) -> DescribedFigure:
    """Draw accuracy over the samples of each class: every run as a point, and the mean with its interval.

    There is one panel for each dataset. `runs` has the columns that `aggregate_runs` reads. Intervals end at
    0 and 100 %. A dotted line marks the accuracy of guessing, `chance` (0 to 1), if it is given.
    """
    runs = runs.replace({"dataset": DATASET_NAMES})
    table = aggregate_runs(runs)
    table[["accuracy", "low", "high"]] = 100 * table[["accuracy", "low", "high"]].clip(0, 1)
    form = "{dataset}, {images_per_class} UNIT, {start}: {accuracy:.0f} % ({low:.0f} to {high:.0f})"
    figure = DescribedFigure(
        f"Test accuracy with 95 % interval over the number of {unit} of each class. "
        f"{in_words(table, form.replace('UNIT', unit))}."
        + ("" if chance is None else f" A dotted line marks chance, {100 * chance:g} %."),
        figsize=(4.2 * table.dataset.nunique(), 3.6),
    )
    # A little to the side, so that the three intervals do not hide each other.
    aside = {start: 1.06 ** (number - 1) for number, start in enumerate(LOOKS)}
    table["x"] = table.images_per_class * table.start.map(aside)
    points = runs.assign(x=runs.images_per_class * runs.start.map(aside), accuracy=100 * runs.test_accuracy)
    datasets = table.dataset.unique()
    panels = figure.panels(datasets)
    for axes, dataset in zip(panels, datasets, strict=True):
        part = table[table.dataset == dataset]
        draw_lines(axes, part, "x", "accuracy", "start", points[points.dataset == dataset])
        if chance is not None:
            axes.axhline(100 * chance, color="black", linestyle=":", linewidth=1, label="chance")
        axes.set_xlabel(f"labelled {unit} of each class")
        axes.set_ylim(max(0, axes.get_ylim()[0]), min(100, axes.get_ylim()[1]))
        _log_axis(axes, part.images_per_class)
    panels[0].set_ylabel("test accuracy (%), 95 % interval")
    panels[-1].legend(loc="lower right")
    return figure


def recalls_over_epochs(runs: pd.DataFrame) -> DescribedFigure:
    """Draw the recall of rare and common Drawings over epochs: a point for each draw, a line for the mean.

    `runs` has the columns `draw`, `epochs`, `way`, `recall_rare` and `recall_common` (0 to 1).
    """
    columns = {"recall_rare": "Drawings, rare classes", "recall_common": "Drawings, common classes"}
    runs = runs.assign(**100 * runs[list(columns)])
    means = runs.groupby(["way", "epochs"], sort=False)[list(columns)].mean().reset_index()
    words = in_words(means, "{way}, {epochs} epochs: {recall_rare:.0f} and {recall_common:.0f}")
    figure = DescribedFigure(
        f"Mean test recall in per cent of rare and of common classes of Drawings over epochs. {words}.",
        figsize=(8.4, 3.8),
    )
    for axes, column in zip(figure.panels(columns.values(), sharey=True), columns, strict=True):
        draw_lines(axes, means, "epochs", column, "way", runs)
        axes.set(xlabel="epochs", ylabel="test recall (%)", ylim=(0, 100))
        _log_axis(axes, runs.epochs)
    figure.legend_below(axes, columns=5)
    return figure


def fine_tuning_gain(runs: pd.DataFrame) -> DescribedFigure:
    """Draw how many points fine-tuning gains over a frozen backbone, over the images of each class.

    There is a point for each seed, a line through their means for each dataset, and a line at 0. `runs` has a
    row for each `Run`.
    """
    keys = ["dataset", "images_per_class", "seed"]
    wide = runs.pivot(index=keys, columns="start", values="test_accuracy")
    gains = (100 * (wide["fine-tuned"] - wide["frozen"])).rename("points").reset_index()
    gains = gains.replace({"dataset": DATASET_NAMES})
    means = gains.groupby(keys[:2], sort=False).points.mean().reset_index()
    figure = DescribedFigure(
        "Points gained by fine-tuning, over the labelled images of each class, with a line at 0 for the "
        f"frozen backbone. Means: {in_words(means, '{dataset}, {images_per_class} images: {points:+.1f}')}.",
        figsize=(7, 3.4),
    )
    (axes,) = figure.panels([""])
    axes.axhline(0, color="black", linewidth=0.8)
    axes.text(0.99, 0.2, "frozen backbone", ha="right", transform=axes.get_yaxis_transform())
    draw_lines(axes, means, "images_per_class", "points", "dataset", gains)
    axes.set(xlabel="labelled images of each class", ylabel="gain from fine-tuning (points)")
    _log_axis(axes)
    axes.legend()
    return figure


def accuracy_over_time(epochs: pd.DataFrame, level: float) -> DescribedFigure:
    """Draw the validation accuracy over the seconds of training, on a logarithmic scale.

    There is one row for each epoch, with the columns `start`, `seed`, `seconds` (since training began) and
    `val_accuracy` (0 to 1); a line marks the accuracy `level` (0 to 1).
    """
    epochs = epochs.assign(percent=100 * epochs.val_accuracy)
    last = epochs.groupby(["start", "seed"], sort=False)[["seconds", "percent"]].last()
    words = in_words(
        last.groupby("start", sort=False).mean(), "{start} ends at {percent:.0f} % after {seconds:.1f} s"
    )
    figure = DescribedFigure(
        f"Validation accuracy over seconds of training. {words}. A line marks {100 * level:.0f} %.",
        figsize=(6.5, 3.4),
    )
    (axes,) = figure.panels([""])
    for (start, seed), run in epochs.groupby(["start", "seed"], sort=False):
        colour, marker, line = LOOKS[start]
        label = start if seed == epochs.seed.iloc[0] else None  # one entry in the legend for all seeds
        axes.plot(run.seconds, run.percent, marker + line, color=colour, markersize=3, alpha=0.8, label=label)
    axes.axhline(100 * level, color="black", linestyle=":", label="best from scratch")
    axes.set(xlabel="seconds of training", ylabel="validation accuracy (%)")
    _log_axis(axes)
    axes.legend(loc="lower right", fontsize=9)
    return figure


def shift_curves(table: pd.DataFrame) -> DescribedFigure:
    """Draw accuracy, with its interval, and mean confidence over the strength of corruptions.

    The columns are `shift`, `strength`, `accuracy`, `low`, `high` and `confidence`, from 0 to 1. There is a
    panel for each shift that has strengths; each begins with the shift "none".
    """
    kinds = [name for name, rows in table.groupby("shift", sort=False) if len(rows) > 1]
    table = table[table["shift"].isin(["none", *kinds])]
    table = table.assign(**100 * table[["accuracy", "low", "high", "confidence"]])
    form = "{shift} {strength}: accuracy {accuracy:.0f} % ({low:.0f} to {high:.0f})"
    form += ", confidence {confidence:.0f} %"
    figure = DescribedFigure(
        "Accuracy with 95 % interval and mean confidence over the strength of corruptions. "
        f"{in_words(table, form)}.",
        figsize=(2 * len(kinds) + 0.6, 3.2),
    )
    panels = figure.panels(kinds, sharex=True, sharey=True)
    for axes, kind in zip(panels, kinds, strict=True):
        own = table[table["shift"].isin(["none", kind])]
        draw_lines(axes, own.assign(line="accuracy, with 95 % interval"), "strength", "accuracy", "line")
        axes.plot(own.strength, own.confidence, "^--", color=ORANGE, label="mean confidence")
        axes.set(xlabel="strength", xticks=sorted(own.strength), ylim=(0, 100))
    panels[0].set_ylabel("per cent")
    figure.legend_below(axes, columns=2)
    return figure
