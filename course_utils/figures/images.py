"""Figures of images: what a dataset holds, and what a network predicts for it."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
import torch
from PIL import Image

from course_utils.evaluation.metrics import Evaluation
from course_utils.figures.described import BLUE, GREEN, ORANGE, DescribedFigure, escape_dollar

Images = Sequence[Image.Image | torch.Tensor]
"""PIL pictures, or tensors of [3, height, width] or [height, width]. A tensor is stretched from its own
lowest to its own highest value, since a normalised image has no colours."""

MOST_IMAGES = 100  # of a grid: each needs as much memory as a small figure


def image_grid(
    images: Images, titles: Sequence[str], description: str = "", columns: int = 5
) -> DescribedFigure:
    """Draw images side by side, each with a title: the first 100, if there are more.

    Without a `description`, the titles make one.
    """
    description = description or f"{len(titles)} pictures with these titles: {'; '.join(titles)}."
    pairs = list(zip(images, titles, strict=True))[:MOST_IMAGES]
    columns = min(columns, len(pairs))
    rows = -(-len(pairs) // columns)
    width, height = (1.6, 1.85) if any(titles) else (0.55, 0.55)
    left_out = f"The first {len(pairs)} of {len(images):,} pictures." if len(pairs) < len(images) else ""
    figure = DescribedFigure(f"{description} {left_out}", figsize=(width * columns, height * rows))
    if left_out:
        figure.suptitle(left_out, fontsize=10)
    for number, (image, title) in enumerate(pairs, start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(_pixels(image), cmap="gray", interpolation="nearest")
        axes.set_title(escape_dollar(title), fontsize=9)
        axes.set_axis_off()
    return figure


def before_and_after(picture: Image.Image, before: pd.DataFrame, after: pd.DataFrame) -> DescribedFigure:
    """Draw a picture beside the three likeliest classes of an old and a new head (tables of `predict`)."""
    heads = {"the old head predicts": before.head(3), "the new head predicts": after.head(3)}
    words = "; ".join(
        f"{head} {', '.join(f'{row[0]} {row[1]:.0%}' for row in table.itertuples(index=False))}"
        for head, table in heads.items()
    )
    figure = DescribedFigure(f"A picture and the predictions of two heads: {words}.", figsize=(9, 2.4))
    panels = figure.subplots(1, 3, width_ratios=[1, 1.2, 1.2])
    panels[0].imshow(picture)
    panels[0].set_axis_off()
    for axes, (head, table), colour in zip(panels[1:], heads.items(), (BLUE, ORANGE), strict=True):
        names = [escape_dollar(name) for name in table["class"]]
        bars = axes.barh(names, 100 * table["probability"], color=colour)
        for bar in bars:  # the number stands behind a short bar, and in a long one
            value, long = bar.get_width(), bar.get_width() > 80
            place = (value + (-2 if long else 2), bar.get_y() + bar.get_height() / 2)
            axes.text(*place, f"{value:.0f} %", ha="right" if long else "left", va="center")
        axes.invert_yaxis()
        axes.set(xlim=(0, 100), xlabel="probability (%)")
        axes.set_title(head, fontsize=10)
    return figure


def _pixels(image: Image.Image | torch.Tensor) -> np.ndarray:
    if isinstance(image, Image.Image):
        return np.asarray(image)
    image = image.detach().float()
    image = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-8)
    return (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()


def mistakes(table: pd.DataFrame, images: Images) -> DescribedFigure:
    """Draw the images of a table of `most_confident_mistakes`, with truth, prediction and confidence."""
    rows = list(table.itertuples())
    if not rows:
        return DescribedFigure("An empty picture: there is no mistake to show.", figsize=(2, 1))
    titles = [f"true: {row.truth}\npredicted: {row.answer}\n({row.confidence:.0%})" for row in rows]
    words = "; ".join(f"{row.truth} taken for {row.answer} ({row.confidence:.0%})" for row in rows)
    figure = image_grid(images, titles, f"The {len(rows)} most confident mistakes: {words}.")
    columns = min(5, len(rows))
    figure.set_size_inches(1.75 * columns, 2.3 * -(-len(rows) // columns))
    return figure


def class_counts(counts: pd.DataFrame) -> DescribedFigure:
    """Draw the number of images of each class (row) in each split (column)."""
    words = "; ".join(f"{name}: {', '.join(map(str, row))}" for name, *row in counts.itertuples())
    figure = DescribedFigure(
        f"Bar chart of images in each class, in the order {', '.join(counts.columns)}. {words}.",
        figsize=(7, 3.4),
    )
    axes = figure.add_subplot()
    names, left = [escape_dollar(name) for name in counts.index], np.zeros(len(counts))
    for (split, values), colour in zip(counts.items(), cycle((BLUE, ORANGE, GREEN)), strict=False):
        axes.barh(names, values, left=left, color=colour, label=split)
        left += values.to_numpy()
    axes.invert_yaxis()
    axes.set_xlabel("images")
    axes.legend(title="split", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def heatmaps(
    result: Evaluation, indices: Sequence[int], images: Images, maps: Sequence[torch.Tensor]
) -> DescribedFigure:
    """Draw images, each beside itself under its heatmap, with its true class and the prediction.

    `indices` is where they are in the dataset that was evaluated; `maps` are those of `grad_cam`.
    """
    titles, words = [], []
    for index in indices:
        answer, truth = (result.classes[labels[index]] for labels in (result.predictions, result.labels))
        sure = f"{result.probabilities[index].max():.0%}"
        correct = "correct" if answer == truth else "WRONG"
        titles.append(f"true class: {truth}\npredicted: {answer} ({sure}), {correct}")
        words.append(f"{truth} predicted as {answer} ({sure})")
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    figure = DescribedFigure(
        f"{len(titles)} pictures, each beside its Grad-CAM map: {'; '.join(words)}.",
        figsize=(3.7 * columns, 2.3 * rows + 0.6),
    )
    pairs, margin = figure.subfigures(2, 1, height_ratios=(2.3 * rows, 0.6))
    panels = pairs.subfigures(rows, columns, squeeze=False).flat[: len(titles)]
    for panel, title, image, heat in zip(panels, titles, images, maps, strict=True):
        panel.suptitle(escape_dollar(title), fontsize=9)
        extent = (0, 1, 0, 1)  # image and map may differ in size; they cover the same square
        for axes in panel.subplots(1, 2):
            axes.imshow(_pixels(image), cmap="gray", extent=extent)
            axes.set_axis_off()
        marked = axes.imshow(heat.numpy(), cmap="viridis", vmin=0, vmax=1, alpha=0.6, extent=extent)
    scale = margin.colorbar(marked, cax=margin.subplots(), orientation="horizontal")
    scale.set_label("contribution to the predicted class (1: the strongest place of the picture)")
    return figure
