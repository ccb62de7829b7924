"""Detection: does a picture show any of the classes that a network knows (lesson 11)?

A detector gives each picture a score, higher for what is like the training pictures.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import TensorDataset


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
