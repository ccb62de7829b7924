"""Checks for the exercises of lesson 08: name a fault, mend one, find one, and compare on the same images."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from course_utils.checks.evaluation import NO_RETURN, as_numbers
from course_utils.checks.verdict import Right, ask, check, close

__all__ = ["fault_found", "paired_interval", "rgb_restored", "way_of_fault"]

MEAN, STD = (0.49, 0.48, 0.41), (0.23, 0.22, 0.25)
SIZE = 32


@check(
    begin="compare the three formats two by two: which of them agree?",
    expects="a function from three names of formats to the name of a way",
)
def way_of_fault(answer):
    """Check a function that says in which way a fault is made, from what three programs work with."""
    cases = (
        ("RGB", "RGB", "RGB", "right"),
        ("RGB", "RGB", "BGR", "used only"),
        ("RGB", "BGR", "BGR", "trained and used"),
        ("RGB", "BGR", "RGB", "trained only"),
        ("BGR", "BGR", "BGR", "right"),
        ("0 to 1", "0 to 1", "0 to 255", "used only"),
    )
    names = {way for *_, way in cases}
    for pretrained, trained, used, wanted in cases:
        value = ask(answer, pretrained, trained, used)
        case = f"Pretrained with {pretrained}, head trained with {trained}, used with {used}"
        if value is None:
            yield f"{NO_RETURN} {case}: there is no answer."
        elif value not in names:
            yield f"{value!r:.50} is none of {', '.join(sorted(names))}."
        elif value != wanted:
            yield f"{case}: you say '{value}'. {_why_another_way(wanted)}"
        else:
            continue
        return
    yield Right("You compare training and use with the pretraining, and not only with each other.")


def _why_another_way(wanted: str) -> str:
    return {
        "right": "All three agree. No format is wrong by itself.",
        "used only": "The head was trained as the backbone was pretrained. Where does the difference begin?",
        "trained and used": "Training and use agree with each other. What about the pretraining?",
        "trained only": "The use agrees with the pretraining. Which of the three stands alone?",
    }[wanted]


@check(
    begin="undo the normalisation, exchange the channels, and normalise again.",
    expects="a function from images, their mean and their std to images of the same shape",
)
def rgb_restored(answer):
    """Check a function that repairs normalised images whose red and blue were exchanged before that."""
    pixels = torch.rand(2, 3, 6, 5)
    wanted = _normalised(pixels)
    given = _normalised(pixels.flip(1))
    images = given.clone()
    repaired = ask(answer, images, list(MEAN), list(STD))
    if repaired is None:
        yield NO_RETURN
    elif not isinstance(repaired, torch.Tensor) or repaired.shape != wanted.shape:
        shape = list(getattr(repaired, "shape", ())) or type(repaired).__name__
        yield f"A tensor {list(wanted.shape)} goes in, and {shape} comes out: it must keep its shape."
    elif not torch.equal(images, given):
        yield "The images that were given are changed: work on a copy. Others may still need them."
    elif torch.allclose(repaired, wanted, atol=1e-4):
        yield Right("Undone, exchanged, normalised again: the images are as if they had been read as RGB.")
    else:
        yield _repair_mistake(repaired, given, pixels)


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))
    return (pixels - mean) / std


def _repair_mistake(repaired: torch.Tensor, given: torch.Tensor, pixels: torch.Tensor) -> str:
    wanted = _normalised(pixels)
    mistakes = (
        (given, "Nothing has changed. Which dimension holds the channels?"),
        (
            given.flip(1),
            "You exchange the channels of numbers that are normalised. Red still has the mean and standard "
            f"deviation of blue: it is off by up to {(given.flip(1) - wanted).abs().max():.2f}.",
        ),
        (pixels, "The colours are right, but the images are not normalised any more. One step is left."),
        (given.flip(3), "The pictures are mirrored: you turn round the columns, and not the channels."),
        (given.flip(2), "The pictures are upside down: you turn round the rows, and not the channels."),
        (_normalised(pixels.roll(1, 1)), "The channels have moved round by one. Green stays where it is."),
    )
    for mistake, hint in mistakes:
        if torch.allclose(repaired, mistake, atol=1e-4):
            return hint
    off = (repaired - wanted).abs().amax(dim=(0, 2, 3))
    return (
        f"Red, green and blue are off by up to {off[0]:.2f}, {off[1]:.2f} and {off[2]:.2f}. Is the same mean "
        "and standard deviation undone that was put in, channel by channel?"
    )


FAULTS = ("right", "another size", "0 to 255", "not normalised", "grey")


@check(
    begin="print the shape, the smallest and the largest value of a batch that is right. What would each "
    "fault change?",
    expects=f"a function from images, mean, std and size to one of {', '.join(FAULTS)}",
)
def fault_found(answer):
    """Check a function that finds from the numbers of a batch which fault was made in preparing it."""
    mistaken = []
    for darkest, brightest in ((0, 1), (0, 0.35), (0.6, 1)):
        for fault, images in _prepared(darkest, brightest):
            value = ask(answer, images.clone(), list(MEAN), list(STD), SIZE)
            if value is None:
                yield f"{NO_RETURN} It does not for a batch {list(images.shape)} that is '{fault}'."
                return
            if value not in FAULTS:
                yield f"{value!r:.50} is none of {', '.join(FAULTS)}."
                return
            if value != fault:
                low, high = images.min(), images.max()
                mistaken.append((fault, value, f"{list(images.shape)}, from {low:.1f} to {high:.1f}"))
    for fault in dict.fromkeys(fault for fault, *_ in mistaken):
        _, value, numbers = next(case for case in mistaken if case[0] == fault)
        yield f"A batch {numbers}, is '{fault}', and you call it '{value}'. {_where_to_look(fault)}"
    if not mistaken:
        yield Right("Fifteen batches, bright and dark: each fault has left its mark in the numbers.")


def _prepared(darkest: float, brightest: float) -> Iterator[tuple[str, torch.Tensor]]:
    """Give each fault and a batch of pictures that was prepared with it."""
    size = (4, 3, SIZE, SIZE)
    pixels = darkest + (brightest - darkest) * torch.rand(size)
    grey = pixels.mean(dim=1, keepdim=True).expand(size)
    yield "right", _normalised(pixels)
    yield "another size", _normalised(pixels[..., : SIZE // 2, : SIZE // 2])
    yield "0 to 255", _normalised((255 * pixels).round())
    yield "not normalised", pixels
    yield "grey", _normalised(grey)


def _where_to_look(fault: str) -> str:
    return {
        "right": "A right batch may have numbers below 0 and above 1, and need not have both. Look at the "
        "smallest and the largest together.",
        "another size": "Compare the last two numbers of the shape with the size.",
        "0 to 255": "How large can a number be that was from 0 to 1 and then normalised?",
        "not normalised": "What do the smallest and the largest number say together? Dark pictures need not "
        "reach 1.",
        "grey": "Its channels were equal. The normalisation shifted each by another amount: undo it first.",
    }[fault]


@check(
    begin="take the difference image by image first; then draw images, with replacement, again and again.",
    expects="a function from two lists of True and False to a difference and the two ends of its interval",
)
def paired_interval(answer):
    """Check a function from which images two heads named right to their difference and a 95 % interval."""
    random = np.random.default_rng(3)
    for images, easy in ((400, 0.75), (150, 0.5)):
        both = random.random(images) < easy
        first, second = (both ^ (random.random(images) < share) for share in (0.04, 0.12))
        numbers = as_numbers(ask(answer, first.copy(), second.copy()), 3)
        if isinstance(numbers, str):
            yield numbers
            return
        mean, low, high = numbers
        difference = first.astype(float) - second
        width = 2 * 1.96 * difference.std() / math.sqrt(images)
        apart = 2 * 1.96 * math.sqrt((first.var() + second.var()) / images)
        found = f"On {images} images: difference {mean:.3f}, interval {low:.3f} to {high:.3f}. "
        if not close(mean, difference.mean()):
            yield found + _difference_mistake(mean, difference.mean())
        elif not low <= mean <= high:
            yield found + "The difference lies outside its own interval. Is one of the signs turned round?"
        elif high - low < 1e-9:
            yield found + "It has no width: were images drawn with replacement, each draw anew?"
        elif math.isclose(high - low, apart, rel_tol=0.15):
            yield found + (
                f"It is {high - low:.3f} wide, as if each head had met its own images. Draw the same "
                "images for both: "
                f"then it is about {width:.2f} wide."
            )
        elif not math.isclose(high - low, width, rel_tol=0.15):
            size = "wide" if high - low > width else "narrow"
            yield (
                found
                + f"Its width, {high - low:.3f}, is too {size}. How many images do you draw, and which 95 %?"
            )
        else:
            yield Right(found + f"Two separate intervals would have made it {apart:.3f} wide.")
            continue
        return


def _difference_mistake(mean: float, true: float) -> str:
    if close(mean, -true):
        return "The sign is turned round: how much more often was the first right than the second?"
    if close(mean, 100 * true):
        return "That is in points; give a share from −1 to 1."
    return "It is the share that the first named right less the share that the second named right."
