"""Line charts: losses, accuracies, learning rates, time and memory over steps, epochs, seconds and images."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from course_utils.evaluation.comparison import aggregate_runs
from course_utils.figures.described import BLUE, COLOURS, GREEN, GREY, ORANGE, DescribedFigure, escape_dollar
from course_utils.training.history import History

LINE_COLOURS = (BLUE, ORANGE, GREEN, GREY, *COLOURS[3:])
LINES = ("-", "--", "-.", ":")
STYLES = {"from scratch": (GREY, "s", "--"), "frozen": (ORANGE, "o", "-"), "fine-tuned": (BLUE, "^", "-")}
"""Colour, marker and line of each way to initialise a network."""
DATASET_NAMES = {"clipart": "Drawings", "fashion_mnist_sample": "Clothes"}
"""What the course calls the datasets that ship."""


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
    """Draw the loss over the learning rate, a table of `lr_range_test`, with the chosen rate marked."""
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
    for (name, values), colour, line in zip(rates.items(), cycle(LINE_COLOURS), cycle(LINES), strict=False):
        axes.plot(values, line, color=colour, label=name)
    axes.legend(title="stage")
    return figure


def _panels(figure: DescribedFigure, table: pd.DataFrame) -> list[tuple]:
    """Return a panel with its title for each dataset of a table, and the dataset's rows."""
    groups = list(table.groupby("dataset", sort=False))
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for axes, (dataset, _) in zip(panels, groups, strict=True):
        axes.set_title(escape_dollar(DATASET_NAMES.get(dataset, dataset)), fontsize=10)
        axes.grid(axis="y", alpha=0.4)
    return [(axes, rows) for axes, (_, rows) in zip(panels, groups, strict=True)]


def transfer_curves(runs: pd.DataFrame, unit: str = "images", chance: float | None = None) -> DescribedFigure:
    """Draw accuracy over the samples of each class: every run as a point, and the mean with its interval.

    One panel for a dataset. `runs` has the columns that `aggregate_runs` reads. Intervals end at 0 and 100 %.
    A dotted line marks the accuracy of guessing, `chance` (0 to 1), if it is given.
    """
    table = aggregate_runs(runs)
    words = [
        f"{DATASET_NAMES.get(row.dataset, row.dataset)}, {row.images_per_class} {unit}, {row.start}: "
        f"{100 * row.accuracy:.0f} % ({100 * max(row.low, 0):.0f} to {100 * min(row.high, 1):.0f})"
        for row in table.itertuples()
    ]
    guessing = "" if chance is None else f" A dotted line marks chance, {100 * chance:g} %."
    figure = DescribedFigure(
        f"Test accuracy with 95 % interval over the number of {unit} of each class. {'; '.join(words)}."
        f"{guessing}",
        figsize=(4.2 * table.dataset.nunique(), 3.6),
    )
    panels = _panels(figure, table)
    for axes, part in panels:
        points = runs[runs.dataset == part.dataset.iloc[0]]
        for number, (start, (colour, marker, line)) in enumerate(STYLES.items()):
            own = part[part.start == start].sort_values("images_per_class")
            one = points[points.start == start]
            # A little to the side, so that the intervals of the three do not hide each other.
            aside = 1.06 ** (number - 1)
            low, high = own.low.clip(0, 1), own.high.clip(0, 1)
            spread = [100 * (own.accuracy - low).clip(0), 100 * (high - own.accuracy).clip(0)]
            look = {"fmt": marker + line, "color": colour, "capsize": 3, "label": start}
            axes.errorbar(own.images_per_class * aside, 100 * own.accuracy, spread, **look)
            axes.plot(one.images_per_class * aside, 100 * one.test_accuracy, ".", color=colour, alpha=0.5)
        if chance is not None:
            axes.axhline(100 * chance, color="black", linestyle=":", linewidth=1, label="chance")
        axes.set(xscale="log", xlabel=f"labelled {unit} of each class")
        axes.set_ylim(max(0, axes.get_ylim()[0]), min(100, axes.get_ylim()[1]))
        _only_ticks_at(axes, part.images_per_class)
    panels[0][0].set_ylabel("test accuracy (%), 95 % interval")
    panels[-1][0].legend(loc="lower right")
    return figure


