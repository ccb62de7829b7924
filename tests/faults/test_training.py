"""Faults 30 and 32 in training, beside what tests/training/test_loop.py shows."""

import io
import pickle

import pytest
import torch
from small_networks import Pictures, norm_net, same, some_settings, state

from course_utils.errors import TrainingError
from course_utils.models.freezing import freeze
from course_utils.training.loop import fit

SETTINGS = some_settings()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return norm_net()


# 30. A batch of one image


@pytest.mark.parametrize("count, batch_size", [(9, 1), (1, 8)])
def test_fault_30_every_batch_of_one(model, count, batch_size):
    settings = some_settings(epochs=1, batch_size=batch_size)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fit(model, Pictures(count), Pictures(4), settings)
    freeze(model)
    assert len(fit(model, Pictures(count), Pictures(4), settings).epochs) == 1


def test_fault_30_last_batch_of_one(model):
    assert len(fit(model, Pictures(9), Pictures(4), SETTINGS).epochs) == 2


# 32. Ctrl-C


@pytest.mark.parametrize("read", [1, 40])
def test_fault_32_ctrl_c_while_features_are_computed(model, read):
    def interrupt(count, image):
        if count == read:
            raise KeyboardInterrupt
        return image

    freeze(model)
    head, before = model.fc, state(model)
    history = fit(model, Pictures(24, change=interrupt), Pictures(9), SETTINGS)
    assert history.interrupted and history.epochs == []
    assert model.fc is head and same(state(model), before) and not model.training


def test_errors_survive_pickling():
    error = TrainingError("a", where="b", expected="c", found="d", do="e")
    again = pickle.load(io.BytesIO(pickle.dumps(error)))
    assert (type(again), str(again)) == (TrainingError, str(error))
