"""Figures of images: the pictures of a dataset, and a network's predictions for them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image

from course_utils.evaluation.metrics import Evaluation
from course_utils.figures.described import BLUE, ORANGE, DescribedFigure

Images = Sequence[Image.Image | torch.Tensor]
"""PIL pictures, or tensors of [3, height, width] or [height, width]. A tensor is stretched from its lowest to
its highest value, because a normalised image has no colours."""

MOST_IMAGES = 100  # of a grid: each needs as much memory as a small figure


def image_grid(
    images: Images, titles: Sequence[str], description: str = "", columns: int = 5
) -> DescribedFigure:
    """Draw images side by side, each with a title; only the first 100, if there are more.

    Without a `description`, the titles make one.
    """
    description = description or f"{len(titles)} pictures with these titles: {'; '.join(titles)}."
    pairs = list(zip(images, titles, strict=True))[:MOST_IMAGES]
    columns = min(columns, len(pairs)) or 1
    rows = -(-len(pairs) // columns) or 1
    lines = max((title.count("\n") for title in titles), default=0)
    width, height = (1.6, 1.85 + 0.2 * max(0, lines - 1)) if any(titles) else (0.55, 0.55)
    left_out = f"The first {len(pairs)} of {len(images):,} pictures." if len(pairs) < len(images) else ""
    figure = DescribedFigure(f"{description} {left_out}", figsize=(width * columns, height * rows))
    if left_out:
        figure.suptitle(left_out, fontsize=10)
    for number, (image, title) in enumerate(pairs, start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(_pixels(image), cmap="gray", interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def _pixels(image: Image.Image | torch.Tensor) -> np.ndarray:
    if isinstance(image, Image.Image):
        return np.asarray(image)
    image = image.detach().float()
    image = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-8)
    return (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()


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
        drawn = axes.barh(table["class"], 100 * table["probability"], color=colour)
        axes.bar_label(drawn, fmt="{:.0f} %", padding=3)
        axes.invert_yaxis()
        axes.set(xlim=(0, 118), xticks=range(0, 101, 20), xlabel="probability (%)")
        axes.set_title(head, fontsize=10)
    return figure


def search_results(searches: Sequence[tuple[str, Image.Image, str, Sequence]]) -> DescribedFigure:
    """Draw one row for each search: the query and the pictures found, with class and cosine similarity.

    A search is a title, the query, its class, and the pictures found, each with class and similarity. A cross
    marks a class other than the query's.
    """
    images, titles = [], []
    for title, query, own_class, found in searches:
        images += [query, *(picture for picture, *_ in found)]
        titles.append(f"QUERY, {title}\n{own_class}")
        titles += [f"{name}{'' if name == own_class else ' ✗'}\n{score:.2f}" for _, name, score in found]
    words = "; ".join(" ".join(title.split()) for title in titles)
    description = (
        f"{len(searches)} searches by picture, with the classes and cosine similarities found: {words}."
    )
    return image_grid(images, titles, description, columns=len(images) // len(searches))


def heatmaps(
    result: Evaluation, indices: Sequence[int], images: Images, maps: Sequence[torch.Tensor]
) -> DescribedFigure:
    """Draw each image without and with its heatmap, with its true class and the prediction.

    A cross marks a wrong prediction. `indices` are the images' places in the evaluated dataset; `maps` come
    from `grad_cam`.
    """
    titles, words = [], []
    for index in indices:
        answer, truth = (result.classes[labels[index]] for labels in (result.predictions, result.labels))
        sure = f"{result.probabilities[index].max():.0%}"
        titles += [f"true class:\n{truth}", f"predicted:\n{answer} ({sure}){'' if answer == truth else ' ✗'}"]
        words.append(f"{truth} predicted as {answer} ({sure})")
    twice = [image for image in images for _ in range(2)]
    description = f"{len(words)} pictures, each beside its Grad-CAM map: {'; '.join(words)}."
    figure = image_grid(twice, titles, description, columns=4)
    width, height = figure.get_size_inches()
    figure.set_size_inches(1.15 * width, 1.15 * height + 1.0)
    panels = figure.axes
    for axes, heat in zip(panels[1::2], maps, strict=True):
        extent = axes.images[0].get_extent()  # image and map may differ in size; they cover the same square
        marked = axes.imshow(heat.numpy(), cmap="viridis", vmin=0, vmax=1, alpha=0.6, extent=extent)
    label = "contribution to the predicted class (1: the region that contributes most)"
    figure.colorbar(marked, ax=panels, location="bottom", label=label, aspect=50)
    return figure