def recalls_over_epochs(runs: pd.DataFrame) -> DescribedFigure:
    """Draw the recall of rare and common Drawings over epochs: a point for each draw, a line for the mean.

    `runs` has the columns `draw`, `epochs`, `way`, `recall_rare` and `recall_common` (0 to 1).
    """
    columns = {"recall_rare": "Drawings, rare classes", "recall_common": "Drawings, common classes"}
    means = 100 * runs.groupby(["way", "epochs"], sort=False)[list(columns)].mean()
    words = "; ".join(
        f"{way}, {epochs} epochs: {row.recall_rare:.0f} and {row.recall_common:.0f}"
        for (way, epochs), row in means.iterrows()
    )
    figure = DescribedFigure(
        f"Mean test recall in per cent of rare and of common classes of Drawings over epochs. {words}.",
        figsize=(8.4, 3.8),
    )
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (column, title) in zip(panels, columns.items(), strict=True):
        for way, colour, line in zip(runs.way.unique(), LINE_COLOURS, cycle(LINES)):
            own, mean = runs[runs.way == way], means.loc[way][column]
            axes.plot(own.epochs, 100 * own[column], ".", color=colour, alpha=0.3, markersize=4)
            axes.plot(mean.index, mean, "o" + line, color=colour, label=way)
        axes.set(xscale="log", xlabel="epochs", ylabel="test recall (%)", ylim=(0, 100), title=title)
        axes.grid(alpha=0.3)
        _only_ticks_at(axes, runs.epochs)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    return figure


