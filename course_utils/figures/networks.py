"""Pictures of what is inside a network."""

from torch import nn

from course_utils.figures.described import BLUE, ORANGE, DescribedFigure


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
