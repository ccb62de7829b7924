"""Diagrams: what a network is made of and what is trained in it, and a text with a number for each token.

Blue is unchanged, orange is trained or new; labels say the same, so no reader has to distinguish colours.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle
from torch import nn

from course_utils.figures.described import BLUE, GREY, ORANGE, DescribedFigure, escape_dollar

Place = tuple[float, float, float, float]
"""Left, bottom, width and height of a box, in inches of the drawing."""


def _canvas(description: str, width: float, height: float) -> tuple[DescribedFigure, Axes]:
    figure = DescribedFigure(description, figsize=(width, height))
    axes = figure.add_subplot(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def _box(axes: Axes, place: Place, text: str, colour: str = GREY) -> None:
    left, bottom, width, height = place
    look = {"facecolor": to_rgba(colour, 0.15), "edgecolor": colour, "linewidth": 1.5}
    shape = FancyBboxPatch((left, bottom), width, height, "round,pad=0,rounding_size=0.08", **look)
    axes.add_patch(shape)
    middle = (left + width / 2, bottom + height / 2)
    axes.text(*middle, escape_dollar(text), ha="center", va="center", fontsize=9, zorder=4)


def _arrow(axes: Axes, start: tuple, end: tuple, text: str = "", **look: object) -> None:
    """Draw an arrow with a text above its middle; `look` is that of matplotlib's arrows."""
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "->", "lw": 1.3, "shrinkA": 0, "shrinkB": 0} | look
    )
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.06)
    axes.text(*middle, escape_dollar(text), ha="center", va="bottom", fontsize=8)


def _picture(axes: Axes, left: float, bottom: float) -> None:
    """Draw a small picture of a hill and the sun."""
    axes.add_patch(Rectangle((left, bottom), 1, 0.8, facecolor="#56B4E9", edgecolor="black"))
    axes.add_patch(Circle((left + 0.75, bottom + 0.57), 0.12, color="#F0E442"))
    hill = [(0.01, 0.01), (0.35, 0.5), (0.55, 0.22), (0.68, 0.36), (0.99, 0.01)]
    axes.add_patch(Polygon([(left + x, bottom + y) for x, y in hill], color="#00664B"))


def backbone_and_head(answers: Sequence[str]) -> DescribedFigure:
    """Draw the two parts of a network for images, with the names that its head can answer."""
    names = ", ".join(answers)
    figure, axes = _canvas(
        "Diagram of a network, from left to right: a picture goes into the backbone, which is pretrained and "
        "kept frozen; it makes features, a list of numbers; the head, which is new and trained, turns them "
        f"into one number for each class: {names}.",
        width=8.6,
        height=2.2,
    )
    _picture(axes, 0.1, 0.7)
    _arrow(axes, (1.2, 1.1), (1.6, 1.1))
    _box(axes, (1.65, 0.4, 1.9, 1.4), "backbone\n\npretrained, frozen:\nkept as it is", BLUE)
    _arrow(axes, (3.6, 1.1), (4.0, 1.1))
    for row, depth in enumerate((0.9, 0.1, 0.5, 0.0, 0.7, 0.2, 0.4)):
        spot = (4.1, 1.7 - 0.2 * row)
        axes.add_patch(Rectangle(spot, 0.3, 0.2, facecolor=to_rgba(BLUE, depth), edgecolor="black", lw=0.8))
    axes.text(4.25, 0.4, "features:\na list of numbers", ha="center", va="top", fontsize=9)
    _arrow(axes, (4.5, 1.1), (4.95, 1.1))
    _box(axes, (5, 0.6, 1.4, 1.0), "head\n\nnew: trained", ORANGE)
    lines = np.linspace(1.85, 0.35, len(answers))
    for height, name in zip(lines, answers, strict=True):
        _arrow(axes, (6.45, 1.1), (7.05, height), color=ORANGE)
        axes.text(7.15, height, escape_dollar(name), va="center", fontsize=9)
    return figure


def chain(states: Sequence[str], steps: Sequence[str], description: str = "") -> DescribedFigure:
    """Draw what something becomes, from left to right: a box for each state, and a named step between two.

    Without a `description`, the states and steps make one.
    """
    parts = [f"by {step}: {state}" for step, state in zip(steps, states[1:], strict=True)]
    description = description or f"Diagram, from left to right: {states[0]}; {'; '.join(parts)}."
    width, gap = 1.25, 0.85
    figure, axes = _canvas(description, width * len(states) + gap * len(steps) + 0.2, 1.1)
    for number, state in enumerate(states):
        left = 0.1 + number * (width + gap)
        _box(axes, (left, 0.1, width, 0.9), state, BLUE)
        if number:
            _arrow(axes, (left - gap + 0.06, 0.55), (left - 0.06, 0.55), steps[number - 1])
    return figure


