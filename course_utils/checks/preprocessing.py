"""Checks of lesson 08: name a fault, repair one, find one, and compare on the same pictures."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torchvision.transforms.v2.functional import normalize

from course_utils.checks.asking import NO_RETURN, as_numbers, ask, ask_value
from course_utils.checks.mistakes import Mistakes, one_tensor
from course_utils.checks.values import close
from course_utils.checks.verdict import Right, Wrong, check

MEAN, STD = (0.49, 0.48, 0.41), (0.23, 0.22, 0.25)
SIZE = 32

_WHERE_IT_BEGINS = {
    "right": "All three agree. No format is wrong by itself. Compare them by `==`, not by `is`.",
    "inference only": "Training agrees with the pretraining. Where does the difference begin?",
    "training and inference": "Training and inference agree with each other. What about the pretraining?",
    "training only": "Inference agrees with the pretraining. Which of the three differs?",
}


@check(
    begin="compare the formats in pairs: which of them agree?",
    expects="a function from three names of formats to the name of a way",
)
def fault_scope(answer):
    """Lesson 08: where a fault is made, from the formats of three programs."""
    for pretrained, trained, used, wanted in (
        ("RGB", "RGB", "RGB", "right"),
        ("RGB", "RGB", "BGR", "inference only"),
        ("RGB", "BGR", "BGR", "training and inference"),
        ("RGB", "BGR", "RGB", "training only"),
        ("BGR", "BGR", "BGR", "right"),
        ("0 to 1", "0 to 1", "0 to 255", "inference only"),
    ):
        case = f"Pretraining {pretrained}, training {trained}, inference {used}"
        # Equal texts that are not one object, for whoever compares them by `is`
        formats = ("".join(list(text)) for text in (pretrained, trained, used))
        value = ask_value(answer, *formats, none=f"{NO_RETURN} {case}: there is no answer.")
        if value not in set(_WHERE_IT_BEGINS):
            raise Wrong(f"{value!r:.50} is none of {', '.join(sorted(_WHERE_IT_BEGINS))}.")
        if value != wanted:
            raise Wrong(f"{case}: you return '{value}'. {_WHERE_IT_BEGINS[wanted]}")
    yield Right("You compare training and inference with the pretraining, not only with each other.")


def _undone(images: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (mean, std))
    return images * std + mean


def _off_by_channel(value: torch.Tensor, right: torch.Tensor, *_: object) -> str:
    off = (value - right).abs().amax(dim=(0, 2, 3))
    return (
        f"Red, green and blue are off by up to {off[0]:.2f}, {off[1]:.2f} and {off[2]:.2f}. Is the same "
        "mean and standard deviation undone that was put in, channel by channel?"
    )


RGB_RESTORED = Mistakes(
    right=lambda images, mean, std: normalize(_undone(images, mean, std).flip(1), mean, std),
    wrong={
        "Nothing has changed. Which dimension holds the channels?": lambda images, mean, std: images,
        "You exchange the channels of normalised numbers. Red still has the mean and standard "
        "deviation of blue: it is off by up to {off:.2f}.": lambda images, mean, std: images.flip(1),
        "The colours are right, but the images are no longer normalised. One step is missing.": (
            lambda images, mean, std: _undone(images, mean, std).flip(1)
        ),
        "The pictures are mirrored: you reverse the columns instead of the channels.": (
            lambda images, mean, std: images.flip(3)
        ),
        "The pictures are upside down: you reverse the rows instead of the channels.": (
            lambda images, mean, std: images.flip(2)
        ),
        "The channels have moved by one place. Green should stay where it is.": (
            lambda images, mean, std: normalize(_undone(images, mean, std).roll(1, 1), mean, std)
        ),
    },
    read=one_tensor(
        "Expected a tensor of the given shape, [2, 3, 6, 5], got {value}. Keep the shape, and stay a tensor.",
        *(2, 3, 6, 5),
    ),
    otherwise=_off_by_channel,
)


@check(
    begin="undo the normalisation, swap the channels, and normalise again.",
    expects="a function from images, their mean and their std to images of the same shape",
)
def rgb_restored(answer):
    """Lesson 08: repaired images, whose red and blue were exchanged before they were normalised."""
    pixels = torch.randint(256, (2, 3, 6, 5)) / 255  # as pictures have them: an answer may round to 8 bits
    swapped = normalize(pixels.flip(1), MEAN, STD)
    off = (swapped.flip(1) - normalize(pixels, MEAN, STD)).abs().max()
    yield from RGB_RESTORED.compare(answer, [(swapped, list(MEAN), list(STD))], off=off)
    yield Right("Undone, exchanged, normalised again: the images are as if they had been read as RGB.")


# Each fault, and where to look for it.
BATCH_FAULTS = {
    "right": "A correct batch can have numbers below 0 and above 1, but need not have both. Look at the "
    "smallest and the largest together.",
    "another size": "Compare each of the last two numbers of the shape with the size: they can differ.",
    "0 to 255": "How large can a number be that was from 0 to 1 and then normalised?",
    "not normalised": "What do the smallest and the largest number tell you together? Dark pictures need not "
    "reach 1.",
    "grey": "Its channels were equal. The normalisation shifted each by a different amount: undo it first.",
}


@check(
    begin="print the shape, the smallest and the largest value of a correct batch. What would each "
    "fault change?",
    expects=f"a function from images, mean, std and size to one of {', '.join(BATCH_FAULTS)}",
)
def fault_found(answer):
    """Lesson 08: the fault in the preparation of a batch, from its numbers."""
    mistaken = {}
    for darkest, brightest in ((0, 1), (0, 0.35), (0.6, 1)):
        for fault, images in _prepared(darkest, brightest):
            shape = list(images.shape)
            none = f"{NO_RETURN} It returns nothing for a batch {shape} that is '{fault}'."
            value = ask_value(answer, images.clone(), list(MEAN), list(STD), SIZE, none=none)
            if value not in list(BATCH_FAULTS):
                raise Wrong(f"{value!r:.50} is none of {', '.join(BATCH_FAULTS)}.")
            if value != fault:
                numbers = f"{shape}, from {images.min():.1f} to {images.max():.1f}"
                hint = f"A batch {numbers}, is '{fault}', and you call it '{value}'. {BATCH_FAULTS[fault]}"
                if (fault, value) == ("right", "grey"):
                    hint = "A batch is 'grey' only if in all its pictures the channels are equal, all three."
                mistaken.setdefault(fault, hint)
    yield from mistaken.values()
    if not mistaken:
        yield Right("Bright or dark, each fault leaves its mark in the numbers.")


def _prepared(darkest: float, brightest: float) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each fault and a batch of pictures that was prepared with it."""
    size = (4, 3, SIZE, SIZE)
    numbers = (255 * (darkest + (brightest - darkest) * torch.rand(size))).round()
    pixels, grey = numbers / 255, (numbers[:, :1] / 255).expand(size)
    one_is_grey = torch.cat([grey[:1], pixels[1:]])
    two_are_equal = [torch.where(torch.eye(3)[odd].view(3, 1, 1) == 1, 1 - grey, grey) for odd in range(3)]
    for coloured in (pixels, one_is_grey, *two_are_equal):
        yield "right", normalize(coloured, MEAN, STD)
    for height, width in ((0.5, 0.5), (1, 0.5), (0.5, 1), (2, 2), (1, 2), (2, 1)):
        whole = pixels.repeat(1, 1, 2, 2)[..., : int(SIZE * height), : int(SIZE * width)]
        yield "another size", normalize(whole, MEAN, STD)
    yield "0 to 255", normalize(numbers, MEAN, STD)
    yield "not normalised", pixels
    yield "grey", normalize(grey, MEAN, STD)


