"""Tests of fair comparisons: what is compared differs in how it is initialised, and in nothing else."""

import math

import pandas as pd
import pytest
import torch
from PIL import Image

import course_utils.evaluation.comparison as comparison
from course_utils.data.preprocessing import Preprocessing
from course_utils.evaluation.comparison import (
    INIT_STRATEGIES,
    aggregate_runs,
    augment,
    fine_tuned,
    from_scratch,
    frozen,
    mean_interval,
    train_from,
)
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training.history import EpochMetrics, History

SETTINGS = Settings(device="cpu", image_size=40)


@pytest.mark.parametrize(
    ("build", "pretrained", "trainable"),
    [(from_scratch, False, 62), (frozen, True, 2), (fine_tuned, True, 62)],
)
def test_strategies_differ_in_their_weights_and_in_what_they_train(build, pretrained, trainable):
    model, weights = build(SETTINGS, num_classes=3), load_backbone(backbone_weights(SETTINGS)).state_dict()
    state = model.state_dict()
    assert {torch.equal(state[name], weights[name]) for name in state if "conv" in name} == {pretrained}
    assert model.fc.out_features == 3
    assert sum(p.requires_grad for p in model.parameters()) == trainable
    assert model.fc.weight.requires_grad


@pytest.fixture
def settings(tmp_path, write_class_folders):
    write_class_folders(tmp_path / "train", {"a": 10, "b": 10})
    write_class_folders(tmp_path / "test", {"a": 4, "b": 4})
    return Settings(dataset=f"folder:{tmp_path}", image_size=32, batch_size=8, seed=7, device="cpu")


def test_all_strategies_get_the_same_images_steps_and_seed(monkeypatch, settings):
    seen, varied = [], []

    def fit(model, train, val, own):
        seen.append(([part.indices for part in (train, val)], own.epochs, own.seed, own.batch_size))
        varied.append([len({part[0][0].numpy().tobytes() for _ in range(8)}) > 1 for part in (train, val)])
        return History([EpochMetrics(1, 1.0, 0.5, 1.0, 0.5, 0.0)])

    monkeypatch.setattr(comparison, "fit", fit)
    runs = [train_from(strategy, settings, steps=5) for strategy in INIT_STRATEGIES]
    assert [run.start for run in runs] == ["from scratch", "frozen", "fine-tuned"]
    assert repr(seen[0]) == repr(seen[1]) == repr(seen[2])
    assert seen[0][1:] == (3, 7, 8)  # 16 training images are two batches: three epochs give at least 5 steps
    assert varied == [[True, False], [False, False], [True, False]]  # augmented, but for a frozen backbone
    assert {run.images_per_class for run in runs} == {10}


@pytest.mark.parametrize(("test_images", "used"), [(None, 8), (4, 4)])
def test_the_test_set_is_evaluated_once_after_training(monkeypatch, settings, test_images, used):
    events = []

    def spy(name):
        function = getattr(comparison, name)

        def called(model, *given, **options):
            events.append((name, len(given[0])))
            return function(model, *given, **options)

        monkeypatch.setattr(comparison, name, called)

    spy("fit")
    spy("evaluate")
    train_from(INIT_STRATEGIES[1], settings, 1, test_images)
    assert events == [("fit", 16), ("evaluate", used)]


def test_a_shift_brings_no_colour_into_a_photograph_that_is_not_in_it():
    lawn = Image.new("RGB", (50, 60), (40, 120, 30))
    plain = Preprocessing.from_weights(backbone_weights(SETTINGS), 40).transform()(lawn)
    transform = augment(SETTINGS)
    assert all(torch.allclose(transform(lawn), plain) for _ in range(8))


def test_interval_of_a_mean_is_students():
    mean, low, high = mean_interval([0.4, 0.5, 0.6])
    half = 4.30265 * 0.1 / math.sqrt(3)  # t for 2 degrees of freedom
    assert (mean, low, high) == pytest.approx((0.5, 0.5 - half, 0.5 + half), rel=1e-5)
    assert mean_interval([0.4]) == (0.4, -math.inf, math.inf)


def test_aggregated_runs_have_one_row_for_each_start_and_number_of_images():
    rows = [["pets", n, start, accuracy] for start in ("frozen", "from scratch") for n in (5, 20)
            for accuracy in (0.4, 0.6)]  # fmt: skip
    columns = ["dataset", "images_per_class", "start", "test_accuracy"]
    table = aggregate_runs(pd.DataFrame(rows, columns=columns))
    assert list(table.start) == ["frozen", "frozen", "from scratch", "from scratch"]
    assert list(table.images_per_class) == [5, 20, 5, 20]
    assert list(table.seeds) == [2] * 4
    assert list(table.accuracy) == pytest.approx([0.5] * 4)
    assert list(table.low) == pytest.approx([mean_interval([0.4, 0.6])[1]] * 4)
