"""Checks of lesson 09: weights for rare classes, and balanced accuracy."""

import numpy as np
import torch

from course_utils.checks.mistakes import Mistakes, one_number, some_numbers
from course_utils.checks.verdict import Right, check


def _counts(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.bincount(labels, minlength=classes).double()


def _balanced(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return len(labels) / (classes * _counts(labels, classes))


def _as_text(numbers: list[float]) -> str:
    return f"[{', '.join(f'{number:.3g}' for number in numbers[:6])}{', ...' if len(numbers) > 6 else ''}]"


def _what_is_off(value: list[float], right: list[float], labels: torch.Tensor, classes: int) -> str:
    counts = _counts(labels, classes).tolist()
    if len(value) != classes:
        return f"Expected {classes} weights, one for each class, got {len(value)}."
    totals = [weight * count for weight, count in zip(value, counts, strict=True)]
    return (
        f"Multiply each weight by the number of pictures in its class: {_as_text(totals)}. These products "
        f"should be equal and add up to {len(labels)}."
    )


CLASS_WEIGHTS = Mistakes(
    right=_balanced,
    wrong={
        "Those are the sizes of the classes. They give the largest weight to the largest class.": _counts,
        "Those are the shares of the classes. They give the largest weight to the largest class.": (
            lambda labels, classes: _counts(labels, classes) / len(labels)
        ),
        "The proportions are right, but the mean weight over all pictures isn't 1, so the loss would be "
        "scaled.": lambda labels, classes: 1 / _counts(labels, classes),
        "The proportions are right, but you made the sum 1. The mean over all pictures should be 1.": (
            lambda labels, classes: _balanced(labels, classes) / _balanced(labels, classes).sum()
        ),
        "The proportions are right, but each weight is too large. The factor is the number of classes.": (
            lambda labels, classes: len(labels) / _counts(labels, classes)
        ),
        "Those are the square roots of the right weights, so rare classes still count less.": (
            lambda labels, classes: _balanced(labels, classes).sqrt()
        ),
        "That is one weight for each picture, as a sampler needs. Return one for each class.": (
            lambda labels, classes: _balanced(labels, classes)[labels]
        ),
    },
    read=some_numbers("Expected one weight for each class, got {value}."),
    found=lambda value, right, labels, classes: f"For {labels.tolist()} you return {_as_text(value)}. ",
    otherwise=_what_is_off,
)


@check(
    begin="`torch.bincount` counts the pictures of each class. Which weight gives a class of two the same "
    "total as a class of six?",
    expects="a function from labels and the number of classes to one weight for each class",
)
def class_weights(answer):
    """Lesson 09: weights with which all classes contribute equally to the loss."""
    cases = [(torch.tensor([0, 2, 1, 0, 0, 2, 0, 0, 0]), 3), (torch.tensor([1, 1, 1, 3, 0, 2, 1, 3]), 4)]
    yield from CLASS_WEIGHTS.compare(answer, cases)
    yield Right(
        "Weight times number of pictures is the same for every class, and the mean over all pictures is 1."
    )


def _recalls(predictions: torch.Tensor, labels: torch.Tensor, classes: list[int]) -> list[float]:
    return [float((predictions[labels == c] == c).double().mean()) for c in classes]


def _mean_recall(predictions: torch.Tensor, labels: torch.Tensor) -> float:
    return float(np.mean(_recalls(predictions, labels, labels.unique().tolist())))


BALANCED_ACCURACY = Mistakes(
    right=_mean_recall,
    wrong={
        "That is accuracy, in which large classes count more. Take the recall of each class first.": (
            lambda predictions, labels: (predictions == labels).double().mean()
        ),
        "That is the mean of the precisions. Divide by the pictures that belong to a class, not by those "
        "predicted to belong to it.": lambda predictions, labels: _mean_recall(labels, predictions),
        "That is in per cent. Return a share from 0 to 1.": lambda predictions, labels: (
            100 * _mean_recall(predictions, labels)
        ),
        "You count a class without test pictures as a recall of 0. It wasn't measured, so leave it out.": (
            lambda predictions, labels: (
                sum(_recalls(predictions, labels, labels.unique().tolist()))
                / (1 + max(labels.max(), predictions.max()))
            )
        ),
        "That is the lowest recall. Return the mean of the recalls.": lambda predictions, labels: min(
            _recalls(predictions, labels, labels.unique().tolist())
        ),
        "That is the sum of the recalls. Return their mean.": lambda predictions, labels: sum(
            _recalls(predictions, labels, labels.unique().tolist())
        ),
    },
    read=one_number("Your function returns {value}. It should return one number."),
    found="For the predictions {predictions} and labels {labels} you return {value:.3g}. ",
    otherwise="Take the recall of each class that occurs in the labels, then the mean of these recalls.",
)


@check(
    begin="which predictions belong to the pictures of one class? What share of them is correct?",
    expects="a function from predictions and labels to a number from 0 to 1",
)
def balanced_accuracy(answer):
    """Lesson 09: the mean recall of the classes that have test pictures."""
    cases = [
        (torch.tensor([0, 0, 0, 0, 1, 0, 0]), torch.tensor([0, 0, 0, 0, 1, 1, 1])),
        (torch.tensor([3, 2, 0, 0, 3, 3, 0, 1]), torch.tensor([3, 3, 0, 0, 3, 0, 0, 3])),
    ]
    yield from BALANCED_ACCURACY.compare(answer, cases)
    yield Right("Each class with test pictures counts the same, regardless of its size.")