def new_head(features: int, old_classes: int, new_classes: int) -> DescribedFigure:
    """Draw a network whose old head has been taken off and replaced by a new one."""
    figure, axes = _canvas(
        f"Diagram: the backbone is kept and makes {features:,} features. The old head, {features:,} in and "
        f"{old_classes:,} out, is crossed out. A new head, {features:,} in and {new_classes:,} out, takes "
        "its place.",
        width=8,
        height=2.3,
    )
    _picture(axes, 0.1, 0.3)
    _arrow(axes, (1.15, 0.7), (1.55, 0.7))
    _box(axes, (1.6, 0.2, 1.6, 1.0), "backbone\nkept as it is", BLUE)
    _arrow(axes, (3.25, 0.7), (4.6, 0.7), f"{features:,} features")
    _box(axes, (4.65, 1.45, 1.7, 0.7), f"old head\n{features:,} → {old_classes:,}")
    for ends in ((1.4, 2.2), (2.2, 1.4)):
        axes.plot((4.55, 6.45), ends, color=GREY, linewidth=1.3)
    _box(axes, (4.65, 0.25, 1.7, 0.9), f"new head\n{features:,} → {new_classes:,}", ORANGE)
    _arrow(axes, (6.4, 0.7), (7.0, 0.7))
    axes.text(7.05, 0.7, f"{new_classes:,} logits", va="center", fontsize=9)
    return figure


def training_step() -> DescribedFigure:
    """Draw one step of training with a frozen backbone: forward to the loss, backward to the head only."""
    figure, axes = _canvas(
        "Diagram of one training step. Forward, from left to right: images, the frozen backbone, features, "
        "the head, logits, and the loss, which compares the logits with the labels. Backward: an arrow for "
        "the gradients leads from the loss to the head and stops there.",
        width=7.5,
        height=2.5,
    )
    _box(axes, (0.1, 0.9, 0.9, 0.7), "images")
    _box(axes, (1.5, 0.75, 1.7, 1.0), "backbone\nfrozen, in eval mode", BLUE)
    _box(axes, (4.1, 0.75, 1.4, 1.0), "head\ntrained", ORANGE)
    _box(axes, (6.4, 0.9, 0.9, 0.7), "loss")
    _box(axes, (6.4, 1.95, 0.9, 0.45), "labels")
    _arrow(axes, (1.05, 1.25), (1.45, 1.25))
    _arrow(axes, (3.25, 1.25), (4.05, 1.25), "features")
    _arrow(axes, (5.55, 1.25), (6.35, 1.25), "logits")
    _arrow(axes, (6.85, 1.9), (6.85, 1.65))
    back = {"color": ORANGE, "lw": 2, "connectionstyle": "arc3,rad=-0.35"}
    _arrow(axes, (6.75, 0.85), (4.9, 0.7), **back)
    axes.text(5.85, 0.2, "backward: gradients, for the head only", ha="center", va="top", fontsize=9)
    axes.text(2.35, 0.65, "no gradient gets here", ha="center", va="top", fontsize=9)
    return figure


def three_sets(counts: Mapping[str, int]) -> DescribedFigure:
    """Draw what each of three sets of images decides; the counts are of training, validation and test."""
    uses = ["train the head", "choose the epoch and the settings", "measure, once, at the end"]
    pairs = list(zip(counts.items(), uses, strict=True))
    words = "; ".join(f"the {count:,} {name} images {use}" for (name, count), use in pairs)
    figure, axes = _canvas(f"Diagram of three sets of images: {words}.", width=6, height=2.5)
    colours = (ORANGE, BLUE, GREY)
    for row, (((name, count), use), colour) in enumerate(zip(pairs, colours, strict=True)):
        bottom = 1.75 - 0.8 * row
        _box(axes, (0.1, bottom, 1.9, 0.65), f"{name}\n{count:,} images", colour)
        _arrow(axes, (2.05, bottom + 0.325), (2.75, bottom + 0.325), color=colour)
        _box(axes, (2.8, bottom, 2.9, 0.65), use, colour)
    return figure


