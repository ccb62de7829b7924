"""Tests of predictions on a dataset and on one picture, and of metrics with their intervals."""

import io

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from small_evaluations import CLASSES, an_evaluation
from small_networks import same, seeded_net, state
from torch import nn
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.metrics import (
    accuracy_interval,
    evaluate,
    most_confident_mistakes,
    paired_difference,
    per_class,
    predict,
)

COLOURS = ["red", "green", "blue"]
TRANSFORM = v2.Compose([v2.Resize((8, 8)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])


def pictures(count, classes=CLASSES):
    """Return random pictures of three classes."""
    images = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    dataset = TensorDataset(images, torch.arange(count) % 3)
    if classes:
        dataset.classes = classes
    return dataset


class MeanColour(nn.Module):
    """Predicts which colour a picture has most of; its dropout shows whether it is in eval mode."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.dropout = nn.Dropout(0.9)

    def forward(self, images):
        return self.dropout(images.mean(dim=(2, 3)) * self.scale)


@pytest.fixture
def model():
    """Return a network in train mode, but for its BatchNorm."""
    model = seeded_net()
    model.norm.eval()
    return model


def test_evaluation_is_that_of_all_images_at_once_whatever_the_batches(model):
    dataset = pictures(150)  # more than two batches
    result = evaluate(model, dataset)
    with torch.no_grad():
        expected = model.eval()(dataset.tensors[0]).softmax(dim=1)
    torch.testing.assert_close(result.probabilities, expected)
    torch.testing.assert_close(result.probabilities.sum(dim=1), torch.ones(150))
    assert torch.equal(result.labels, dataset.tensors[1])
    assert result.classes == CLASSES
    right = int((expected.argmax(dim=1) == dataset.tensors[1]).sum())
    assert result.correct == right and result.accuracy == right / 150


def test_evaluation_trains_nothing_and_restores_every_mode(model):
    before = state(model)
    assert not evaluate(model, pictures(33)).probabilities.requires_grad
    assert model.training and model.dropout.training and not model.norm.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert same(state(model), before)


@pytest.mark.parametrize(
    ("dataset", "message"), [(pictures(0), "no images"), (pictures(3, classes=None), "no names")]
)
def test_a_dataset_that_cannot_be_evaluated_is_an_error(model, dataset, message):
    with pytest.raises(DataError, match=message):
        evaluate(model, dataset)


def as_file(image):
    content = io.BytesIO()
    image.save(content, "PNG", exif=image.getexif())
    return content.getvalue()


def test_path_bytes_and_pil_picture_get_the_same_prediction_in_eval_mode(tmp_path):
    picture, path, model = Image.new("RGB", (20, 10), (20, 200, 90)), tmp_path / "a.png", MeanColour().train()
    picture.save(path)
    forms = [path, str(path), as_file(picture), picture]
    tables = [predict(model, form, TRANSFORM, COLOURS) for form in forms]
    assert list(tables[0].columns) == ["class", "probability"]
    assert list(tables[0]["class"]) == ["green", "blue", "red"]
    expected = (torch.tensor([20, 200, 90]) / 255 * 5).softmax(dim=0)[[1, 2, 0]]
    assert tables[0].probability.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert all(table.equals(tables[0]) for table in tables[1:])
    assert model.training and model.dropout.training and model.scale.grad is None


@pytest.mark.parametrize("form", [lambda image: image, as_file], ids=["PIL", "bytes"])
def test_picture_is_read_as_the_training_pictures_were(form):
    """That is by `load_rgb`: transparent is white, and a photograph is turned upright."""
    picture, seen = Image.new("RGBA", (20, 10)), []
    picture.getexif()[ExifTags.Base.Orientation] = 6
    predict(MeanColour(), form(picture), lambda rgb: seen.append(rgb) or TRANSFORM(rgb), COLOURS)
    assert seen[0].mode == "RGB" and seen[0].size == (10, 20)
    assert seen[0].getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("content", "classes", "error"),
    [
        (b"", COLOURS, DataError),
        (b"<html>", COLOURS, DataError),
        (b"\x89PNG\r\n\x1a\n", COLOURS, DataError),
        (Image.new("RGB", (9, 9)), COLOURS[:2], ConfigError),
        (Image.new("RGB", (9, 9)), [*COLOURS, "grey"], ConfigError),
    ],
)
def test_what_cannot_be_predicted_is_an_error(content, classes, error):
    with pytest.raises(error):
        predict(MeanColour(), content, TRANSFORM, classes)


def test_wilson_interval_is_the_one_in_the_book():
    # 8 of 10, worked out by hand: centre (0.8 + z²/20) / (1 + z²/10), with z = 1.959964.
    z = 1.959964
    assert accuracy_interval(8, 10) == pytest.approx((0.49016, 0.94331), abs=1e-5)
    for images in (1, 10, 2000):
        assert accuracy_interval(0, images) == pytest.approx((0, z**2 / (images + z**2)), abs=1e-6)
        assert accuracy_interval(images, images) == pytest.approx((images / (images + z**2), 1), abs=1e-6)
    assert accuracy_interval(8, 10, 0.99)[0] < 0.49  # more confidence, a wider interval


def test_per_class_table_worked_out_by_hand():
    table = per_class(an_evaluation(truth=[0, 0, 0, 1, 1], predicted=[0, 1, 1, 1, 1]))
    assert list(table.index) == CLASSES
    assert table.precision.tolist() == [1, 0.5, 0]  # no image of a ship, and none that was taken for one
    assert table.recall.tolist() == pytest.approx([1 / 3, 1, 0])
    assert table.f1.tolist() == pytest.approx([0.5, 2 / 3, 0])
    assert table.images.tolist() == [3, 2, 0]


def test_most_confident_mistakes_come_with_the_surest_first():
    result = an_evaluation([0, 1, 2, 0, 1], [1, 1, 0, 2, 0], confidence=[0.6, 0.99, 0.9, 0.7, 0.8])
    table = most_confident_mistakes(result, 3)
    assert table["image"].tolist() == [2, 4, 3]
    assert table["truth"].tolist() == ["ship", "dog", "cat"]
    assert table["answer"].tolist() == ["cat", "cat", "ship"]
    assert table["confidence"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    tied = an_evaluation(truth=[0] * 40, predicted=[1] * 40)  # they keep their order, and may be fewer
    assert most_confident_mistakes(tied, 99)["image"].tolist() == list(range(40))
    none = most_confident_mistakes(an_evaluation([0, 1], [0, 1]), 10)
    assert len(none) == 0 and list(none.columns) == list(table.columns)


def named(right, images):
    """Return an evaluation of pictures of cats, so many of which are right, those at the beginning."""
    return an_evaluation([0] * images, [0] * right + [1] * (images - right))


def test_difference_counts_first_less_second_and_lies_inside_its_interval():
    better, worse = named(80, 100), named(70, 100)
    mean, low, high = paired_difference([better], [worse])
    assert mean == pytest.approx(0.10)
    assert 0 < low < 0.10 < high < 0.20
    assert paired_difference([worse], [better]) == pytest.approx((-mean, -high, -low))
    assert paired_difference([better] * 2, [better] * 2) == (0, 0, 0)


def test_the_interval_of_a_difference_holds_the_truth_with_three_runs_that_scatter():
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        other = [named(int(rng.binomial(400, rng.normal(0.5, 0.05))), 400) for _ in range(3)]
        _, low, high = paired_difference([named(400, 400)] * 3, other)
        held += low <= 0.5 <= high
    assert held >= 91


ONE, TURNED, LONGER = (an_evaluation(truth, truth) for truth in ([0, 1], [1, 0], [0, 1, 1]))


@pytest.mark.parametrize(
    ("first", "second"),
    [([ONE], [TURNED]), ([ONE], [LONGER]), ([ONE] * 2, [ONE]), ([ONE, TURNED], [ONE] * 2), ([], [])],
    ids=["another order", "other images", "fewer runs", "a run of other images", "no run"],
)
def test_results_that_are_not_of_the_same_images_cannot_be_paired(first, second):
    with pytest.raises(DataError, match="image by image"):
        paired_difference(first, second)
