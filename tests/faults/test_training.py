"""Faults 28, 30 and 32 in training, beside what tests/training/test_checks.py shows."""

import io
import pickle

import pytest
import torch
from small_networks import ChangedPictures as Pictures
from small_networks import norm_net, same, state

from course_utils.errors import DataError, TrainingError
from course_utils.evaluation import evaluate
from course_utils.models import freeze
from course_utils.settings import Settings
from course_utils.training import fit, lr_range_test

SETTINGS = Settings(epochs=2, batch_size=8, lr=0.01, device="cpu")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return norm_net()


# 28. Labels that are no classes


@pytest.mark.parametrize(
    "given", [3, -100, 1.0, "cat", torch.tensor([1, 0, 0])], ids=["3", "-100", "1.0", "cat", "one hot"]
)
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])
def test_fault_28_labels_that_a_target_transform_has_changed(
    model, given, split, is_frozen, assert_says_four_things
):
    if is_frozen:
        freeze(model)
    splits = {"train": Pictures(24), "val": Pictures(9)}
    splits[split].change = lambda read, image, label: (image, given)
    before = state(model)
    with pytest.raises(DataError, match="not the number of a class") as caught:
        fit(model, splits["train"], splits["val"], SETTINGS)
    assert_says_four_things(caught.value)
    assert split == "val" or same(state(model), before)


def test_fault_28_fewer_labels_than_images(model, assert_says_four_things):
    dataset = Pictures(24)
    dataset.targets = dataset.targets[:20]
    with pytest.raises(DataError, match="20 for 24 images") as caught:
        fit(model, dataset, Pictures(9), SETTINGS)
    assert_says_four_things(caught.value)


def test_fault_28_wrong_labels_are_reported_wherever_a_network_is_used(model, assert_says_four_things):
    dataset = Pictures(24)
    dataset.targets[5] = 7
    for use in (evaluate, lambda *those: lr_range_test(*those, SETTINGS)):
        with pytest.raises(DataError, match="label 7") as caught:
            use(model, dataset)
        assert_says_four_things(caught.value)


# 30. A batch of one image


@pytest.mark.parametrize("count, batch_size", [(9, 1), (1, 8)])
def test_fault_30_every_batch_of_one(model, count, batch_size, assert_says_four_things):
    settings = Settings(epochs=1, batch_size=batch_size, device="cpu")
    with pytest.raises(TrainingError, match="BatchNorm") as caught:
        fit(model, Pictures(count), Pictures(4), settings)
    assert_says_four_things(caught.value)
    freeze(model)
    assert len(fit(model, Pictures(count), Pictures(4), settings).epochs) == 1


def test_fault_30_last_batch_of_one(model):
    assert len(fit(model, Pictures(9), Pictures(4), SETTINGS).epochs) == 2


# 32. Ctrl-C


@pytest.mark.parametrize("read", [1, 20, 40, 56])
def test_fault_32_ctrl_c_while_features_are_computed(model, read):
    def interrupt(count, image, label):
        if count == read:
            raise KeyboardInterrupt
        return image, label

    freeze(model)
    head, before = model.fc, state(model)
    history = fit(model, Pictures(24, change=interrupt), Pictures(9), SETTINGS)
    assert history.interrupted and history.epochs == []
    assert model.fc is head and same(state(model), before) and not model.training


def test_errors_survive_pickling():
    error = TrainingError("a", where="b", expected="c", found="d", do="e")
    again = pickle.load(io.BytesIO(pickle.dumps(error)))
    assert (type(again), str(again)) == (TrainingError, str(error))
