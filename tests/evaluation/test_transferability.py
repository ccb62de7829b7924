"""LogME: the evidence is as high as it can be, and informative features have more of it than noise."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from course_utils.errors import DataError
from course_utils.evaluation.transferability import log_me


def some_features(images, width, noise, seed=0):
    """Return features of three classes, which lie around a point each, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % 3)
    features = rng.normal(size=(3, width))[labels] + noise * rng.normal(size=(images, width))
    return torch.from_numpy(features), torch.from_numpy(labels)


def highest_evidence(features, labels):
    """Return the same by another way: labels are normal with a known covariance; scipy looks for the top."""
    found, ones = [], np.eye(len(labels))
    for number in range(3):
        target = (labels.numpy() == number).astype(float)

        def loss(logs, target=target):
            alpha, beta = np.exp(logs)
            covariance = ones / beta + features.numpy() @ features.numpy().T / alpha
            return -multivariate_normal(np.zeros(len(target)), covariance).logpdf(target) / len(target)

        starts = [(0, 0), (3, 2), (-2, 2)]
        tops = [minimize(loss, start, method="Nelder-Mead", options={"fatol": 1e-9}) for start in starts]
        found.append(-min(top.fun for top in tops))
    return np.mean(found)


@pytest.mark.parametrize(
    ("images", "width", "noise"), [(45, 4, 1), (30, 30, 1), (30, 50, 0.5), (50, 512, 5)], ids=str
)
def test_evidence_is_as_high_as_it_can_be(images, width, noise):
    features, labels = some_features(images, width, noise)
    wanted = highest_evidence(features, labels)
    assert log_me(features, labels) == pytest.approx(wanted, abs=1e-5)
    assert log_me(features.float(), labels) == pytest.approx(wanted, abs=1e-4)


def test_order_and_numbering_of_classes_do_not_matter():
    features, labels = some_features(60, 10, 1)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    found = log_me(features, labels)
    assert log_me(features[order], 7 * labels[order] + 2) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("features", [torch.zeros(12, 5), torch.eye(12)], ids=["all the same", "one each"])
def test_features_that_tell_nothing_or_everything_give_a_number(features):
    assert np.isfinite(log_me(features, torch.arange(12) % 3))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda features, labels: (features, labels[:-1]), "11 labels"),
        (lambda features, labels: (features, 0 * labels), "1 classes"),
        (lambda features, labels: (features[:, 0], labels), "shape \\[12\\]"),
        (lambda features, labels: (features / 0, labels), "60 of their numbers not finite"),
    ],
    ids=["a label missing", "one class", "no matrix", "not finite"],
)
def test_what_cannot_be_judged_is_refused(change, found, refused):
    with refused(DataError, f"LogME cannot be computed(?s:.*){found}"):
        log_me(*change(*some_features(12, 5, 1)))
