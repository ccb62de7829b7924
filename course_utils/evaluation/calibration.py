"""Calibration: how far a network's confidence can be trusted (lesson 10).

A network is *calibrated* if 80 % of the predictions with a confidence of 80 % are correct. If it is not, one
number, the temperature, can often correct it (Guo et al., 2017, arXiv:1706.04599).
"""

import math

import numpy as np
import pandas as pd
import torch
from torch import nn

from course_utils.errors import ConfigError
from course_utils.evaluation.metrics import Evaluation

# The range of the search. If no validation image is misclassified, the loss falls with the temperature
# without end, so the lowest one is returned.
TEMPERATURES = 0.05, 20.0


def reliability_table(result: Evaluation, bins: int = 15) -> pd.DataFrame:
    """Compare confidence with accuracy, in bins of equal width.

    Return one row for each bin with predictions: `low` and `high` (its ends; `high` belongs to the next bin,
    but 1 to the last), `confidence` (mean), `accuracy`, and `images`. All but `images` are from 0 to 1.
    """
    confidence = result.probabilities.max(dim=1).values
    edges = torch.linspace(0, 1, bins + 1)
    predictions = pd.DataFrame(
        {
            "bin": (torch.bucketize(confidence, edges, right=True) - 1).clamp(max=bins - 1),
            "confidence": confidence.double(),
            "correct": result.predictions == result.labels,
        }
    )
    table = predictions.groupby("bin").agg(
        confidence=("confidence", "mean"), accuracy=("correct", "mean"), images=("correct", "size")
    )
    table.insert(0, "low", edges.numpy()[table.index])
    table.insert(1, "high", edges.numpy()[table.index + 1])
    return table


def calibration_error(result: Evaluation, bins: int = 15) -> float:
    """Return the expected calibration error (Naeini et al., 2015, AAAI 29): 0 to 1, 0 is best.

    It is the mean, over images, of the distance between the confidence and the accuracy of their bin.
    It is never quite 0: in a bin with few images the accuracy is off by chance.
    """
    table = reliability_table(result, bins)
    return float(np.average((table.confidence - table.accuracy).abs(), weights=table.images))


def calibration_interval(
    result: Evaluation, bins: int = 15, *, resamples: int = 1000
) -> tuple[float, float, float]:
    """Return the expected calibration error and the ends of its interval, which holds the true one in at
    least about 95 of 100 cases (`benchmarks/coverage.py`).

    Chance pushes the accuracy of each bin up or down, and both add to the error. So the lower end subtracts
    as much as chance adds at most in 39 of 40 draws, which is too much unless the network is calibrated.
    Chance hides error only if it moves all bins the same way: that gives the upper end. Chance is simulated
    with binomial distributions, with four calibrated images added to each bin, because an accuracy of 0 or 1
    in a bin with few images does not rule out chance.
    """
    table, error = reliability_table(result, bins), calibration_error(result, bins)
    images = table.images.to_numpy()
    accuracy = ((images * table.accuracy + 4 * table.confidence) / (images + 4)).clip(0, 1).to_numpy()
    correct = np.random.default_rng(0).binomial(images, accuracy, (resamples, len(images)))
    chance = (correct - images * accuracy) / images.sum()
    added = np.quantile(np.abs(chance).sum(axis=1), 0.975)
    hidden = np.quantile(np.abs(chance.sum(axis=1)), 0.95)
    return error, max(0.0, float(error - added)), min(1.0, float(error + hidden))


def fit_temperature(result: Evaluation) -> float:
    """Return the temperature, from 0.05 to 20, that gives the labels the lowest mean cross-entropy.

    Above 1, the network was overconfident; below 1, underconfident. Give it predictions for *validation*
    images: a temperature is a setting, and the test set must not choose settings.
    """
    from scipy.optimize import minimize_scalar  # half a second: only where it is needed

    log_probabilities = _log_probabilities(result)

    def loss(log_temperature: float) -> float:
        scaled = log_probabilities / math.exp(log_temperature)
        return nn.functional.cross_entropy(scaled, result.labels).item()

    # There is one minimum: the loss is convex in 1/temperature.
    bounds = tuple(math.log(bound) for bound in TEMPERATURES)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)


def with_temperature(result: Evaluation, temperature: float) -> Evaluation:
    """Return the evaluation as if the network's logits were divided by a temperature.

    Above 1, the confidence falls; below 1, it rises. The order of the classes stays, and with it every
    prediction and the accuracy.

    Raises:
        ConfigError: If the temperature is not a number above 0.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(
            "This temperature cannot be used.",
            where="temperature",
            expected="a number above 0",
            found=repr(temperature),
            do="Take the one that fit_temperature(val_result) returns.",
        )
    scaled = (_log_probabilities(result) / temperature).softmax(dim=1)
    return result._replace(probabilities=scaled.float())


def _log_probabilities(result: Evaluation) -> torch.Tensor:
    """Return the logits but for a constant in each row, which softmax ignores: float64.

    A probability that was rounded to 0 counts as the smallest float32, since its logarithm is not finite.
    """
    return result.probabilities.double().clamp(min=torch.finfo(torch.float32).tiny).log()
