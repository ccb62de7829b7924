"""Transferability: estimate which network is worth fine-tuning, before training any (lesson 12)."""

import math

import torch
from torch.nn.functional import one_hot

from course_utils.errors import DataError


def log_me(features: torch.Tensor, labels: torch.Tensor) -> float:
    """Return LogME: how probable the labels are, given the features (You et al., 2021, arXiv:2102.11005).

    Each class has a linear model of its one-hot labels: weights from a normal distribution of precision
    alpha, noise from one of precision beta. The evidence is the probability of the labels with the weights
    integrated out, for the best alpha and beta. For each alpha / beta the best beta has a formula, so only
    alpha / beta is searched.

    Args:
        features: float, [images, features], from a frozen network; there may be fewer images than features.
        labels: int, [images].

    Returns:
        The log of the evidence in nats, divided by the number of images, as the mean of all classes. Higher
        is better; only differences between networks on the same images mean something.

    Raises:
        DataError: If there is not one label for each image, if there is only one class, or if a feature is
            not finite.
    """
    classes, own_class = labels.unique(return_inverse=True)
    finite = features.isfinite()
    if features.ndim != 2 or len(features) != len(labels) or len(classes) < 2 or not finite.all():
        raise DataError(
            "LogME cannot be computed.",
            where="log_me(features, labels)",
            expected="finite features, [images, features], a label for each image, two classes or more",
            found=f"features of shape {list(features.shape)}, {(~finite).sum()} of their numbers not finite; "
            f"{len(labels)} labels of {len(classes)} classes",
            do="Pass the output of extract_features: log_me(*features.tensors).",
        )
    targets, images = one_hot(own_class).double(), len(labels)  # [images, classes]
    axes, spread, _ = torch.linalg.svd(features.double(), full_matrices=False)
    strength = spread.square()[:, None] / spread[0].square().clamp(min=1e-300)  # [axes, 1], of any scale
    along = (axes.T @ targets).square()  # [axes, classes]: how much of the labels lies along each axis
    beside = (targets.square().sum(dim=0) - along.sum(dim=0)).clamp(min=0)  # [classes]

    def evidence(log_ratio: torch.Tensor) -> torch.Tensor:
        ratio = log_ratio.exp()
        shrunk = ratio / (strength + ratio)  # [axes, classes]: what is lost along each axis
        beta = images / ((along * shrunk).sum(dim=0) + beside).clamp(min=1e-12)
        return (shrunk.log().sum(dim=0) + images * ((beta / (2 * math.pi)).log() - 1)) / (2 * images)

    best, width = torch.zeros_like(beside), 30.0  # log(alpha / beta) of each class
    for _ in range(6):
        tried = best + width * torch.linspace(-1, 1, 61, dtype=torch.float64)[:, None]  # [61, classes]
        best = tried.gather(0, torch.stack([evidence(one) for one in tried]).argmax(dim=0, keepdim=True))[0]
        width /= 15  # wide enough for the neighbours of the best
    return float(evidence(best).mean())
