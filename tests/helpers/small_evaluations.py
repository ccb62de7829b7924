"""Evaluations with known predictions, for several test files."""

import pandas as pd
import torch

from course_utils.evaluation.metrics import Evaluation

CLASSES = ["cat", "dog", "ship"]


def an_evaluation(truth, predicted, confidence=0.9, classes=CLASSES):
    """Return an `Evaluation` with these predictions, all with one confidence, or each with its own."""
    truth, predicted = torch.as_tensor(truth), torch.as_tensor(predicted)
    confidence = torch.as_tensor(confidence).expand(len(predicted)).clone()
    rest = (1 - confidence) / (len(classes) - 1)
    probabilities = rest.unsqueeze(1).repeat(1, len(classes))
    probabilities[torch.arange(len(predicted)), predicted] = confidence
    return Evaluation(probabilities, truth, list(classes))


def some_shifts():
    """Return accuracy and confidence under noise of two strengths, and on photographs."""
    rows = [
        ["none", 0, 0.8, 0.7, 0.9, 0.75],
        ["noise", 1, 0.6, 0.5, 0.7, 0.7],
        ["noise", 2, 0.4, 0.3, 0.5, 0.65],
        ["photographs", 0, 0.5, 0.4, 0.6, 0.6],
    ]
    return pd.DataFrame(rows, columns=["shift", "strength", "accuracy", "low", "high", "confidence"])
