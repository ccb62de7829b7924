"""Pictures that set several ways of training side by side."""

import pandas as pd

from course_utils.figures.described import BLUE, GREY, ORANGE, DescribedFigure, literal

LOOKS = {"from scratch": (GREY, "s", "--"), "frozen": (ORANGE, "o", "-"), "fine-tuned": (BLUE, "^", "-")}


def transfer_curves(table: pd.DataFrame, unit: str = "images") -> DescribedFigure:
    """Draw the accuracy of each start over the number of images of each class, one panel for a dataset.

    Args:
        table: As `comparison.aggregate_runs` returns it.
        unit: What is labelled.
    """
    datasets = list(dict.fromkeys(table.dataset))
    words = [
        f"{row.dataset}, {row.images_per_class} {unit}, {row.start}: {100 * row.accuracy:.0f} % "
        f"({100 * row.low:.0f} to {100 * row.high:.0f})"
        for row in table.itertuples()
    ]
    figure = DescribedFigure(
        f"Test accuracy with 95 % interval over the number of {unit} of each class. {'; '.join(words)}.",
        figsize=(4.2 * len(datasets), 3.6),
    )
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        part = table[table.dataset == dataset]
        for place, (start, (colour, marker, line)) in enumerate(LOOKS.items()):
            own = part[part.start == start].sort_values("images_per_class")
            spread = [100 * (own.accuracy - own.low).clip(0), 100 * (own.high - own.accuracy).clip(0)]
            # A little to the side, so that the intervals of the three do not hide each other.
            places = own.images_per_class * 1.05 ** (place - 1)
            axes.errorbar(
                places, 100 * own.accuracy, spread, fmt=marker + line, color=colour, capsize=3, label=start
            )
        axes.set_xscale("log")
        counts = sorted(set(part.images_per_class))
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.set_title(literal(dataset), fontsize=10)
        axes.set_xlabel(f"labelled {unit} of each class")
        axes.grid(axis="y", alpha=0.4)
    panels[0].set_ylabel("test accuracy (%), 95 % interval")
    panels[-1].legend(loc="lower right")
    return figure


def accuracy_over_time(epochs: pd.DataFrame, level: float) -> DescribedFigure:
    """Draw the validation accuracy over the seconds of training, on a logarithmic scale.

    Args:
        epochs: One row for each epoch, with the columns `start`, `seed`, `seconds` (since training began)
            and `val_accuracy` (0 to 1).
        level: An accuracy to be marked by a line (0 to 1).
    """
    last = (
        epochs.groupby(["start", "seed"], sort=False)
        .last()
        .groupby("start", sort=False)
        .mean(numeric_only=True)
    )
    words = "; ".join(
        f"{row.Index} ends at {100 * row.val_accuracy:.0f} % after {row.seconds:.1f} s"
        for row in last.itertuples()
    )
    figure = DescribedFigure(
        f"Validation accuracy over seconds of training. {words}. A line marks {100 * level:.0f} %.",
        figsize=(6.5, 3.4),
    )
    axes = figure.add_subplot()
    for start, (colour, marker, line) in LOOKS.items():
        for number, (_, run) in enumerate(epochs[epochs.start == start].groupby("seed")):
            axes.plot(
                *(run.seconds, 100 * run.val_accuracy, marker + line),
                color=colour,
                markersize=3,
                alpha=0.8,
                label=start if number == 0 else None,
            )
    axes.axhline(100 * level, color="black", linestyle=":", label="level of scratch")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("validation accuracy (%)")
    axes.legend(loc="lower right", fontsize=9)
    return figure
