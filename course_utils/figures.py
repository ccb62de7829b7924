"""Every picture of the course: takes results, returns a figure that says in words what it shows.

Each function returns a `DescribedFigure`. As the last line of a cell it is shown as a PNG picture whose
alternative text, for those who listen to a notebook, stands in the output's metadata; outside a notebook,
`figure.savefig("name.png")` works as for any matplotlib figure.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers can tell
apart; matrices use viridis, whose brightness rises evenly.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from course_utils.evaluation import Evaluation, confusion_matrix
from course_utils.training import History

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"


class DescribedFigure(Figure):
    """A matplotlib figure with an alternative text, which notebooks show by themselves."""

    def __init__(self, description: str, **options: object):
        super().__init__(layout="constrained", **options)
        self.description = " ".join(description.split())
        FigureCanvasAgg(self)

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        # IPython asks an object for its pictures by this name; the second part is the metadata.
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=100)
        data = {
            "image/png": base64.b64encode(png.getvalue()).decode(),
            "text/plain": f"<Figure: {self.description}>",
        }
        return data, {"image/png": {"alt": self.description}}


def image_grid(
    images: Sequence[Image.Image | torch.Tensor],
    titles: Sequence[str],
    description: str,
    columns: int = 5,
) -> DescribedFigure:
    """Draw pictures side by side, each with a title.

    Args:
        images: PIL pictures, or tensors of [3, height, width] or [height, width]. A tensor is stretched
            from its own lowest to its own highest value, since a normalised image has no colours.
        titles: One for each picture.
        description: The alternative text.
        columns: Pictures in a row.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    titled = any(titles)
    width, height = (1.6, 1.85) if titled else (0.55, 0.55)
    figure = DescribedFigure(description, figsize=(width * columns, height * rows))
    for place, (image, title) in enumerate(zip(images, titles, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(_as_picture(image), cmap="gray", interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def _as_picture(image: Image.Image | torch.Tensor) -> np.ndarray:
    if isinstance(image, Image.Image):
        return np.asarray(image)
    image = image.detach().float()
    low, high = image.min(), image.max()
    image = (image - low) / (high - low).clamp(min=1e-8)
    return (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()


def class_counts(counts: pd.DataFrame) -> DescribedFigure:
    """Draw how many images of each class each split has.

    Args:
        counts: One row for each class, one column for each split.
    """
    rows = [
        f"{name}: {', '.join(str(n) for n in row)}"
        for name, row in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    figure = DescribedFigure(
        f"Bar chart of images in each class, in the order {', '.join(counts.columns)}. {'; '.join(rows)}.",
        figsize=(7, 3.4),
    )
    axes = figure.add_subplot()
    left = np.zeros(len(counts))
    for (split, values), colour in zip(counts.items(), (BLUE, ORANGE, GREEN), strict=False):
        axes.barh(counts.index, values, left=left, color=colour, label=split)
        left += values.to_numpy()
    axes.invert_yaxis()
    axes.set_xlabel("images")
    axes.legend(title="split", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def value_histogram(values: dict[str, torch.Tensor], description: str) -> DescribedFigure:
    """Draw the distribution of the pixel values of several batches, one panel each.

    Args:
        values: Name of the batch, and its values (any shape).
        description: The alternative text.
    """
    figure = DescribedFigure(description, figsize=(3.6 * len(values), 2.6))
    panels = figure.subplots(1, len(values), squeeze=False)[0]
    for axes, (name, batch) in zip(panels, values.items(), strict=True):
        axes.hist(batch.float().flatten().numpy(), bins=50, color=BLUE)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("pixel value")
        axes.set_ylabel("pixels")
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    return figure


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


def mistakes(table: pd.DataFrame, images: Sequence[Image.Image | torch.Tensor]) -> DescribedFigure:
    """Draw wrongly named pictures with their true class, the answer and its confidence.

    Args:
        table: As `evaluation.most_confident_mistakes` returns it.
        images: The pictures of its rows, in order.
    """
    rows = list(table.itertuples())
    if not rows:
        return DescribedFigure("An empty picture: there is no mistake to show.", figsize=(2, 1))
    titles = [f"{row.truth}\nsaid: {row.answer}\n{row.confidence:.0%} sure" for row in rows]
    words = "; ".join(f"{row.truth} taken for {row.answer} ({row.confidence:.0%})" for row in rows)
    figure = image_grid(images, titles, f"The {len(rows)} most confident mistakes: {words}.")
    columns = min(5, len(rows))
    figure.set_size_inches(1.75 * columns, 2.3 * -(-len(rows) // columns))
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


def residual_block(block: nn.Module) -> DescribedFigure:
    """Draw one block of a ResNet: the layers that the signal passes, and the path around them.

    Args:
        block: torchvision's `BasicBlock` or `Bottleneck`.
    """
    convolutions = [layer for name, layer in block.named_children() if name.startswith("conv")]
    steps = [
        f"{c.kernel_size[0]}×{c.kernel_size[1]} convolution, {c.out_channels} channels" for c in convolutions
    ]
    labels = ["input x"]
    for number, step in enumerate(steps, start=1):
        labels.append(f"{step}\nBatchNorm" + ("" if number == len(steps) else ", ReLU"))
    labels += ["+", "ReLU", "output"]
    figure = DescribedFigure(
        f"Diagram of a residual block: the input passes {'; '.join(steps)}, each followed by BatchNorm; an "
        "arrow leads the input around them to a plus sign, where both are added; a ReLU follows.",
        figsize=(5, 0.75 * len(labels)),
    )
    axes = figure.add_subplot()
    heights = list(range(len(labels) - 1, -1, -1))
    for height, label in zip(heights, labels, strict=True):
        box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": BLUE}
        axes.text(0, height, label, ha="center", va="center", fontsize=9, bbox=box)
    for height in heights[:-1]:
        axes.annotate("", (0, height - 0.68), (0, height - 0.32), arrowprops={"arrowstyle": "->"})
    plus = heights[labels.index("+")]
    around = {"arrowstyle": "->", "color": ORANGE, "lw": 2, "connectionstyle": "arc3,rad=-1.05"}
    axes.annotate("", (0.12, plus), (0.4, heights[0]), arrowprops=around)
    axes.text(
        1.55, (plus + heights[0]) / 2, "unchanged:\nthe shortcut", color="#8a5a00", va="center", fontsize=9
    )
    axes.set_xlim(-1.6, 2.8)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_axis_off()
    return figure