def data_parallel(batch_size: int) -> DescribedFigure:
    """Draw a batch that two processes share, and the gradients that they add up."""
    shares = (batch_size - batch_size // 2, batch_size // 2)
    figure, axes = _canvas(
        f"Diagram: a batch of {batch_size} images is divided. Each of two processes has the whole network, "
        f"sends its share ({shares[0]} and {shares[1]} images) through it and computes a gradient. Both "
        "gradients meet in an all-reduce, and both processes make the same step.",
        width=7.4,
        height=2.4,
    )
    _box(axes, (0.1, 0.8, 1.2, 0.8), f"one batch\n{batch_size} images")
    _box(axes, (4.8, 0.7, 1.1, 1.0), "all-reduce:\nmean of both\ngradients", ORANGE)
    for rank, (share, height) in enumerate(zip(shares, (1.8, 0.6), strict=True)):
        _arrow(axes, (1.35, 1.2), (1.95, height))
        text = f"process {rank}: {share} images,\nthe whole network,\na gradient"
        _box(axes, (2.0, height - 0.45, 2.1, 0.9), text, BLUE)
        _arrow(axes, (4.15, height), (4.75, 1.2 + 0.2 * (height - 1.2)))
    _arrow(axes, (5.95, 1.2), (6.35, 1.2))
    axes.text(6.4, 1.2, "the same\nstep in both", va="center", fontsize=9)
    return figure


def text_network(
    text: str, tokens: Sequence[str], mask: Sequence[int], answers: Sequence[str]
) -> DescribedFigure:
    """Draw a padded text on its way through an encoder and a head, from the top down.

    Args:
        text: The text.
        tokens: Its tokens, and the padding that fills it up.
        mask: For each of them 1 if it is there, and 0 if it is padding.
        answers: The names of the classes.
    """
    pairs = ", ".join(f"{token} {one}" for token, one in zip(tokens, mask, strict=True))
    figure, axes = _canvas(
        f"Diagram, from the top down: the text '{text}' becomes {len(tokens)} tokens, and the mask has 1 or "
        f"0 for each: {pairs}. The frozen encoder turns each token into features. The average takes those of "
        f"the {sum(map(int, mask))} tokens with a 1, and leaves the padding out. The head, which is new and "
        f"trained, turns the average into a logit for each class: {', '.join(answers)}.",
        width=0.62 * len(tokens) + 1.15,
        height=5.4,
    )
    middle, width = 1 + 0.31 * len(tokens), 0.62 * len(tokens) - 0.06
    left = middle - width / 2
    _box(axes, (middle - 1, 4.95, 2, 0.35), text)
    _arrow(axes, (middle, 4.92), (middle, 4.65))
    axes.text(middle + 0.1, 4.78, "tokenizer", va="center", fontsize=9)
    _box(axes, (left, 3.15, width, 0.55), "encoder\npretrained, frozen", BLUE)
    for number, (token, one) in enumerate(zip(tokens, map(int, mask), strict=True)):
        centre = 1.31 + 0.62 * number
        colour = BLUE if one else GREY
        _box(axes, (centre - 0.28, 4.3, 0.56, 0.32), token, colour)
        axes.text(centre, 4.15, str(one), ha="center", va="center", fontsize=9)
        _arrow(axes, (centre, 4.02), (centre, 3.73), color=colour)
        _arrow(axes, (centre, 3.12), (centre, 2.87), color=colour)
        for row in range(4):
            depth = (0.15 + 0.7 * ((3 * number + 5 * row) % 7) / 6) * one
            spot = (centre - 0.13, 2.7 - 0.15 * row)
            axes.add_patch(
                Rectangle(spot, 0.26, 0.15, facecolor=to_rgba(BLUE, depth), edgecolor=colour, lw=0.8)
            )
        if one:
            _arrow(axes, (centre, 2.22), (middle + 0.35 * (centre - middle), 1.93), color=BLUE)
    for height, words in (
        (4.46, "tokens"),
        (4.15, "mask"),
        (2.55, "features of\neach token"),
        (0.25, "logits"),
    ):
        axes.text(0.9, height, words, ha="right", va="center", fontsize=9)
    _box(axes, (middle - 1.3, 1.55, 2.6, 0.35), "average over the tokens with a 1")
    _arrow(axes, (middle, 1.52), (middle, 1.2))
    axes.text(middle + 0.1, 1.36, "features of the text", va="center", fontsize=9)
    _box(axes, (middle - 0.7, 0.65, 1.4, 0.52), "head\nnew: trained", ORANGE)
    for number, answer in enumerate(answers):
        place = middle + 1.1 * (number - (len(answers) - 1) / 2)
        _arrow(axes, (middle, 0.62), (place, 0.38), color=ORANGE)
        axes.text(place, 0.25, escape_dollar(answer), ha="center", va="center", fontsize=9)
    return figure


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
    around = {"arrowstyle": "->", "color": ORANGE, "lw": 2, "connectionstyle": "arc3,rad=-1.3"}
    axes.annotate("", (0.14, plus), (0.34, top), arrowprops=around)
    text = "unchanged:\nthe shortcut"
    axes.text(1.55, (plus + top) / 2, text, color="#8a5a00", va="center", fontsize=9)
    return figure
