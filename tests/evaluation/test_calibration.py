"""Is the calibration error right, and does a temperature mend it without changing an answer?"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils import figures
from course_utils.errors import ConfigError
from course_utils.evaluation.calibration import (
    calibration_error,
    fit_temperature,
    reliability_table,
    with_temperature,
)
from course_utils.evaluation.metrics import Evaluation, accuracy_interval

CLASSES = ["cat", "dog", "ship"]


def an_evaluation(confidences, right):
    """Return answers of these confidences, all of them "cat", that are right or not."""
    sure = torch.tensor(confidences).unsqueeze(1)
    probabilities = torch.cat([sure, (1 - sure) / 2, (1 - sure) / 2], dim=1)
    return Evaluation(probabilities, torch.where(torch.tensor(right), 0, 1), CLASSES)


def honest_logits(images, seed=0):
    """Return logits (float64) and labels that are drawn from the very probabilities these logits give."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, 3, generator=random, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=random).flatten()


def an_evaluation_of(logits, labels):
    return Evaluation(logits.softmax(dim=1).float(), labels, CLASSES)


# Two bins: [0, 0.5) has 0.4 and 0.45, one right; [0.5, 1] has 0.6, 0.8, 0.9 and 1.0, three right.
BY_HAND = an_evaluation([0.4, 0.45, 0.6, 0.8, 0.9, 1.0], [True, False, True, True, False, True])


def test_calibration_error_worked_out_by_hand():
    # |0.425 - 0.5| for 2 of 6 images, |0.825 - 0.75| for 4 of 6.
    assert calibration_error(BY_HAND, bins=2) == pytest.approx(0.075, abs=1e-6)
    # One bin: |mean confidence - accuracy| = |4.15/6 - 4/6|.
    assert calibration_error(BY_HAND, bins=1) == pytest.approx(0.025, abs=1e-6)


def test_reliability_table_worked_out_by_hand():
    table = reliability_table(BY_HAND, bins=2)
    assert table.images.tolist() == [2, 4]
    assert table.low.tolist() == [0, 0.5]
    assert table.high.tolist() == [0.5, 1]
    assert table.confidence.tolist() == pytest.approx([0.425, 0.825])
    assert table.accuracy.tolist() == [0.5, 0.75]


def test_reliability_table_leaves_out_empty_bins_and_puts_an_edge_into_the_bin_above():
    table = reliability_table(an_evaluation([0.5, 0.75, 1.0, 1.0], [True, True, True, False]), bins=4)
    assert table.index.tolist() == [2, 3]
    assert table.low.tolist() == [0.5, 0.75]
    assert table.images.tolist() == [1, 3]


@pytest.mark.parametrize("bins", [1, 4, 15, 100])
def test_calibration_error_is_the_weighted_distance_in_the_reliability_table(bins):
    logits, labels = honest_logits(500)
    result = an_evaluation_of(3 * logits, labels)  # too sure; many a confidence is 1 to the last bit
    table = reliability_table(result, bins)
    by_table = ((table.confidence - table.accuracy).abs() * table.images).sum() / 500
    assert table.images.sum() == 500
    assert calibration_error(result, bins) == pytest.approx(by_table, abs=1e-5)


def test_a_confidence_of_1_shares_the_last_bin():
    # One bin: 0.98 on average, one of two right. A bin of its own for the 1 would give (0.04 + 1) / 2.
    assert calibration_error(an_evaluation([0.96, 1.0], [True, False])) == pytest.approx(0.48, abs=1e-6)


def test_perfect_calibration_has_no_error():
    result = an_evaluation([0.8] * 10 + [0.5] * 4, [True] * 8 + [False] * 2 + [True] * 2 + [False] * 2)
    assert calibration_error(result) == pytest.approx(0, abs=1e-6)


def test_an_answer_that_is_sure_and_wrong_has_an_error_of_1():
    assert calibration_error(an_evaluation([1.0, 1.0], [False, False])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_fit_temperature_finds_the_temperature_that_was_put_in(temperature):
    logits, labels = honest_logits(20_000)
    found = fit_temperature(an_evaluation_of(temperature * logits, labels))
    assert found == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_has_a_lower_loss():
    logits, labels = honest_logits(200)
    result = an_evaluation_of(3 * logits, labels)

    def loss(temperature):
        return nn.functional.cross_entropy(3 * logits / temperature, labels).item()

    found = fit_temperature(result)
    assert loss(found) <= min(loss(0.05 * 1.02**step) for step in range(300)) + 1e-9


def test_temperature_of_one_set_of_images_mends_the_confidence_on_another():
    logits, labels = honest_logits(2500)
    temperature = fit_temperature(an_evaluation_of(4 * logits[:500], labels[:500]))
    test = an_evaluation_of(4 * logits[500:], labels[500:])
    assert calibration_error(with_temperature(test, temperature)) < calibration_error(test) / 3


def test_temperature_can_be_fitted_where_the_right_class_was_given_a_probability_of_0():
    logits, labels = honest_logits(500)
    result = an_evaluation_of(3 * logits, labels)
    result.probabilities[0], result.labels[0] = torch.tensor([1.0, 0.0, 0.0]), 1
    assert 2.5 < fit_temperature(result) < 5


def test_answers_without_a_mistake_have_the_lowest_temperature():
    assert fit_temperature(an_evaluation([0.6, 0.9], [True, True])) == pytest.approx(0.05, rel=0.01)


def test_with_temperature_divides_the_logits():
    logits, labels = honest_logits(100)
    scaled = with_temperature(an_evaluation_of(logits, labels), 2.5)
    torch.testing.assert_close(scaled.probabilities, (logits / 2.5).softmax(dim=1).float())
    assert scaled.probabilities.dtype == torch.float32
    assert scaled.labels is labels and scaled.classes == CLASSES


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 20), st.floats(0.1, 50), st.integers(0, 1000))
def test_with_temperature_keeps_every_prediction_and_the_accuracy(temperature, sharpness, seed):
    logits, labels = honest_logits(50, seed)
    result = an_evaluation_of(sharpness * logits, labels)
    scaled = with_temperature(result, temperature)
    torch.testing.assert_close(scaled.probabilities.sum(dim=1), torch.ones(50))
    assert torch.equal(scaled.predictions, result.predictions)
    assert scaled.accuracy == result.accuracy


def test_a_high_temperature_makes_less_sure_and_a_low_one_surer():
    first, second, third = (
        with_temperature(BY_HAND, temperature).probabilities.max(dim=1).values for temperature in (0.5, 1, 2)
    )
    assert (first[:5] > second[:5]).all() and (second[:5] > third[:5]).all()


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_above_0_is_an_error(temperature, assert_says_four_things):
    with pytest.raises(ConfigError) as caught:
        with_temperature(BY_HAND, temperature)
    assert_says_four_things(caught.value)
    assert repr(temperature) in str(caught.value)


def test_reliability_shows_each_bin_with_its_interval_and_its_images():
    six = an_evaluation([0.9] * 6, [True, False] * 3)
    above, below = figures.reliability({"before": six}).axes
    assert above.get_title() == "before\nECE 0.400"
    points, _, (bars,) = above.containers[0]
    assert points.get_xydata() == pytest.approx(np.array([[0.9, 0.5]]))
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx(accuracy_interval(3, 6))
    assert [bar.get_height() for bar in below.patches] == [6]
    assert below.patches[0].get_x() == pytest.approx(13 / 15)
