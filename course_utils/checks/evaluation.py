"""Checks of lesson 05: accuracy, confusion matrix and the most confident mistakes."""

from functools import partial

import numpy as np
import torch

from course_utils.checks.asking import as_numbers, ask
from course_utils.checks.mistakes import Mistakes, one_number, some_numbers
from course_utils.checks.values import close, first_difference
from course_utils.checks.verdict import Right, Wrong, check


def _counts(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[list[int], list[int]]:
    """Return the number of correct predictions in each batch, and its number of images."""
    return [int((named == labels).sum()) for named, labels in batches], [len(labels) for _, labels in batches]


def _share(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    right, images = _counts(batches)
    return sum(right) / sum(images)


def _mean_of_batches(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    return float(np.mean([_share([batch]) for batch in batches]))


ACCURACY = Mistakes(
    right=_share,
    wrong={
        "That is the mean of the three batches' accuracies. The last batch has 2 images and counts as much "
        "as one with 8: count images, not batches.": _mean_of_batches,
        "You divided by 3 × 8 = 24 images, but the last batch is smaller: there are 18.": lambda batches: (
            sum(_counts(batches)[0]) / (len(batches) * len(batches[0][1]))
        ),
        "That is the number of correct predictions. What do you divide by to get a share?": lambda batches: (
            sum(_counts(batches)[0])
        ),
        "You divided by the number of batches. Divide by the number of images.": lambda batches: (
            sum(_counts(batches)[0]) / len(batches)
        ),
        "That is in per cent. In this course, an accuracy is a share from 0 to 1.": lambda batches: (
            100 * _share(batches)
        ),
        "That is the share of wrong predictions. Return the share of correct ones.": lambda batches: (
            1 - _share(batches)
        ),
        "That is the last batch alone. Do you reset a sum to 0 inside the loop?": lambda batches: _share(
            batches[-1:]
        ),
        "That is the first batch alone. Is the `return` inside the loop?": lambda batches: _share(
            batches[:1]
        ),
        "You leave out the last batch. Its images count as well.": lambda batches: _share(batches[:-1]),
        "You add up the accuracies of the batches. Add up images instead.": lambda batches: (
            len(batches) * _mean_of_batches(batches)
        ),
        "Your result is right for the first three batches, but not for these two. Does your function use "
        "anything besides its argument?": lambda batches: 13 / 18,
    },
    read=one_number("Your function returns {value}. It should return one number."),
    found="With {case} correct, you return {value:.4g}. ",
    otherwise="Count by hand: how many images are there, and how many predictions are correct?",
)


@check(
    begin="for each batch, count the images and the correct predictions; divide once, at the end.",
    expects="a function of a list of batches that returns a number from 0 to 1",
)
def accuracy_over_samples(answer):
    """Lesson 05: the accuracy over images, from batches of predictions and labels."""
    cases = {
        "7 of 8, 5 of 8 and 1 of 2": (_batches((7, 8), (5, 8), (1, 2)),),
        "0 of 4 and 1 of 1": (_batches((0, 4), (1, 1)),),
    }
    yield from ACCURACY.compare(answer, cases)
    yield Right("Every image counts once, no matter which batch it is in.")


def _batches(*counts: tuple[int, int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return predictions and labels of batches, given the numbers of correct predictions and of images."""
    batches = []
    for correct, images in counts:
        labels = torch.arange(images) % 3
        batches.append((torch.where(torch.arange(images) < correct, labels, (labels + 1) % 3), labels))
    return batches


def _both_shares(matrix: torch.Tensor, number: int, less: int = 0) -> tuple[float, float]:
    both = matrix[number, number]
    called, are = (images.sum().clamp(min=1) - less for images in (matrix[:, number], matrix[number]))
    return float(both / called), float(both / are)


def _other_denominator(value: tuple[float, float], right: tuple, matrix: torch.Tensor, number: int) -> str:
    called, are, images = int(matrix[:, number].sum()), int(matrix[number].sum()), int(matrix.sum())
    if any(close(one, matrix.diag().sum() / images) for one in value):
        return "One of them is the accuracy over all classes, which hides how the network does on this one."
    if any(close(one, matrix[number, number] / images) for one in value):
        return f"You divide by all {images} images. Divide by the sum of a row and by the sum of a column."
    if close(*value):
        return (
            "Your two numbers are the same. Divide one by the sum of a row and the other by that of a column."
        )
    found = f"{called} images are predicted to belong to class {number}, and {are} do belong to it."
    return f"{found} For how many images are both true?"


PRECISION_RECALL = Mistakes(
    right=_both_shares,
    wrong={
        "The two are swapped. A row holds the images that belong to the class, and a column those "
        "predicted to belong to it. Precision comes first.": lambda matrix, number: _both_shares(
            matrix, number
        )[::-1],
        "Those are percentages. Return shares from 0 to 1.": lambda matrix, number: (
            [100 * share for share in _both_shares(matrix, number)]
        ),
        "That is class 1. Classes are numbered from 0.": lambda matrix, number: _both_shares(
            matrix, (number + 1) % 3
        ),
        "That is class 2. Classes are numbered from 0.": lambda matrix, number: _both_shares(
            matrix, number - 1
        ),
        "You divide by the mistakes alone. The row and the column also include the correct predictions.": (
            lambda matrix, number: _both_shares(matrix, number, less=matrix[number, number])
        ),
        "Class 0 is correct, but class 1 isn't. Do you use the number of the class everywhere?": (
            lambda matrix, number: _both_shares(matrix, 0)
        ),
    },
    read=partial(as_numbers, count=2),
    found="For class {number} of {matrix} you return {value[0]:.3g} and {value[1]:.3g}. ",
    otherwise=_other_denominator,
)


@check(
    begin="find the class's row, its column, and the number where they cross.",
    expects="a function of a matrix and the number of a class that returns two numbers",
)
def precision_and_recall(answer):
    """Lesson 05: the precision and recall of a class, from a confusion matrix."""
    matrix = torch.tensor([[6, 3, 1], [2, 4, 0], [5, 0, 9]])
    yield from PRECISION_RECALL.compare(answer, [(matrix, 0), (matrix, 1)])
    yield Right("Precision looks down a column, recall along a row.")
    for counts, number, why in (
        ([[0, 3], [0, 5]], 0, "is never predicted, so its column sums to 0: return a precision of 0"),
        ([[2, 1], [0, 0]], 1, "has no image, so its row sums to 0: return a recall of 0"),
    ):
        hint = f"In {counts}, class {number} {why}, without dividing by 0."
        try:
            pair = as_numbers(ask(answer, torch.tensor(counts), number), 2)
        except Wrong as error:
            raise Wrong(f"{hint} {error}") from error
        if not all(map(close, pair, (0, 0))):
            raise Wrong(f"{hint} You return {pair[0]:g} and {pair[1]:g}.")
    yield Right("You return 0 where there is nothing to count.")


def _mistaken(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the positions of the misclassified images."""
    return (probabilities.argmax(dim=1) != labels).nonzero().flatten()


def _surest(probabilities: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    wrong = _mistaken(probabilities, labels)
    return wrong[probabilities.max(dim=1).values[wrong].argsort(descending=True)][:count]


def _other_images(
    value: list[int], right: list[int], probabilities: torch.Tensor, labels: torch.Tensor, count: int
) -> str:
    wrong = _mistaken(probabilities, labels).tolist()
    named_right = [number for number in value if number in range(len(labels)) and number not in wrong]
    if count > len(wrong):
        return f"There are only {len(wrong)} mistakes here. For a count of {count}, return all of them."
    if len(value) < count and value == right[: len(value)]:
        return (
            f"Expected five mistakes, got {len(value)}. Drop the correct predictions before you take the "
            "first five."
        )
    if len(value) != count:
        return f"Expected five images, got {len(value)}."
    if named_right:
        return (
            f"The network classifies {len(named_right)} of your 5 images correctly, such as image "
            f"{named_right[0]}. Drop the correct predictions before you take the first ones."
        )
    if sorted(value) == sorted(right):
        return "You found the right five, but they are in the wrong order. The most confident comes first."
    place = first_difference(value, right)
    image = right[place - 1]
    return (
        f"Number {place} should be image {image}, which is misclassified with a confidence of "
        f"{probabilities[image].max():.3f}. Yours is image {value[place - 1]}."
    )


SUREST_MISTAKES = Mistakes(
    right=_surest,
    wrong={
        "Your positions are one too high. The first image is at position 0.": (
            lambda probabilities, labels, count: 1 + _surest(probabilities, labels, count)
        ),
        "You return positions in the list of mistakes. Position {value[0]} in it, counted from 0, is image "
        "{right[0]}. Convert them back to positions among all images.": (
            lambda probabilities, labels, count: (
                probabilities[_mistaken(probabilities, labels)].amax(dim=1).argsort(descending=True)[:count]
            )
        ),
        "Those are the least confident mistakes. In which order do you sort?": (
            lambda probabilities, labels, count: _surest(probabilities, labels, len(labels)).flip(0)[:count]
        ),
        "You sort by how unlikely the true class was. Sort by the confidence of the prediction, "
        "its highest probability.": (
            lambda probabilities, labels, count: probabilities[torch.arange(len(labels)), labels].argsort()[
                :count
            ]
        ),
    },
    read=some_numbers(
        "Expected the positions of images, as whole numbers from 0, got {value}. Confidences, or True "
        "and False, aren't positions.",
        whole=True,
    ),
    otherwise=_other_images,
)


@check(
    begin="for each image, find the prediction and its probability, then keep only the wrong ones.",
    expects="a function of probabilities, labels and a count that returns the positions of images",
    without=("most_confident_mistakes",),
)
def surest_mistakes(answer):
    """Lesson 05: the positions of the misclassified images, the most confident first."""
    random = torch.Generator().manual_seed(6)
    probabilities = (1.5 * torch.randn(40, 4, generator=random)).softmax(dim=1)
    labels = torch.randint(4, (40,), generator=random)
    yield from SUREST_MISTAKES.compare(answer, [(probabilities, labels, count) for count in (5, 100)])
    yield Right("You return only mistakes, the most confident first.")
