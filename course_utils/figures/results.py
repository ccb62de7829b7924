"""Pictures of what was measured: curves, bars, matrices and intervals."""

import numpy as np
import pandas as pd

from course_utils.evaluation import Evaluation, confusion_matrix
from course_utils.figures.described import BLUE, GREY, ORANGE, DescribedFigure
from course_utils.training import History


def bars(values: pd.Series, label: str, description: str) -> DescribedFigure:
    """Draw one horizontal bar for each entry of a series, with its value at its end.

    Args:
        values: Names and numbers.
        label: What the numbers are, with their unit.
        description: The alternative text.
    """
    figure = DescribedFigure(description, figsize=(6.5, 0.36 * len(values) + 0.9))
    axes = figure.add_subplot()
    drawn = axes.barh([str(name) for name in values.index], values.to_numpy(), color=BLUE)
    axes.bar_label(drawn, fmt=lambda value: f"{value:,.3g}" if value < 100 else f"{value:,.0f}", padding=3)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return figure


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
    for axes, (quantity, unit) in zip(
        figure.subplots(1, 2), {"loss": "loss (nats)", "accuracy": "accuracy"}.items(), strict=True
    ):
        axes.plot(table.index, table[f"train_{quantity}"], "o--", color=BLUE, label="training")
        axes.plot(table.index, table[f"val_{quantity}"], "o-", color=ORANGE, label="validation")
        axes.axvline(best.epoch, color=GREY, linestyle=":", label="best epoch")
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit)
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


def confusion(result: Evaluation) -> DescribedFigure:
    """Draw how often each true class (row) was given each name (column), in images."""
    matrix = confusion_matrix(result).numpy()
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    truth, answer = np.unravel_index(wrong.argmax(), wrong.shape)
    names, size = result.classes, len(result.classes)
    frequent = f"The most frequent mistake: {names[truth]} taken for {names[answer]}, {wrong.max()} times."
    if not wrong.any():
        frequent = "There is no mistake."
    figure = DescribedFigure(
        f"Confusion matrix of {size} classes: {result.correct} of {len(result.labels)} images are on the "
        f"diagonal. {frequent}",
        figsize=(0.5 * size + 2, 0.45 * size + 1.6),
    )
    axes = figure.add_subplot()
    picture = axes.imshow(matrix, cmap="viridis")
    for row in range(size):
        for column in range(size):
            if matrix[row, column]:
                dark = matrix[row, column] < matrix.max() / 2
                colour = "white" if dark else "black"
                axes.text(
                    column, row, matrix[row, column], ha="center", va="center", color=colour, fontsize=8
                )
    axes.set_xticks(range(size), names, rotation=45, ha="right")
    axes.set_yticks(range(size), names)
    axes.set_xlabel("answer of the network")
    axes.set_ylabel("true class")
    figure.colorbar(picture, label="images", shrink=0.8)
    return figure


def accuracies(table: pd.DataFrame, description: str) -> DescribedFigure:
    """Draw accuracies with their intervals.

    Args:
        table: One row for each name, with the columns `accuracy`, `low` and `high` (0 to 1).
        description: The alternative text.
    """
    figure = DescribedFigure(description, figsize=(6.5, 0.4 * len(table) + 0.9))
    axes = figure.add_subplot()
    spread = np.stack([table.accuracy - table.low, table.high - table.accuracy])
    axes.errorbar(table.accuracy, table.index, xerr=spread.clip(0), fmt="o", color=BLUE, capsize=4)
    axes.set_xlabel("accuracy, with 95 % interval")
    axes.margins(y=0.2)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.4)
    return figure
