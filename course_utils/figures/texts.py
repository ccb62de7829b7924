"""Pictures of texts: what each piece of one spoke for."""

from collections.abc import Sequence

import numpy as np

from course_utils.figures.described import BLUE, ORANGE, DescribedFigure, literal
from course_utils.text import AttributedText

TOKENS_IN_A_ROW = 14


def token_heatmap(texts: Sequence[AttributedText]) -> DescribedFigure:
    """Write each text piece by piece, on a ground whose colour and depth say what the piece spoke for.

    Orange spoke for the answer and blue against it; the deepest colour of each text is its largest number.
    The number stands below the piece, so that nobody has to tell colours apart.

    Args:
        texts: At least one.
    """
    rows = [-(-len(text.pieces) // TOKENS_IN_A_ROW) for text in texts]
    figure = DescribedFigure(_in_words(texts), figsize=(10, 0.75 * sum(rows) + 0.4 * len(texts)))
    panels = figure.subplots(len(texts), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, text, count in zip(panels, texts, rows, strict=True):
        largest = max(np.abs(text.weights).max(), 1e-12)
        for place, (piece, weight) in enumerate(zip(text.pieces, text.weights, strict=True)):
            row, column = divmod(place, TOKENS_IN_A_ROW)
            colour = ORANGE if weight > 0 else BLUE
            depth = 0.85 * abs(weight) / largest
            axes.add_patch(_box(column, row, colour, depth))
            size = 9 if len(piece) < 10 else 7  # a long piece stays in its box
            axes.text(column + 0.5, row + 0.42, literal(piece), ha="center", va="center", fontsize=size)
            axes.text(column + 0.5, row + 0.8, f"{weight:+.2f}", ha="center", va="center", fontsize=7)
        axes.set(xlim=(0, TOKENS_IN_A_ROW), ylim=(count, 0))
        axes.set_title(literal(text.title), fontsize=9, loc="left")
        axes.axis("off")
    return figure


def _box(column: int, row: int, colour: str, depth: float):
    from matplotlib.patches import Rectangle

    return Rectangle((column + 0.03, row + 0.08), 0.94, 0.86, color=colour, alpha=depth, linewidth=0)


def _in_words(texts: Sequence[AttributedText]) -> str:
    told = []
    for text in texts:
        order = np.argsort(text.weights)
        most, least = order[-1], order[0]
        told.append(
            f"{text.title}: most for it {text.pieces[most]} ({text.weights[most]:+.2f}), "
            f"least {text.pieces[least]} ({text.weights[least]:+.2f})"
        )
    return f"{len(texts)} texts in pieces, each with a number for what it spoke for. {'; '.join(told)}."
