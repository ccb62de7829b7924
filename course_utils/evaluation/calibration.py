"""How far can you trust its confidence?

A network is *calibrated* if, of the answers that it is 80 % sure of, 80 % are right. Whether that is so can
be measured on images with labels; where it is not, one number, the temperature, can often mend it (Guo et
al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599).
"""

import math

import pandas as pd
import torch
from torch import nn

from course_utils.errors import ConfigError
from course_utils.evaluation.metrics import Evaluation

# Below this a probability counts as this (the smallest normal float32, about 1e-38): the logarithm of a
# probability that was rounded to 0 would be minus infinity, and with it the loss at every temperature.
SMALLEST_PROBABILITY = torch.finfo(torch.float32).tiny

# Where a temperature is looked for. Without a mistake among the validation images the loss falls as the
# temperature does, for ever; the lowest one is then the answer.
TEMPERATURES = 0.05, 20.0


def reliability_table(result: Evaluation, bins: int = 15) -> pd.DataFrame:
    """Compare how sure the network was with how often it was right.

    The answers are sorted by their confidence (the probability of the answer) into bins of equal width.

    Returns:
        One row for each bin that holds an answer: `low` and `high` (the bin; `high` belongs to the next
        one, 1 to the last), `confidence` (mean), `accuracy`, and `images`. All but the last from 0 to 1.
    """
    confidence = result.probabilities.max(dim=1).values
    edges = torch.linspace(0, 1, bins + 1)
    answers = pd.DataFrame(
        {
            "bin": (torch.bucketize(confidence, edges, right=True) - 1).clamp(max=bins - 1),
            "confidence": confidence.double(),
            "right": result.predictions == result.labels,
        }
    )
    table = answers.groupby("bin").agg(
        confidence=("confidence", "mean"), accuracy=("right", "mean"), images=("right", "size")
    )
    table.insert(0, "low", edges.numpy()[table.index])
    table.insert(1, "high", edges.numpy()[table.index + 1])
    return table


def calibration_error(result: Evaluation, bins: int = 15) -> float:
    """Return the expected calibration error (Naeini et al., 2015, AAAI 29): 0 to 1, 0 is best.

    It is the mean, over images, of the distance between the confidence and the accuracy of their bin.
    It is never quite 0: in a bin with few images the accuracy is off by chance.
    """
    # torchmetrics would give a confidence of exactly 1 a bin of its own.
    probabilities = result.probabilities.clamp(max=1 - torch.finfo(torch.float32).eps)
    from torchmetrics.functional.classification import multiclass_calibration_error  # a second

    error = multiclass_calibration_error(
        probabilities, result.labels, num_classes=len(result.classes), n_bins=bins, norm="l1"
    )
    return float(error)


def fit_temperature(result: Evaluation) -> float:
    """Return the temperature with which the probabilities explain the labels best.

    It is the one with the lowest mean cross-entropy. Above 1: the network was too sure; below 1: not sure
    enough. Give it answers to *validation* images: a temperature is a setting, and the test set is not
    there to choose settings.

    Returns:
        A number from 0.05 to 20; 0.05 if there is no mistake among the answers.
    """
    from scipy.optimize import minimize_scalar  # half a second: only where it is needed

    log_probabilities = _log_probabilities(result)

    def loss(log_temperature: float) -> float:
        scaled = log_probabilities / math.exp(log_temperature)
        return nn.functional.cross_entropy(scaled, result.labels).item()

    # The loss has one lowest point: it is convex in 1/temperature.
    bounds = tuple(math.log(bound) for bound in TEMPERATURES)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)


def with_temperature(result: Evaluation, temperature: float) -> Evaluation:
    """Return the same answers as the network would give if its logits were divided by a temperature.

    Above 1 every answer becomes less sure, below 1 surer. The order of the classes stays, and with it
    every prediction and the accuracy.

    Raises:
        ConfigError: If the temperature is not a number above 0.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(
            "The answers cannot be given this temperature.",
            where="temperature",
            expected="a number above 0",
            found=repr(temperature),
            do="Take the one that fit_temperature(val_result) returns.",
        )
    scaled = (_log_probabilities(result) / temperature).softmax(dim=1)
    return result._replace(probabilities=scaled.float())


def _log_probabilities(result: Evaluation) -> torch.Tensor:
    """Return the logits but for a constant in each row, which softmax does not see: float64."""
    return result.probabilities.double().clamp(min=SMALLEST_PROBABILITY).log()
