"""Tests of the calibration error, and of the temperature that mends it without changing a prediction."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_evaluations import CLASSES, an_evaluation
from torch import nn

from course_utils.errors import ConfigError
from course_utils.evaluation.calibration import (
    calibration_error,
    calibration_interval,
    fit_temperature,
    reliability_table,
    with_temperature,
)
from course_utils.evaluation.metrics import Evaluation


def cats(confidences, correct):
    """Return predictions of these confidences, all of them "cat", that are correct or not."""
    return an_evaluation([0 if one else 1 for one in correct], [0] * len(correct), torch.tensor(confidences))


def calibrated_logits(images, seed=0):
    """Return logits (float64), and labels that are drawn from the very probabilities these logits give."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, 3, generator=random, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=random).flatten()


def evaluation_of(logits, labels):
    return Evaluation(logits.softmax(dim=1).float(), labels, CLASSES)


# Two bins: [0, 0.5) has 0.4 and 0.45, one right; [0.5, 1] has 0.6, 0.8, 0.9 and 1.0, three right.
BY_HAND = cats([0.4, 0.45, 0.6, 0.8, 0.9, 1.0], [True, False, True, True, False, True])


def test_reliability_table_worked_out_by_hand():
    table = reliability_table(BY_HAND, bins=2)
    assert table.images.tolist() == [2, 4]
    assert table.low.tolist() == [0, 0.5] and table.high.tolist() == [0.5, 1]
    assert table.confidence.tolist() == pytest.approx([0.425, 0.825])
    assert table.accuracy.tolist() == [0.5, 0.75]
    # Empty bins are left out, and an edge belongs to the bin above.
    table = reliability_table(cats([0.5, 0.75, 1.0, 1.0], [True, True, True, False]), bins=4)
    assert table.low.tolist() == [0.5, 0.75] and table.images.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("result", "bins", "error"),
    [
        (BY_HAND, 2, 0.075),  # |0.425 - 0.5| for 2 of 6 images, |0.825 - 0.75| for 4 of 6
        (BY_HAND, 1, 0.025),  # |4.15/6 - 4/6|
        (cats([0.9, 0.9, 0.9, 0.6], [True, True, False, True]), 15, 0.275),  # 0.7/3 for three, 0.4 for one
        (cats([0.96, 1.0], [True, False]), 15, 0.48),  # a bin of its own for the 1 would give 0.52
        (cats([0.8] * 10 + [0.5] * 4, [True] * 8 + [False] * 2 + [True, False] * 2), 15, 0),
        (cats([1.0, 1.0], [False, False]), 15, 1),
    ],
    ids=["two bins", "one bin", "weighted", "1 is in the last bin", "calibrated", "sure and wrong"],
)
def test_calibration_error_worked_out_by_hand(result, bins, error):
    assert calibration_error(result, bins) == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize(("sharpness", "bins"), [(1, 15), (3, 5)])
def test_the_interval_of_the_calibration_error_holds_that_of_many_images(sharpness, bins):
    def result(images, seed):
        logits, labels = calibrated_logits(images, seed)
        return evaluation_of(sharpness * logits, labels)

    truth = calibration_error(result(100_000, 1000), bins)
    results = [result(150, seed) for seed in range(100)]
    found = [calibration_interval(own, bins, resamples=500) for own in results]
    assert [error for error, *_ in found] == [calibration_error(own, bins) for own in results]
    assert sum(low <= truth + 0.005 and truth <= high for _, low, high in found) >= 92
    assert all(0 <= low <= error < high <= 1 for error, low, high in found)
    assert np.mean([error for error, *_ in found]) > truth  # chance adds to the error itself


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 8.0])
def test_no_other_temperature_has_a_lower_loss(sharpness):
    logits, labels = calibrated_logits(2000)

    def loss(temperature):
        return nn.functional.cross_entropy(sharpness * logits / temperature, labels).item()

    found = fit_temperature(evaluation_of(sharpness * logits, labels))
    assert found == pytest.approx(sharpness, rel=0.1)  # which makes the labels as probable as they are
    assert loss(found) <= min(loss(0.05 * 1.02**step) for step in range(300)) + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 20), st.floats(0.1, 50), st.integers(0, 1000))
def test_with_temperature_keeps_every_prediction_and_the_accuracy(temperature, sharpness, seed):
    logits, labels = calibrated_logits(50, seed)
    result = evaluation_of(sharpness * logits, labels)
    scaled = with_temperature(result, temperature)
    torch.testing.assert_close(scaled.probabilities.sum(dim=1), torch.ones(50))
    assert torch.equal(scaled.predictions, result.predictions)
    assert scaled.accuracy == result.accuracy


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_above_0_is_an_error(temperature):
    with pytest.raises(ConfigError, match=repr(temperature)):
        with_temperature(BY_HAND, temperature)
