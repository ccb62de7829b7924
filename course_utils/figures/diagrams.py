"""Diagrams: one block of a network, and a text with an attribution for each token."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from course_utils.figures.described import BLUE, ORANGE, DescribedFigure, literal
from course_utils.text import AttributedText

TOKENS_IN_A_ROW = 14


def residual_block(block: nn.Module) -> DescribedFigure:
    """Draw a block of a ResNet, torchvision's `BasicBlock` or `Bottleneck`: its layers and the shortcut."""
    steps = [
        f"{layer.kernel_size[0]}×{layer.kernel_size[1]} convolution, {layer.out_channels} channels"
        for name, layer in block.named_children()
        if name.startswith("conv")
    ]
    boxes = [f"{step}\nBatchNorm, ReLU" for step in steps[:-1]] + [f"{steps[-1]}\nBatchNorm"]
    labels = ["input x", *boxes, "+", "ReLU", "output"]
    figure = DescribedFigure(
        f"Diagram of a residual block: the input passes {'; '.join(steps)}, each followed by BatchNorm; an "
        "arrow leads the input around them to a plus sign, where both are added; a ReLU follows.",
        figsize=(5, 0.75 * len(labels)),
    )
    axes = figure.add_subplot(xlim=(-1.6, 2.8), ylim=(-0.6, len(labels) - 0.4))
    axes.set_axis_off()
    box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": BLUE}
    top, plus = len(labels) - 1, 2
    for height, label in zip(range(top, -1, -1), labels, strict=True):
        axes.text(0, height, label, ha="center", va="center", fontsize=9, bbox=box)
        if height > 0:
            axes.annotate("", (0, height - 0.68), (0, height - 0.32), arrowprops={"arrowstyle": "->"})
    around = {"arrowstyle": "->", "color": ORANGE, "lw": 2, "connectionstyle": "arc3,rad=-1.05"}
    axes.annotate("", (0.12, plus), (0.4, top), arrowprops=around)
    text = "unchanged:\nthe shortcut"
    axes.text(1.55, (plus + top) / 2, text, color="#8a5a00", va="center", fontsize=9)
    return figure


def token_heatmap(texts: Sequence[AttributedText]) -> DescribedFigure:
    """Draw the tokens of texts, each on a ground whose colour and depth are its attribution.

    Orange speaks for the prediction and blue against it; the deepest colour of each text is its largest
    attribution. The number is below the token, so that nobody has to tell colours apart.
    """
    words, rows = [], []
    for text in texts:
        most, least = np.argmax(text.attributions), np.argmin(text.attributions)
        words.append(
            f"{text.title}: most for it {text.tokens[most]} ({text.attributions[most]:+.2f}), "
            f"least {text.tokens[least]} ({text.attributions[least]:+.2f})"
        )
        rows.append(-(-len(text.tokens) // TOKENS_IN_A_ROW))
    figure = DescribedFigure(
        f"{len(texts)} texts in tokens, each with a number for what it spoke for. {'; '.join(words)}.",
        figsize=(10, 0.75 * sum(rows) + 0.4 * len(texts)),
    )
    panels = figure.subplots(len(texts), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, text, count in zip(panels, texts, rows, strict=True):
        largest = max(np.abs(text.attributions).max(), 1e-12)
        for number, (token, value) in enumerate(zip(text.tokens, text.attributions, strict=True)):
            row, column = divmod(number, TOKENS_IN_A_ROW)
            look = {"color": ORANGE if value > 0 else BLUE, "alpha": 0.85 * abs(value) / largest}
            axes.bar(column + 0.5, 0.86, width=0.94, bottom=row + 0.08, linewidth=0, **look)
            size = 9 if len(token) < 10 else 7  # a long token stays in its box
            axes.text(column + 0.5, row + 0.42, literal(token), ha="center", va="center", fontsize=size)
            axes.text(column + 0.5, row + 0.8, f"{value:+.2f}", ha="center", va="center", fontsize=7)
        axes.set(xlim=(0, TOKENS_IN_A_ROW), ylim=(count, 0))
        axes.set_title(literal(text.title), fontsize=9, loc="left")
        axes.axis("off")
    return figure
