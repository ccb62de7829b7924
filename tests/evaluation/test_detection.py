"""Tests of detectors of what is of no class, and of how well they tell it apart."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.utils.data import TensorDataset

from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.detection import (
    energy,
    feature_distance,
    max_probability,
    roc_interval,
    threshold_keeping,
)


def test_max_probability_and_energy_worked_out_by_hand():
    logits = torch.tensor([[0.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    expected = 1 / (1 + np.exp(-3))
    assert max_probability(logits).tolist() == pytest.approx([0.5, expected])
    assert energy(logits).tolist() == pytest.approx([np.log(2), np.log(np.exp(3) + 1)])


def two_classes(images=400, seed=0):
    """Return features of two classes that scatter ten times as far in one direction as in the other."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 2
    centres = torch.tensor([[0.0, 0.0], [0.0, 8.0]])
    return TensorDataset(
        centres[labels] + torch.randn(images, 2, generator=random) * torch.tensor([10.0, 1.0]), labels
    )


def test_distance_is_measured_in_how_far_a_class_scatters():
    distance = feature_distance(two_classes())
    along, across = distance(torch.tensor([[10.0, 0.0], [0.0, -10.0]]))
    assert float(along) == pytest.approx(-1, abs=0.4)  # one standard deviation away, squared
    assert float(across) < 30 * float(along)


def test_distance_works_with_more_features_than_images_and_labels_that_leave_a_gap():
    random = torch.Generator().manual_seed(0)
    train = TensorDataset(torch.randn(20, 50, generator=random), torch.tensor([0, 3] * 10))
    scores = feature_distance(train)(torch.randn(5, 50, generator=random))
    assert scores.shape == (5,) and scores.isfinite().all() and (scores < 0).all()


def test_the_area_is_that_of_scikit_learn_also_with_ties():
    random = torch.Generator().manual_seed(0)
    known, unknown = (torch.randint(3, (n,), generator=random) for n in (40, 30))
    area, low, high = roc_interval(known, unknown)
    assert area == pytest.approx(roc_auc_score([1] * 40 + [0] * 30, torch.cat([known, unknown])))
    assert low < area < high


def test_the_interval_of_the_area_holds_the_truth_and_narrows_with_more_images():
    rng, truth, widths = np.random.default_rng(0), 0.7602, {}  # of two normal distributions, 1 apart
    for images in (40, 160):
        found = [roc_interval(rng.normal(1, 1, images), rng.normal(0, 1, images)) for _ in range(100)]
        assert sum(low <= truth <= high for _, low, high in found) >= 90
        widths[images] = np.mean([high - low for _, low, high in found])
    assert widths[160] == pytest.approx(widths[40] / 2, rel=0.15)


def test_the_interval_of_an_area_near_1_holds_the_truth_with_few_images():
    rng = np.random.default_rng(0)
    found = [roc_interval(rng.normal(2.9045, 1, 20), rng.normal(0, 1, 20)) for _ in range(100)]
    assert sum(low <= 0.98 <= high for _, low, high in found) >= 90


@pytest.mark.parametrize(("known", "unknown"), [([], [0.1]), ([0.1], []), ([], [])])
def test_roc_interval_of_an_empty_set_is_an_error(refused, known, unknown):
    with refused(DataError, f"{len(known)} known and {len(unknown)} unknown", where="roc_interval"):
        roc_interval(torch.tensor(known), torch.tensor(unknown))


@pytest.mark.parametrize(("scores", "share"), [([0.1, 0.2], 0.0), ([0.1], 1.5), ([], 0.95)])
def test_a_share_that_no_threshold_keeps_is_an_error(scores, share):
    with pytest.raises(ConfigError, match="No threshold keeps"):
        threshold_keeping(torch.tensor(scores), share)


@pytest.mark.parametrize(("share", "threshold"), [(0.95, 6), (0.9, 11), (1.0, 1), (0.5, 51)])
def test_a_threshold_keeps_the_share_that_was_asked_for(share, threshold):
    scores = torch.arange(1, 101).flip(0).float()
    assert threshold_keeping(scores, share) == threshold
    assert float((scores >= threshold).float().mean()) == pytest.approx(share)
