"""Detection: does a picture show any of the classes that a network knows (lesson 11)?

A detector gives each picture a score, higher for what is like the training pictures. How well scores tell
known pictures from unknown ones is the area under the ROC curve: 1 is perfect, 0.5 is chance.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import TensorDataset

from course_utils.errors import ConfigError, DataError


def max_probability(logits: torch.Tensor) -> torch.Tensor:
    """Return the highest probability of each row (Hendrycks and Gimpel, 2017, arXiv:1610.02136)."""
    return logits.softmax(dim=1).max(dim=1).values


def energy(logits: torch.Tensor) -> torch.Tensor:
    """Return minus the energy of each row: the log of its sum of exponentials.

    The method is that of Liu et al. (2020, arXiv:2010.03759). Where softmax asks by how much one logit is
    above the others, this asks how high they are.
    """
    return logits.logsumexp(dim=1)


def feature_distance(train: TensorDataset) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a detector: minus the squared Mahalanobis distance to the nearest class (Lee et al., 2018,
    arXiv:1807.03888).

    Each class is the mean of its features; all share one covariance, which is drawn towards a multiple of the
    unit matrix (Ledoit and Wolf, 2004, doi:10.1016/S0047-259X(03)00096-4), since there are fewer images than
    it has numbers.

    Args:
        train: Features of the training images (float32, [images, features]) and their labels.

    Returns:
        A function from features to scores (float64, [images]).
    """
    from sklearn.covariance import LedoitWolf  # slow to import: only where it is needed

    features, labels = (tensor.numpy() for tensor in train.tensors)
    _, own_class = np.unique(labels, return_inverse=True)
    means = np.stack([features[own_class == number].mean(axis=0) for number in range(own_class.max() + 1)])
    covariance = LedoitWolf(assume_centered=True).fit(features - means[own_class])
    # After this change of axes, the distance is the usual one.
    axes = torch.from_numpy(np.linalg.cholesky(covariance.precision_.astype(np.float64)))
    centres = torch.from_numpy(means).double() @ axes
    return lambda found: -torch.cdist(found.double() @ axes, centres).square().min(dim=1).values


def roc_interval(known: torch.Tensor, unknown: torch.Tensor) -> tuple[float, float, float]:
    """Return the area under the ROC curve and the ends of its 95 % interval, from two sets of scores.

    The area is the probability that a known picture has a higher score than an unknown one. Its variance over
    other images of either set is that of DeLong et al. (1988, doi:10.2307/2531595). Near 1 an interval must
    not be symmetric: it is Wilson's, for as many images as would give an accuracy this variance, but at most
    twice those of the smaller set, since few images often happen to show no mistake.

    Raises:
        DataError: If either set is empty.
    """
    if not (len(known) and len(unknown)):
        raise DataError(
            "There is no area under the ROC curve without scores of both kinds.",
            where="roc_interval",
            expected="scores of at least one known and one unknown picture",
            found=f"scores of {len(known)} known and {len(unknown)} unknown pictures",
            do="Check from which pictures the empty set was made.",
        )
    known, unknown = np.asarray(known), np.asarray(unknown)
    higher = (known[:, None] > unknown) + (known[:, None] == unknown) / 2  # for each pair
    area, images = float(higher.mean()), 2 * min(higher.shape)
    for_each_image = (higher.mean(axis=1), higher.mean(axis=0))
    variance = sum(np.var(own) / max(1, len(own) - 1) for own in for_each_image)
    if variance > 0:
        images = min(images, area * (1 - area) / variance)
    z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations
    centre = (area + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * np.sqrt(area * (1 - area) / images + (z / (2 * images)) ** 2)
    return area, max(0.0, float(centre - half)), min(1.0, max(area, float(centre + half)))


def threshold_keeping(scores: torch.Tensor, share: float = 0.95) -> float:
    """Return the highest threshold that at least this share of the scores is not below.

    Give it the scores of *validation* images: a threshold is a setting.

    Raises:
        ConfigError: If there is no score, or the share is not above 0 and at most 1.
    """
    if not (0 < share <= 1 and len(scores)):
        raise ConfigError(
            "No threshold keeps this share of the scores.",
            where="threshold_keeping",
            expected="at least one score, and a share above 0 and up to 1",
            found=f"{len(scores)} scores and a share of {share!r}",
            do="Give the scores of the validation images, and a share such as 0.95.",
        )
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    return float(ordered[int(np.floor(round(len(ordered) * (1 - share), 6)))])