@check(
    begin="take the difference picture by picture; then draw pictures, with replacement, again and again.",
    expects="a function from two lists of True and False to a difference and the two ends of its interval",
    without=("paired_difference",),
)
def paired_interval(answer):
    """Lesson 08: the difference of two heads and its 95 % interval, from the pictures that each got right."""
    random = np.random.default_rng(3)
    for images, easy in ((400, 0.75), (150, 0.5)):
        both = random.random(images) < easy
        first, second = (both ^ (random.random(images) < share) for share in (0.04, 0.12))
        mean, low, high = as_numbers(ask(answer, first.copy(), second.copy()), 3)
        difference = first.astype(float) - second
        width, true = high - low, difference.mean()
        paired = 2 * 1.96 * difference.std() / math.sqrt(images)
        separate = 2 * 1.96 * math.sqrt((first.var() + second.var()) / images)
        found = f"On {images} images: difference {mean:.3f}, interval {low:.3f} to {high:.3f}. "
        if not close(mean, true):
            mistakes = {
                -true: "The sign is the wrong way round: how much more often was the first right?",
                100 * true: "That is in points; give a share from −1 to 1.",
            }
            share = "It is the share that the first got right minus the share that the second got right."
            raise Wrong(found + next((mistakes[one] for one in mistakes if close(mean, one)), share))
        if low > high:
            raise Wrong(found + "The lower end comes first.")
        if not low <= mean <= high:
            raise Wrong(found + "The difference lies outside its own interval. Is one of the signs wrong?")
        if width < 1e-9:
            raise Wrong(found + "It has no width. Did you draw with replacement, and draw anew each time?")
        if any(close(width, paired * math.sqrt(images / of), 1e-4) for of in (images, images - 1)):
            raise Wrong(f"{found}That is 1.96 standard errors to either side. Draw, without a formula.")
        if math.isclose(width, separate, rel_tol=0.15):
            raise Wrong(
                f"{found}It is {width:.3f} wide, as if each head had been tested on its own images. Draw the "
                f"same images for both: then it is about {paired:.2f} wide."
            )
        if not math.isclose(width, paired, rel_tol=0.15):
            size = "wide" if width > paired else "narrow"
            raise Wrong(
                f"{found}Its width, {width:.3f}, is too {size}. How many do you draw? Which 95 % do you keep?"
            )
        yield Right(found + f"Two separate intervals would have made it {separate:.3f} wide.")
    # One image of eight differs: it is drawn none to three times, and once at most without replacement
    _, low, high = as_numbers(ask(answer, np.arange(8) >= 0, np.arange(8) > 0), 3)
    if high - low < 0.3:
        raise Wrong(
            f"If one image of eight differs, your interval is {low:.3f} to {high:.3f}: too narrow. "
            "Draw as many images as there are, with replacement: one image can be drawn several times."
        )
    yield Right(f"One image of eight differs: {low:.3f} to {high:.3f}, since it can be drawn several times.")
