"""Tests of faulty preprocessings, each with the fault that it is named after, and of their costs."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset
from torchvision.models import ResNet50_Weights
from torchvision.transforms import v2

from course_utils.data.preprocessing import Preprocessing
from course_utils.evaluation.preprocessing_ablation import faulty_preprocessings, with_steps
from course_utils.models.weights import ResNet18_64px_Weights
from course_utils.settings import REPOSITORY_FOLDER

sys.path.insert(0, str(REPOSITORY_FOLDER / "benchmarks"))
import preprocessing
from preprocessing import FAULT_SCOPES, alters_images, costs_table, evaluate_heads

OWN = Preprocessing.from_weights(ResNet18_64px_Weights.DEFAULT)
MEAN, STD = [0.5, 0.25, 0.125], [0.5, 0.25, 1.0]
RIGHT, FAULTY = with_steps(OWN.steps()), faulty_preprocessings(OWN, MEAN, STD)


def a_picture(seed=0, size=(100, 80), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def denormalised(image, mean=OWN.mean, std=OWN.std):
    """Undo the normalisation: back to values from 0 to 1."""
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    return v2.functional.normalize(image, shift, 1 / torch.tensor(std))


def assert_same_image(image, expected, tolerance=1e-5):
    torch.testing.assert_close(image, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("weights", [ResNet18_64px_Weights.DEFAULT, ResNet50_Weights.IMAGENET1K_V2], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_right_steps_one_after_the_other_are_the_weights_own_preprocessing(weights, mode):
    picture, steps = a_picture(size=(300, 240), mode=mode), Preprocessing.from_weights(weights).steps()
    assert list(steps) == ["RGB", "Resize", "ToTensor", "Normalize"]
    assert_same_image(with_steps(steps)(picture), Preprocessing.from_weights(weights).transform()(picture))


@pytest.mark.parametrize("name", FAULTY)
def test_every_fault_gives_a_float_image_with_three_channels_that_differs_from_the_right_one(name):
    image = FAULTY[name](a_picture())
    assert image.dtype == torch.float32 and image.shape[0] == 3
    assert alters_images(FAULTY[name], RIGHT, [(a_picture(), 0)])


@pytest.mark.parametrize(
    ("name", "mended"),
    [
        ("BGR", lambda image: denormalised(image).flip(0)),
        ("0 to 255", lambda image: denormalised(image) / 255),
        ("not normalised", lambda image: image),
        ("own mean and std", lambda image: denormalised(image, MEAN, STD)),
    ],
)
def test_fault_is_exactly_the_named_one(name, mended):
    assert_same_image(mended(FAULTY[name](a_picture())), denormalised(RIGHT(a_picture())))


def evaluated(seeds):
    """Return evaluations on features that a fault negates: harmless in training, fatal in use."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(40)

    def part(sign):
        return TensorDataset(sign * (6 * torch.eye(3)[labels] + torch.randn(120, 3, generator=draw)), labels)

    features = {"right": (part(1), part(1)), "negated": (part(-1), part(-1))}
    return evaluate_heads(features, ["a", "b", "c"], seeds)


@pytest.fixture(scope="module")
def results():
    return evaluated((0, 1, 0))


def test_a_fault_in_both_places_is_learned_away_and_one_in_use_alone_is_not(results):
    assert set(results) == {(name, scope) for name in ("right", "negated") for scope in FAULT_SCOPES}
    assert all(len(runs) == 3 and len(runs[0].labels) == 120 for runs in results.values())
    accuracy = {pair: np.mean([run.accuracy for run in runs]) for pair, runs in results.items()}
    assert accuracy["negated", "training and inference"] > 0.9
    assert accuracy["negated", "inference only"] < 0.5


def test_four_fifths_of_the_images_of_each_class_train_a_head(monkeypatch):
    trained = []

    class Head:
        def fit(self, features, labels):
            trained.append(np.bincount(labels).tolist())
            return self

        def predict_proba(self, features):
            return np.ones((len(features), 3)) / 3

    monkeypatch.setattr(preprocessing, "linear_head", Head)
    evaluated((0,))
    assert trained == [[32, 32, 32]] * 2


def test_costs_are_right_less_wrong_in_points_with_the_interval_around_them(results):
    table = costs_table(results).set_index(["fault", "way"])
    assert list(table.index) == [("negated", scope) for scope in FAULT_SCOPES]
    for pair, row in table.iterrows():
        right = np.mean([run.accuracy for run in results["right", pair[1]]])
        assert row.accuracy == pytest.approx(np.mean([run.accuracy for run in results[pair]]))
        assert row.cost == pytest.approx(100 * (right - row.accuracy))
        assert row.low <= row.cost <= row.high
    assert table.loc[("negated", "inference only"), "low"] > 30
    assert table.loc[("negated", "training and inference"), "low"] < 5
