"""Checks of lesson 05: the accuracy, the confusion matrix, the surest mistakes, and an interval."""

import itertools
import math

import numpy as np
import torch

from course_utils.checks.values import as_number, close, first_difference, known_mistake
from course_utils.checks.verdict import Right, Wrong, as_numbers, ask, ask_value, check
from course_utils.evaluation import accuracy_interval

_ACCURACY_MISTAKES = {
    "That is the mean of the three batches' accuracies. The last batch has 2 images and counts as much as "
    "one with 8: count images, not batches.": 2 / 3,
    "You divided by 3 × 8 = 24 images, but the last batch is smaller: there are 18.": 13 / 24,
    "That is how many are right. What do you have to divide by to get a share?": 13,
    "You divided by the number of batches. Divide by the number of images.": 13 / 3,
    "That is in per cent. The course writes accuracies as a share from 0 to 1.": 1300 / 18,
    "That is the share of the wrong ones.": 5 / 18,
    "That is the last batch alone. Is a sum set back to 0 inside the loop?": 1 / 2,
    "That is the first batch alone. Is the `return` inside the loop?": 7 / 8,
    "You leave out the last batch. Its images count, too.": 12 / 16,
    "You add up the accuracies of the batches. Add up images.": 2,
}


@check(
    begin="for each batch, count the images and how many of them are right; divide once, at the end.",
    expects="a function from a list of batches to a number from 0 to 1",
)
def accuracy_over_samples(answer):
    """Lesson 05: the accuracy over images, from batches of predictions and labels."""
    value = ask_value(answer, _batches((7, 8), (5, 8), (1, 2)))
    number = as_number(value)
    if number is None:
        raise Wrong(f"Your function gives {type(value).__name__}: it should give one number.")
    if hint := known_mistake(number, _ACCURACY_MISTAKES):
        raise Wrong(f"For 7 of 8, 5 of 8 and 1 of 2 right you give {number:.4g}. {hint}")
    if not close(number, 13 / 18):
        raise Wrong(
            f"For batches with 7 of 8, 5 of 8 and 1 of 2 right you give {number:.4g}. Count by hand: how "
            "many images are there, and how many of them are right?"
        )
    other = as_number(ask(answer, _batches((0, 4), (1, 1))))
    if other is None or not close(other, 1 / 5):
        raise Wrong(
            "The first three batches are right, but for two others (0 of 4 and 1 of 1 right) you give "
            f"{other}. Does the function count anything besides its argument?"
        )
    yield Right("Every image counts once, in whatever batch it is.")


