"""What happens when training goes wrong or is stopped: Ctrl-C, losses that are no numbers, wrong labels."""

import math
import re

import pytest
import torch
from small_networks import Pictures, SmallNet, same, some_settings, state
from torch import nn
from torchvision.models import resnet18

from course_utils.errors import ConfigError, DataError, TrainingError
from course_utils.models.freezing import freeze
from course_utils.training import loop as training
from course_utils.training.history import History
from course_utils.training.loop import evaluate_loss, fit


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmallNet()


@pytest.fixture
def weights_of_epochs(monkeypatch):
    """Return a list to which the weights of the trained network are added at the end of every epoch."""
    seen = []

    def spy(network, loader, accelerator):
        seen.append(state(network))
        return evaluate_loss(network, loader, accelerator)

    monkeypatch.setattr(training, "evaluate_loss", spy)
    return seen


def interrupt_at(read_to_stop):
    def change(read, image):
        if read == read_to_stop:
            raise KeyboardInterrupt
        return image

    return change


def test_interrupted_run_keeps_the_finished_epochs_and_the_best_weights(model, weights_of_epochs):
    train = Pictures(24, change=interrupt_at(24 + 20))
    history = fit(model, train, Pictures(9, seed=2), some_settings(epochs=5))
    assert history.interrupted
    assert [epoch.epoch for epoch in history.epochs] == [1]
    assert same(state(model), weights_of_epochs[0])
    assert not model.training


def test_run_interrupted_in_its_first_epoch_leaves_the_network_as_it_was(model):
    before = state(model)
    history = fit(model, Pictures(24, change=interrupt_at(20)), Pictures(9, seed=2), some_settings())
    assert history.interrupted and history.epochs == []
    assert same(state(model), before)


def test_history_without_a_finished_epoch_is_an_empty_table():
    assert len(History(interrupted=True).to_frame()) == 0


def test_run_that_ends_by_itself_is_not_marked_interrupted(model):
    assert not fit(model, Pictures(24), Pictures(9, seed=2), some_settings()).interrupted


def nan_from(first_bad_read):
    return lambda read, image: image * float("nan") if read >= first_bad_read else image


@pytest.mark.parametrize("epoch, batch", [(1, 2), (2, 2), (2, 1)])
def test_loss_that_is_not_a_number_stops_the_run(
    model, weights_of_epochs, assert_says_four_things, epoch, batch
):
    bad_read, step = 24 * (epoch - 1) + 8 * (batch - 1) + 1, 3 * (epoch - 1) + batch - 1
    rate = 0.01 / 2 * (1 + math.cos(math.pi * step / 9))
    with pytest.raises(TrainingError) as caught:
        fit(model, Pictures(24, change=nan_from(bad_read)), Pictures(9, seed=2), some_settings(epochs=3))
    text = str(caught.value)
    assert_says_four_things(caught.value)
    assert f"epoch {epoch}, batch {batch}" in text
    assert f"a learning rate of {rate:g}" in text
    assert "found:    nan" in text
    before = re.search(r"a finite loss \((it is the first of the epoch|the mean was [\d.]+)\)", text)
    assert before[1].startswith("it is") == (batch == 1)
    assert [finished.epoch for finished in caught.value.history.epochs] == list(range(1, epoch))
    if epoch > 1:
        assert same(state(model), weights_of_epochs[0])
    assert not model.training


@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])
def test_parameters_and_buffers_are_finite_after_a_loss_that_is_not(model, is_frozen):
    if is_frozen:
        freeze(model)
    train = Pictures(24)
    train.images[11, 0, 0, 0] = float("nan")
    before = state(model)
    with pytest.raises(TrainingError):
        fit(model, train, Pictures(9, seed=2), some_settings())
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert same(state(model), before)


def test_network_that_diverges_in_the_very_last_step_is_an_error_too():
    torch.manual_seed(0)
    model = resnet18(num_classes=3)
    with pytest.raises(TrainingError):
        fit(model, Pictures(8, size=32), Pictures(8, seed=2, size=32), some_settings(epochs=1, lr=10.0))


@pytest.mark.parametrize("label", [-1, -100, 3, 1000])
@pytest.mark.parametrize("split", ["train", "val"])
def test_label_that_is_no_class_is_an_error_before_any_image_is_read(
    model, assert_says_four_things, split, label
):
    splits = {"train": Pictures(24), "val": Pictures(24, seed=2)}
    splits[split].targets[5] = splits[split].targets[7] = label
    before = state(model)
    with pytest.raises(DataError) as caught:
        fit(model, splits["train"], splits["val"], some_settings())
    assert_says_four_things(caught.value)
    assert "sample 5 (2 of 24 samples are wrong)" in str(caught.value)
    assert f"label {label}" in str(caught.value)
    assert "from 0 to 2 (3 classes)" in str(caught.value)
    assert splits["train"].read == splits["val"].read == []
    assert same(state(model), before)


def test_head_for_another_number_of_classes_is_an_error(assert_says_four_things):
    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    model.classifier = nn.Linear(512, 3)  # a name that a ResNet never calls
    with pytest.raises(ConfigError, match="replace_head") as caught:
        fit(model, Pictures(24), Pictures(9, seed=2), some_settings())
    assert_says_four_things(caught.value)
    assert "3 outputs" in str(caught.value) and "10 outputs" in str(caught.value)


def test_network_with_nothing_to_train_is_an_error(model, assert_says_four_things):
    freeze(model, except_head=False)
    with pytest.raises(ConfigError, match="nothing to train") as caught:
        fit(model, Pictures(24), Pictures(9, seed=2), some_settings())
    assert_says_four_things(caught.value)
