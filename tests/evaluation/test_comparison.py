"""Tests of the room `comparison`: what is compared differs in its start, and in nothing else."""

import math

import pandas as pd
import pytest
import torch
from PIL import Image

import course_utils.evaluation.comparison as comparison
from course_utils.data.weights import backbone_weights
from course_utils.evaluation.comparison import (
    INIT_STRATEGIES,
    Run,
    aggregate_runs,
    fine_tuned,
    from_scratch,
    frozen,
    mean_interval,
    seconds_until,
    train_from,
)
from course_utils.models.backbones import load_backbone
from course_utils.settings import Settings
from course_utils.training.history import EpochMetrics, History

SETTINGS = Settings(device="cpu")


@pytest.fixture(scope="module")
def pretrained():
    return load_backbone(backbone_weights(SETTINGS)).state_dict()


def same_backbone(model, pretrained):
    state = model.state_dict()
    return {torch.equal(state[name], pretrained[name]) for name in state if not name.startswith("fc.")}


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("prepare", [frozen, fine_tuned])
def test_two_starts_begin_with_the_pretrained_backbone(prepare, pretrained):
    model = prepare(SETTINGS, num_classes=3)
    assert same_backbone(model, pretrained) == {True}
    assert model.fc.out_features == 3


def test_scratch_begins_with_other_weights(pretrained):
    model = from_scratch(SETTINGS, num_classes=3)
    assert not torch.equal(model.conv1.weight, pretrained["conv1.weight"])
    assert model.fc.out_features == 3
    assert trainable(model) == set(dict(model.named_parameters()))


def test_only_the_frozen_start_trains_the_head_alone():
    assert trainable(frozen(SETTINGS, 3)) == {"fc.weight", "fc.bias"}
    assert len(trainable(fine_tuned(SETTINGS, 3))) == 62


@pytest.fixture
def folder(tmp_path, write_class_folders):
    write_class_folders(tmp_path / "train", {"a": 10, "b": 10})
    write_class_folders(tmp_path / "test", {"a": 4, "b": 4})
    return tmp_path


def test_the_starts_get_the_same_images_steps_and_seed(monkeypatch, folder):
    seen = []

    def spy(model, train, val, settings, cache_features):
        images = [tuple(part.indices) for part in (train, val)]
        seen.append((images, settings.epochs, settings.seed, settings.batch_size))
        return History([EpochMetrics(1, 1.0, 0.5, 1.0, 0.5, 0.0)])

    monkeypatch.setattr(comparison, "fit", spy)
    settings = Settings(dataset=f"folder:{folder}", image_size=32, batch_size=8, seed=7, device="cpu")
    runs = [train_from(start, settings, steps=5) for start in INIT_STRATEGIES]
    assert [run.start for run in runs] == ["from scratch", "frozen", "fine-tuned"]
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][1] == 3  # 16 training images are two batches of 8: three epochs give at least five steps
    assert {run.images_per_class for run in runs} == {10}


def test_training_images_are_varied_and_the_others_are_not(folder):
    settings = Settings(dataset=f"folder:{folder}", image_size=32, device="cpu")
    splits = comparison.load_splits(settings, train_transform=comparison.augment(settings))
    versions = {splits.train[0][0].numpy().tobytes() for _ in range(8)}
    assert len(versions) > 1
    for part in (splits.val, splits.test):
        assert torch.equal(part[0][0], part[0][0])


def test_a_shift_brings_no_colour_into_a_photograph_that_is_not_in_it():
    transform = comparison.augment(Settings(image_size=40, device="cpu"))
    lawn = Image.new("RGB", (50, 60), (40, 120, 30))
    plain = comparison.backbone_transform(comparison.backbone_weights(Settings()), 40)(lawn)
    for _ in range(8):
        assert torch.allclose(transform(lawn), plain)


def test_a_shift_moves_the_picture_by_up_to_a_tenth():
    dot = Image.new("RGB", (40, 40))
    dot.putpixel((20, 20), (255, 255, 255))
    shifted = comparison.augment(Settings(image_size=40, device="cpu"))
    places = {divmod(int(shifted(dot).sum(dim=0).argmax()), 40) for _ in range(200)}
    for axis in (0, 1):
        moved = [place[axis] for place in places]
        assert (min(moved), max(moved)) in {(16, 24), (15, 24)}  # 15: of a mirrored column 20 of 40


def test_the_same_seed_gives_the_same_run(folder):
    settings = Settings(dataset=f"folder:{folder}", image_size=32, batch_size=8, device="cpu")
    first, second = (train_from(INIT_STRATEGIES[2], settings, steps=2) for _ in range(2))
    losses = [[epoch.train_loss for epoch in run.history.epochs] for run in (first, second)]
    assert losses[0] == losses[1]
    assert first.test_accuracy == second.test_accuracy
    other = train_from(INIT_STRATEGIES[2], settings.model_copy(update={"seed": 1}), steps=2)
    assert [epoch.train_loss for epoch in other.history.epochs] != losses[0]


def test_as_many_test_images_are_used_as_asked_for(monkeypatch, folder):
    sizes, real = [], comparison.evaluate

    def spy(model, dataset):
        sizes.append(len(dataset))
        return real(model, dataset)

    monkeypatch.setattr(comparison, "evaluate", spy)
    settings = Settings(dataset=f"folder:{folder}", image_size=32, batch_size=8, device="cpu")
    for asked in (None, 4):
        train_from(INIT_STRATEGIES[1], settings, steps=1, test_images=asked)
    assert sizes == [8, 4]


def a_run(accuracies, seconds):
    epochs = [EpochMetrics(n, 1.0, 0.5, 1.0, accuracy, 2.0) for n, accuracy in enumerate(accuracies, 1)]
    return Run("frozen", "pets", 20, 0, 0.5, seconds, History(epochs))


def test_time_to_an_accuracy_counts_what_came_before_the_first_epoch():
    run = a_run([0.25, 0.5, 0.75], seconds=7.5)  # three epochs of 2 s, and 1.5 s for the features
    assert seconds_until(run, 0.25) == pytest.approx(3.5)
    assert seconds_until(run, 0.6) == pytest.approx(7.5)
    assert seconds_until(run, 0.8) == math.inf


def test_interval_of_a_mean_is_students():
    mean, low, high = mean_interval([0.4, 0.5, 0.6])
    assert mean == pytest.approx(0.5)
    assert high - mean == pytest.approx(4.30265 * 0.1 / math.sqrt(3), rel=1e-5)  # t for 2 degrees of freedom
    assert mean - low == pytest.approx(high - mean)


def test_one_run_has_no_interval_to_speak_of():
    assert mean_interval([0.4]) == (0.4, -math.inf, math.inf)


def test_summary_has_one_row_for_each_start_and_number_of_images():
    rows = [["pets", 5, start, accuracy] for start in ("frozen", "from scratch") for accuracy in (0.4, 0.6)]
    table = aggregate_runs(
        pd.DataFrame(rows, columns=["dataset", "images_per_class", "start", "test_accuracy"])
    )
    assert list(table.start) == ["frozen", "from scratch"]
    assert list(table.seeds) == [2, 2]
    assert list(table.accuracy) == pytest.approx([0.5, 0.5])
