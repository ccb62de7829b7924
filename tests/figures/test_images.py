"""Tests of figures of images: they are shown as they are, with their classes and predictions."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_evaluations import an_evaluation

from course_utils import figures
from course_utils.evaluation.metrics import most_confident_mistakes

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


def test_grid_shows_a_picture_as_it_is_and_stretches_a_tensor():
    tensor = torch.tensor([[-2.0, 0.0], [1.0, 2.0]])
    figure = figures.image_grid([PICTURE, tensor], ["picture", "tensor"], "Two.")
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(shown[0], np.asarray(PICTURE))
    assert shown[1].tolist() == [[0, 0.5], [0.75, 1]]


def test_class_counts_are_stacked_to_the_number_of_images_of_the_class():
    counts = pd.DataFrame({"train": [7, 11], "val": [3, 5], "test": [2, 13]}, index=["cat", "dog"])
    axes = figures.class_counts(counts).axes[0]
    ends = [container[1].get_x() + container[1].get_width() for container in axes.containers]
    assert ends == [11, 11 + 5, 11 + 5 + 13]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "val", "test"]


def test_mistakes_carry_truth_prediction_and_confidence_and_there_may_be_none():
    table = most_confident_mistakes(an_evaluation([0, 0, 0, 1], [0, 1, 1, 1]), 5)
    titles = [axes.get_title() for axes in figures.mistakes(table, [PICTURE, PICTURE]).axes]
    assert titles == ["true: cat\npredicted: dog\n(90%)"] * 2
    figure = figures.mistakes(table[:0], [])
    figure._repr_mimebundle_()
    assert "no mistake" in figure.description


# A cat that was classified correctly, a cat that was taken for a dog, a dog.
RESULT = an_evaluation([0, 0, 1], [0, 1, 1], classes=["cat", "dog"])
HEAT = torch.linspace(0, 1, 16).reshape(4, 4)


def test_heatmaps_tell_right_from_wrong_in_words_and_lie_on_their_picture():
    images = [torch.full((8, 8), 7.0), torch.linspace(0, 1, 64).reshape(8, 8)]
    figure = figures.heatmaps(RESULT, [0, 1], images, [HEAT, HEAT / 2])
    titles = [panel.get_suptitle() for panel in figure.subfigs[0].subfigs]
    assert titles == ["cat\nright, said: cat (90%)", "cat\nWRONG, said: dog (90%)"]
    picture, marked = figure.axes[2:4]
    assert np.array_equal(picture.images[0].get_array(), images[1].numpy())
    below, above = marked.images
    assert below.get_extent() == above.get_extent()
    assert np.array_equal(above.get_array(), HEAT.numpy() / 2)
    assert above.get_clim() == (0, 1)
    assert "speaks for the answer" in figure.axes[-1].get_xlabel()


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