def _batches(*counts: tuple[int, int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return pairs of predictions and labels; in each batch so many of so many images are right."""
    batches = []
    for correct, images in counts:
        labels = torch.arange(images) % 3
        batches.append((torch.where(torch.arange(images) < correct, labels, (labels + 1) % 3), labels))
    return batches


@check(
    begin="find the row of the class, its column, and the number where they cross.",
    expects="a function from a matrix and the number of a class to two numbers",
)
def precision_and_recall(answer):
    """Lesson 05: the precision and recall of a class, from a confusion matrix."""
    matrix = torch.tensor([[6, 3, 1], [2, 4, 0], [5, 0, 9]])
    pair = as_numbers(ask(answer, matrix.clone(), 0), 2)
    if not _alike(pair, (6 / 13, 6 / 10)):
        given = f"For class 0 of {matrix.tolist()} you give {pair[0]:.3g} and {pair[1]:.3g}."
        raise Wrong(f"{given} {_matrix_mistake(pair)}")
    if not _alike(ask(answer, matrix.clone(), 1), (4 / 7, 4 / 6)):
        raise Wrong("Class 0 is right, but class 1 is not. Do you use the number of the class everywhere?")
    yield Right("Precision looks down a column, recall along a row.")
    for counts, number, why in (
        ([[0, 3], [0, 5]], 0, "is never named, so its column sums to 0: call the precision 0 then"),
        ([[2, 1], [0, 0]], 1, "has no image, so its row sums to 0: call the recall 0 then"),
    ):
        hint = f"In {counts} class {number} {why}, and do not divide by 0."
        try:
            pair = as_numbers(ask(answer, torch.tensor(counts), number), 2)
        except Wrong as error:
            raise Wrong(f"{hint} {error}") from error
        if not _alike(pair, (0, 0)):
            raise Wrong(f"{hint} You give {pair[0]:g} and {pair[1]:g}.")
    yield Right("Where nothing is counted, both are 0.")


def _matrix_mistake(pair: tuple[float, float]) -> str:
    mistakes = {
        "The two are swapped. A row holds the images that belong to the class, a column those that "
        "were given its name; and precision comes first.": (6 / 10, 6 / 13),
        "Those are per cent; give shares from 0 to 1.": (600 / 13, 600 / 10),
        "That is class 1: classes are numbered from 0.": (4 / 7, 4 / 6),
        "That is class 2: classes are numbered from 0.": (9 / 10, 9 / 14),
        "You divide by the mistakes alone. The right ones belong to row and column, too.": (6 / 7, 6 / 4),
    }
    if hint := known_mistake(pair, mistakes, _alike):
        return hint
    if any(close(number, 19 / 30) for number in pair):
        return "One of them is the accuracy over all classes, which hides the class that you look at."
    if any(close(number, 6 / 30) for number in pair):
        return "You divide by all 30 images. Divide by one row, and by one column."
    if close(*pair):
        return "Both are the same. For one you divide by a row, for the other by a column."
    return "13 images were called class 0, and 10 belong to it. For how many of them is both true?"


def _alike(value: object, wanted: tuple[float, float]) -> bool:
    try:
        return all(map(close, as_numbers(value, 2), wanted))
    except Wrong:
        return False


@check(
    begin="for each image, find the answer and its probability; then keep the images where it is wrong.",
    expects="a function from probabilities, labels and a count to the numbers of images",
    without=("most_confident_mistakes",),
)
def surest_mistakes(answer):
    """Lesson 05: the numbers of the wrongly named images, the one with the highest confidence first."""
    random = torch.Generator().manual_seed(6)
    probabilities = (1.5 * torch.randn(40, 4, generator=random)).softmax(dim=1)
    labels = torch.randint(4, (40,), generator=random)
    confidence, named = probabilities.max(dim=1)
    wrong = (named != labels).nonzero().flatten()
    surest = wrong[confidence[wrong].argsort(descending=True)].tolist()
    wrong = wrong.tolist()
    value = ask_value(answer, probabilities.clone(), labels.clone(), 5)
    numbers = [as_number(number) for number in value]
    if any(number is None or number != int(number) for number in numbers):
        raise Wrong(
            f"You give {value!r:.60}. Give the numbers of images, whole ones from 0, and not how sure the "
            "answers are, or True and False."
        )
    numbers = [int(number) for number in numbers]
    right = [number for number in numbers if number in range(40) and number not in wrong]
    if numbers == [number + 1 for number in surest[:5]]:
        yield "Your numbers are one too high: the first image has the number 0."
    elif len(numbers) < 5 and numbers == surest[: len(numbers)]:
        yield (
            f"There are {len(numbers)} mistakes in your answer, and five were asked for: drop the right "
            "answers before you take the first five."
        )
    elif len(numbers) != 5:
        yield f"There should be five images, and you give {len(numbers)}."
    elif numbers == [wrong.index(number) for number in surest[:5]]:
        yield (
            f"You count places among the mistakes. At place {numbers[0]} of them, counted from 0, is image "
            f"{surest[0]}: translate the places back into numbers of images."
        )
    elif numbers == surest[::-1][:5]:
        yield "Those are the mistakes that the network was least sure of. Which order does your sorting give?"
    elif numbers == probabilities[torch.arange(40), labels].argsort()[:5].tolist():
        yield (
            "You sort by how unlikely the right class was. Sort by how sure the network was of the answer "
            "that it gave: its highest probability."
        )
    elif right:
        yield (
            f"{len(right)} of your 5 images were named right, for example image {right[0]}. Drop the right "
            "answers before you take the first ones."
        )
    elif sorted(numbers) == sorted(surest[:5]) and numbers != surest[:5]:
        yield "The right five, but in another order: the surest comes first."
    elif place := first_difference(numbers, surest[:5]):
        image = surest[place - 1]
        yield (
            f"Number {place} should be image {image}, which is wrong with a confidence of "
            f"{confidence[image]:.3f}, and yours is image {numbers[place - 1]}."
        )
    elif len(list(ask(answer, probabilities.clone(), labels.clone(), 100))) != len(wrong):
        yield f"There are only {len(wrong)} mistakes here; if the count is 100, give all of them."
    else:
        yield Right("Mistakes only, the surest first.")


@check(
    begin="put the formula of the question into Python, with z = 1.96, and try it with 20 of 20 right.",
    expects="a function from two whole numbers to the two ends of an interval",
    without=("accuracy_interval",),
)
def wilson_interval(answer):
    """Lesson 05: the 95 % Wilson interval, from the number of right answers and of images."""
    for correct, images in ((178, 200), (20, 20), (3, 10)):
        low, high = as_numbers(ask(answer, correct, images), 2)
        true = accuracy_interval(correct, images)
        if not np.allclose((low, high), true, rtol=0, atol=2e-4):
            hint = _interval_mistake(low, high, correct, images)
            raise Wrong(f"With {correct} of {images} right you give {low:.3f} to {high:.3f}. {hint}")
        yield Right(f"{correct} of {images} right: {low:.3f} to {high:.3f}.")


def _interval_mistake(low: float, high: float, correct: int, images: int) -> str:
    width, share = high - low, correct / images
    ends = accuracy_interval(correct, images)
    true = ends[1] - ends[0]
    if low > high and close(high, true / 2, 1e-2):
        return "That is the middle and how far the interval reaches. Give its two ends."
    if low > high:
        return "The lower end comes first."
    if any((low, high) == tuple(round(end, digits) for end in ends) for digits in (1, 2, 3)):
        return "Do not round: give the ends as they are."
    if high > 1.5:
        return "Give shares from 0 to 1, not per cent or numbers of images."
    if width < 1e-9:
        return (
            "That interval has no width, as if you were certain. The plain formula p ± z·√(p(1−p)/n) does "
            "that at 0 and 1; Wilson's does not."
        )
    if math.isclose(width, 2 * 1.96 * math.sqrt(share * (1 - share) / images), rel_tol=1e-3):
        return (
            f"That is p ± z·√(p(1−p)/n). It is centred on {share:.3f}; Wilson's interval is centred a little "
            "nearer to one half, and stays between 0 and 1."
        )
    for z, kind in ((1.0, 68), (1.645, 90), (2.576, 99)):
        start, end = accuracy_interval(correct, images, confidence=math.erf(z / math.sqrt(2)))
        if math.isclose(width, end - start, rel_tol=2e-3):
            return f"That is a {kind} % interval: it comes from z = {z:g}; 95 % needs a different one."
    if math.isclose(width, true, rel_tol=1e-2):
        return "Its width is right, but its middle is not. Look at the first half of the formula."
    needed = "wider" if width < true else "narrower"
    return f"The interval is {width:.3f} wide; with {images} images it must be {needed}."


@check(
    begin="try `accuracy_interval` with more and more images of the same accuracy, and look at the width.",
    expects="a function from two whole numbers to a whole number of images",
)
def half_the_width(answer):
    """Lesson 05: how many test images make the interval half as wide."""
    for correct, images in ((178, 200), (60, 100)):
        value = ask_value(answer, correct, images)
        number = as_number(value)
        if number is None:
            raise Wrong(f"You give {value}: give one number of images.")
        if number < 1:
            raise Wrong(f"You give {number:g}. One image is the least.")
        before, after = (_width(correct / images, count) for count in (images, number))
        found = (
            f"With {correct} of {images} right the interval is {before:.3f} wide; with {number:,.0f} images "
            f"of the same accuracy it is {after:.3f}, which is {after / before:.2f} times as wide. "
        )
        if math.isclose(number, 3 * images, rel_tol=0.03):
            raise Wrong(found + "Is that how many images to add? Give how many there are in all.")
        share = number / next(n for n in itertools.count(images) if _width(correct / images, n) <= before / 2)
        if share < 0.95:  # within a few per cent, says the question
            raise Wrong(
                found + "That is not half. Does the width fall as fast as the number of images rises?"
            )
        if share > 1.05:
            raise Wrong(found + "That is more than enough: fewer images would do.")
        yield Right(found + "Half the width.")


def _width(accuracy: float, images: int) -> float:
    """Return the width of Wilson's interval for a number of right answers that need not be whole."""
    z2, spread = 1.96**2, accuracy * (1 - accuracy)
    return 2 * math.sqrt(z2) * math.sqrt(images * spread + z2 / 4) / (images + z2)
