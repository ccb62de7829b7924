"""Tests of the detector of pictures of no known class."""

import pytest
import torch
from torch.utils.data import TensorDataset

from course_utils.evaluation.detection import feature_distance


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
