"""Checks of lesson 05: the interval of an accuracy, and how many images halve its width."""

import itertools
import math
from functools import partial

import numpy as np

from course_utils.checks.asking import as_numbers, ask_value
from course_utils.checks.mistakes import Mistakes
from course_utils.checks.values import as_number
from course_utils.checks.verdict import Right, Wrong, check
from course_utils.evaluation.metrics import accuracy_interval


def _wilson(correct: int, images: int, z: float = 1.96) -> tuple[float, float]:
    return accuracy_interval(correct, images, confidence=math.erf(z / math.sqrt(2)))


def _normal(correct: int, images: int) -> tuple[float, float]:
    share = correct / images
    reach = 1.96 * math.sqrt(share * (1 - share) / images)
    return share - reach, share + reach


def _middle_and_reach(correct: int, images: int) -> tuple[float, float]:
    low, high = accuracy_interval(correct, images)
    return (low + high) / 2, (high - low) / 2


def _other_interval(value: tuple[float, float], right: tuple, correct: int, images: int) -> str:
    (low, high), (width, true) = value, (ends[1] - ends[0] for ends in (value, right))
    if low > high:
        return "The lower end comes first."
    if any((low, high) == tuple(round(end, digits) for end in right) for digits in (1, 2, 3)):
        return "Do not round the ends: return them as they are."
    if high > 1.5:
        return "Return shares from 0 to 1, not percentages or numbers of images."
    if width < 1e-9:
        return (
            "Your interval has no width, as if you were certain. The simple formula p ± z·√(p(1−p)/n) gives "
            "such intervals at p = 0 and p = 1; Wilson's does not."
        )
    if math.isclose(width, true, rel_tol=1e-2):
        return "The width is right, but the centre is not. Look at the part of the formula before the ±."
    needed = "wider" if width < true else "narrower"
    return f"The interval is {width:.3f} wide, but with {images} images it should be {needed}."


WILSON_INTERVAL = Mistakes(
    right=_wilson,
    wrong={
        "Those are the centre of the interval and half its width. Return its two ends.": _middle_and_reach,
        "That is p ± z·√(p(1−p)/n), which is centred on {correct}/{images}. Wilson's interval is centred a "
        "little closer to one half and stays between 0 and 1.": _normal,
        "That is a 68 % interval, because you use z = 1. A 95 % interval needs a different z.": (
            lambda correct, images: _wilson(correct, images, z=1)
        ),
        "That is a 90 % interval, because you use z = 1.645. A 95 % interval needs a different z.": (
            lambda correct, images: _wilson(correct, images, z=1.645)
        ),
        "That is a 99 % interval, because you use z = 2.576. A 95 % interval needs a different z.": (
            lambda correct, images: _wilson(correct, images, z=2.576)
        ),
    },
    read=partial(as_numbers, count=2),
    agrees=partial(np.allclose, rtol=0, atol=2e-4),
    found="With {correct} of {images} correct, you return {value[0]:.3f} to {value[1]:.3f}. ",
    otherwise=_other_interval,
    praise="{correct} of {images} correct: {value[0]:.3f} to {value[1]:.3f}.",
)


@check(
    begin="write the formula from the question in Python, with z = 1.96, and try it with 20 of 20 correct.",
    expects="a function from two whole numbers to the two ends of an interval",
    without=("accuracy_interval",),
)
def wilson_interval(answer):
    """Lesson 05: the 95 % Wilson interval, from the numbers of correct predictions and images."""
    yield from WILSON_INTERVAL.compare(answer, [(178, 200), (20, 20), (3, 10)])


@check(
    begin="try `accuracy_interval` with more and more images at the same accuracy, and watch the width.",
    expects="a function from two whole numbers to a number of images",
)
def half_the_width(answer):
    """Lesson 05: the number of test images that makes the interval half as wide."""
    for correct, images in ((178, 200), (60, 100)):
        value = ask_value(answer, correct, images)
        number = as_number(value)
        if number is None:
            raise Wrong(f"Expected one number of images, got {value}.")
        if number < 1:
            raise Wrong(f"Expected at least one image, got {number:g}.")
        before, after = (_width(correct / images, count) for count in (images, number))
        found = (
            f"With {correct} of {images} correct, the interval is {before:.3f} wide; with {number:,.0f} "
            f"images at the same accuracy, it is {after:.3f}, which is {after / before:.2f} times as wide. "
        )
        if math.isclose(number, 3 * images, rel_tol=0.03):
            raise Wrong(found + "Is that how many images to add? Return the total number.")
        share = number / next(n for n in itertools.count(images) if _width(correct / images, n) <= before / 2)
        if share < 0.95:  # the question accepts a few per cent more or less
            raise Wrong(
                found + "That is not half. Does the width shrink as fast as the number of images grows?"
            )
        if share > 1.05:
            raise Wrong(found + "That is more than enough: fewer images would be sufficient.")
        yield Right(found + "That is half the width.")


def _width(accuracy: float, images: int) -> float:
    """Return the width of Wilson's interval; the number of correct predictions need not be whole."""
    z2, spread = 1.96**2, accuracy * (1 - accuracy)
    return 2 * math.sqrt(z2) * math.sqrt(images * spread + z2 / 4) / (images + z2)