def fine_tuning_gain(runs: pd.DataFrame) -> DescribedFigure:
    """Draw how many points fine-tuning gains over a frozen backbone, over the images of each class.

    A point for each seed, a line through their means for each dataset, and a line at 0. `runs` has a row for
    each `Run`.
    """
    keys = ["dataset", "images_per_class", "seed"]
    wide = runs.pivot(index=keys, columns="start", values="test_accuracy")
    gains = (100 * (wide["fine-tuned"] - wide["frozen"])).rename("points").reset_index()
    means = gains.groupby(["dataset", "images_per_class"]).points.mean()
    names = {dataset: DATASET_NAMES.get(dataset, dataset) for dataset in gains.dataset.unique()}
    words = (f"{names[dataset]}, {count} images: {mean:+.1f}" for (dataset, count), mean in means.items())
    figure = DescribedFigure(
        f"Points gained by fine-tuning, over the labelled images of each class, with a line at 0 for the "
        f"frozen backbone. Means: {'; '.join(words)}.",
        figsize=(7, 3.4),
    )
    axes = figure.add_subplot(xscale="log", xlabel="labelled images of each class")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.text(0.99, 0.2, "frozen backbone", ha="right", transform=axes.get_yaxis_transform())
    looks = zip(names.items(), cycle((ORANGE, BLUE, GREEN)), cycle("o^s"), strict=False)
    for (dataset, name), colour, marker in looks:
        own = gains[gains.dataset == dataset]
        axes.plot(own.images_per_class, own.points, marker, color=colour, markersize=4, alpha=0.5)
        axes.plot(means[dataset], f"{marker}-", color=colour, label=escape_dollar(name))
    axes.set_ylabel("gain from fine-tuning (points)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(axis="y", alpha=0.4)
    axes.legend()
    return figure


def _only_ticks_at(axes, counts: pd.Series) -> None:
    ticks = sorted(set(counts))
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()


def accuracy_over_time(epochs: pd.DataFrame, level: float) -> DescribedFigure:
    """Draw the validation accuracy over the seconds of training, on a logarithmic scale.

    There is one row for each epoch, with the columns `start`, `seed`, `seconds` (since training began) and
    `val_accuracy` (0 to 1); a line marks the accuracy `level` (0 to 1).
    """
    last = epochs.groupby(["start", "seed"], sort=False)[["seconds", "val_accuracy"]].last()
    words = "; ".join(
        f"{row.Index} ends at {100 * row.val_accuracy:.0f} % after {row.seconds:.1f} s"
        for row in last.groupby("start", sort=False).mean().itertuples()
    )
    figure = DescribedFigure(
        f"Validation accuracy over seconds of training. {words}. A line marks {100 * level:.0f} %.",
        figsize=(6.5, 3.4),
    )
    axes = figure.add_subplot(xlabel="seconds of training", ylabel="validation accuracy (%)", xscale="log")
    for start, (colour, marker, line) in STYLES.items():
        look = {"color": colour, "markersize": 3, "alpha": 0.8, "label": start}
        for _, run in epochs[epochs.start == start].groupby("seed"):
            axes.plot(run.seconds, 100 * run.val_accuracy, marker + line, **look)
            look["label"] = None  # one entry in the legend for all seeds
    axes.axhline(100 * level, color="black", linestyle=":", label="best from scratch")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(axis="y", alpha=0.4)
    axes.legend(loc="lower right", fontsize=9)
    return figure


def shift_curves(table: pd.DataFrame) -> DescribedFigure:
    """Draw accuracy, with its interval, and mean confidence over the strength of corruptions.

    The columns are `shift`, `strength`, `accuracy`, `low`, `high` and `confidence`, from 0 to 1. There is a
    panel for each shift that has strengths; each begins with the shift "none".
    """
    kinds = [name for name, rows in table.groupby("shift", sort=False) if len(rows) > 1]
    none = table[table["shift"] == "none"]
    words = "; ".join(
        f"{row.shift} {row.strength}: accuracy {100 * row.accuracy:.0f} % ({100 * row.low:.0f} to "
        f"{100 * row.high:.0f}), confidence {100 * row.confidence:.0f} %"
        for row in table[table["shift"].isin(["none", *kinds])].itertuples()
    )
    figure = DescribedFigure(
        f"Accuracy with 95 % interval and mean confidence over the strength of corruptions. {words}.",
        figsize=(2 * len(kinds) + 0.6, 3.2),
    )
    panels = figure.subplots(1, len(kinds), squeeze=False, sharex=True, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        own = pd.concat([none, table[table["shift"] == kind]])
        spread = [100 * (own.accuracy - own.low).clip(0), 100 * (own.high - own.accuracy).clip(0)]
        look = {"fmt": "o-", "color": BLUE, "capsize": 3, "label": "accuracy, with 95 % interval"}
        axes.errorbar(own.strength, 100 * own.accuracy, spread, **look)
        axes.plot(own.strength, 100 * own.confidence, "^--", color=ORANGE, label="mean confidence")
        axes.set_title(escape_dollar(kind), fontsize=10)
        axes.set(xlabel="strength", xticks=sorted(own.strength), ylim=(0, 100))
        axes.grid(axis="y", alpha=0.4)
    panels[0].set_ylabel("per cent")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def growth(table: pd.DataFrame) -> DescribedFigure:
    """Draw time and memory over the number of files, on logarithmic scales (lesson 16).

    The columns are `from` (what was read), `files`, `seconds, median` and `memory at most, MB`.
    """
    words = "; ".join(
        f"{kind}, {files:,} files: {seconds:.1f} s, {memory:.0f} MB"
        for kind, files, seconds, memory in table[
            ["from", "files", "seconds, median", "memory at most, MB"]
        ].itertuples(index=False)
    )
    figure = DescribedFigure(
        f"Time and highest memory of an extraction over the number of files. {words}.", figsize=(8, 3.4)
    )
    time, memory = figure.subplots(1, 2)
    kinds = table.groupby("from")
    for (kind, rows), colour, marker in zip(kinds, cycle(LINE_COLOURS), cycle("o^sv"), strict=False):
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
    for axes in (time, memory):
        _only_ticks_at(axes, table["files"])
        axes.grid(alpha=0.4)
    return figure
