"""Pictures of training: how losses, accuracies and learning rates go over steps and epochs."""

import pandas as pd

from course_utils.figures.described import BLUE, GREEN, GREY, ORANGE, DescribedFigure, literal
from course_utils.training import History


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


def loss_curves(histories: dict[str, History]) -> DescribedFigure:
    """Draw the validation loss of several training runs.

    Args:
        histories: The name of each run and its history, at most four.
    """
    losses = {name: history.to_frame().val_loss for name, history in histories.items()}
    words = "; ".join(f"{name}: {', '.join(f'{loss:.2f}' for loss in run)}" for name, run in losses.items())
    figure = DescribedFigure(f"Line chart of the validation loss after each epoch. {words}.", figsize=(6, 3))
    axes = figure.add_subplot()
    for (name, run), colour, marker in zip(losses.items(), (BLUE, ORANGE, GREEN, GREY), "os^v", strict=False):
        axes.plot(run, f"{marker}-", color=colour, label=literal(name))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation loss (nats)")
    axes.legend()
    return figure


def lr_range(table: pd.DataFrame) -> DescribedFigure:
    """Draw the loss of a learning-rate range test.

    Args:
        table: As `learning_rates.lr_range_test` returns it.
    """
    smooth = table.loss.rolling(3, center=True).mean().fillna(table.loss)
    lowest = table.lr[smooth.idxmin()]
    figure = DescribedFigure(
        f"Line chart of the loss while the learning rate grows from {table.lr.iloc[0]:.0e} to "
        f"{table.lr.iloc[-1]:.0e}. It begins at {table.loss.iloc[0]:.2f}, is lowest near a rate of "
        f"{lowest:.0e}, and ends at {table.loss.iloc[-1]:.2f}.",
        figsize=(6, 3),
    )
    axes = figure.add_subplot()
    axes.plot(table.lr, table.loss, ".", color=GREY, label="each batch")
    axes.plot(table.lr, smooth, color=BLUE, label="mean of three")
    axes.set_xscale("log")
    axes.set_ylim(0, min(table.loss.max(), 2.5 * table.loss.iloc[0]) * 1.05)
    axes.set_xlabel("learning rate of the head")
    axes.set_ylabel("loss (nats)")
    axes.legend()
    return figure


def rates_over_steps(rates: pd.DataFrame) -> DescribedFigure:
    """Draw how the learning rate of some stages rises and falls.

    Args:
        rates: One row for each step, one column for each stage, at most four.
    """
    tops = ", ".join(f"{name} {values.max():.1e}" for name, values in rates.items())
    figure = DescribedFigure(
        f"Line chart of learning rates over {len(rates)} steps. They rise for "
        f"{int(rates.iloc[:, 0].argmax())} steps, then fall to almost zero. "
        f"The highest of each stage: {tops}.",
        figsize=(6, 3),
    )
    axes = figure.add_subplot()
    for (name, values), colour, dashes in zip(
        rates.items(), (BLUE, ORANGE, GREEN, GREY), ("-", "--", "-.", ":"), strict=False
    ):
        axes.plot(values, dashes, color=colour, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.legend(title="stage")
    return figure
