"""Tests of figures of images: they are shown as they are, with their classes and predictions."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_evaluations import an_evaluation

from course_utils import figures

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        PICTURE,
        PICTURE.convert("L"),
        torch.randn(3, 8, 8, requires_grad=True),
        torch.randn(1, 8, 8),
        torch.randn(8, 8),
        torch.zeros(3, 8, 8),
        torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8),
    ],
    ids=["PIL", "grey PIL", "tensor with gradient", "one channel", "matrix", "all equal", "bytes"],
)
def test_grid_takes_pictures_and_tensors(image):
    figure = figures.image_grid([image, image], ["one", "two"], "Twice the same.")
    figure._repr_mimebundle_()
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]


def test_grid_of_many_pictures_draws_the_first_hundred_and_says_so():
    many = [Image.new("L", (4, 4))] * 200
    figure = figures.image_grid(many, [str(number) for number in range(200)], "Many.")
    assert [axes.get_title() for axes in figure.axes] == [str(number) for number in range(100)]
    assert figure.get_suptitle() == "The first 100 of 200 pictures."
    assert figure.description == "Many. The first 100 of 200 pictures."


def test_grid_of_no_pictures_is_empty():
    figure = figures.image_grid([], [])
    figure._repr_mimebundle_()
    assert not figure.axes


# A cat that was classified correctly, a cat that was taken for a dog, a dog.
RESULT = an_evaluation([0, 0, 1], [0, 1, 1], classes=["cat", "dog"])
HEAT = torch.linspace(0, 1, 16).reshape(4, 4)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.image_grid([PICTURE, PICTURE], ["one"], "Two pictures, one title."),
        lambda: figures.heatmaps(RESULT, [0, 1], [HEAT], [HEAT]),
    ],
    ids=["image_grid", "heatmaps"],
)
def test_every_picture_needs_its_title_and_its_map(draw):
    with pytest.raises(ValueError, match="zip"):
        draw()


def test_search_results_name_query_and_finds():
    picture = Image.new("RGB", (8, 8))
    figure = figures.search_results(
        [("pretrained", picture, "birds", [(picture, "birds", 0.9), (picture, "bugs", 0.8)])]
    )
    assert [axes.get_title() for axes in figure.axes] == [
        "QUERY, pretrained\nbirds",
        "birds\n0.90",
        "bugs ✗\n0.80",
    ]
    assert "QUERY, pretrained birds; birds 0.90; bugs ✗ 0.80" in figure.description
