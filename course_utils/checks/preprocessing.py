"""Checks of lesson 08: locate, repair and detect a fault, and compare two networks on the same pictures."""

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
    "right": "All three formats agree. No format is wrong by itself. Compare them with `==`, not with `is`.",
    "inference only": "Training agrees with pretraining. Where does the difference start?",
    "training and inference": "Training and inference agree with each other. Do they agree with pretraining?",
    "training only": "Inference agrees with pretraining. Which of the three is different?",
}


@check(
    begin="compare the formats in pairs. Which of them agree?",
    expects="a function from three format names to the place of the fault",
)
def fault_scope(answer):
    """Lesson 08: locate a fault from the formats of three programs."""
    for pretrained, trained, used, wanted in (
        ("RGB", "RGB", "RGB", "right"),
        ("RGB", "RGB", "BGR", "inference only"),
        ("RGB", "BGR", "BGR", "training and inference"),
        ("RGB", "BGR", "RGB", "training only"),
        ("BGR", "BGR", "BGR", "right"),
        ("0 to 1", "0 to 1", "0 to 255", "inference only"),
    ):
        case = f"pretraining {pretrained}, training {trained}, inference {used}"
        # Equal strings that are not the same object, to detect a comparison with `is`
        formats = ("".join(list(text)) for text in (pretrained, trained, used))
        value = ask_value(answer, *formats, none=f"{NO_RETURN} It happens for {case}.")
        if value not in set(_WHERE_IT_BEGINS):
            raise Wrong(f"Expected one of {', '.join(sorted(_WHERE_IT_BEGINS))}, got {value!r:.50}.")
        if value != wanted:
            raise Wrong(f"For {case}, you return '{value}'. {_WHERE_IT_BEGINS[wanted]}")
    yield Right("You compare training and inference with pretraining, not only with each other.")


def _undone(images: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (mean, std))
    return images * std + mean


def _off_by_channel(value: torch.Tensor, right: torch.Tensor, *_: object) -> str:
    off = (value - right).abs().amax(dim=(0, 2, 3))
    return (
        f"Red, green and blue are off by up to {off[0]:.2f}, {off[1]:.2f} and {off[2]:.2f}. In each "
        "channel, do you undo the same mean and standard deviation that the normalisation used?"
    )


RGB_RESTORED = Mistakes(
    right=lambda images, mean, std: normalize(_undone(images, mean, std).flip(1), mean, std),
    wrong={
        "Nothing has changed. Which dimension holds the channels?": lambda images, mean, std: images,
        "You swap the channels of normalised numbers. Red still has the mean and standard deviation of "
        "blue, so it is off by up to {off:.2f}.": lambda images, mean, std: images.flip(1),
        "The colours are right, but the images are no longer normalised. One step is missing.": (
            lambda images, mean, std: _undone(images, mean, std).flip(1)
        ),
        "The images are mirrored. You reverse the columns instead of the channels.": (
            lambda images, mean, std: images.flip(3)
        ),
        "The images are upside down. You reverse the rows instead of the channels.": (
            lambda images, mean, std: images.flip(2)
        ),
        "You shift the channels by one place. Green should stay where it is.": (
            lambda images, mean, std: normalize(_undone(images, mean, std).roll(1, 1), mean, std)
        ),
    },
    read=one_tensor(
        "Expected a tensor with the shape of the input, [2, 3, 6, 5], got {value}. Keep its type and shape.",
        *(2, 3, 6, 5),
    ),
    otherwise=_off_by_channel,
)


@check(
    begin="undo the normalisation, swap the channels, and normalise again.",
    expects="a function from images, their mean and their std to images of the same shape",
)
def rgb_restored(answer):
    """Lesson 08: repair images whose red and blue channels were swapped before normalisation."""
    pixels = torch.randint(256, (2, 3, 6, 5)) / 255  # 8-bit values, so that an answer may round to 8 bits
    swapped = normalize(pixels.flip(1), MEAN, STD)
    off = (swapped.flip(1) - normalize(pixels, MEAN, STD)).abs().max()
    yield from RGB_RESTORED.compare(answer, [(swapped, list(MEAN), list(STD))], off=off)
    yield Right(
        "You undo, swap and normalise again. The images are the same as if they had been read as RGB."
    )


# Each fault with a hint where to look for it
BATCH_FAULTS = {
    "right": "A correct batch can have numbers below 0 and above 1, but need not have both. Look at the "
    "minimum and the maximum together.",
    "another size": "Compare each of the last two numbers of the shape with the size. They can differ from "
    "each other.",
    "0 to 255": "How large can a number get if it was between 0 and 1 before normalisation?",
    "not normalised": "What do the minimum and the maximum tell you together? Dark pictures need not reach "
    "1.",
    "grey": "Its channels were equal. Normalisation shifted each of them by a different amount, so undo it "
    "first.",
}


@check(
    begin="print the shape, the minimum and the maximum of a correct batch. What would each fault change?",
    expects=f"a function from images, mean, std and size to one of {', '.join(BATCH_FAULTS)}",
)
def fault_found(answer):
    """Lesson 08: detect the preprocessing fault of a batch from its numbers."""
    mistaken = {}
    for darkest, brightest in ((0, 1), (0, 0.35), (0.6, 1)):
        for fault, images in _prepared(darkest, brightest):
            shape = list(images.shape)
            none = f"{NO_RETURN} It happens for a batch of shape {shape} that is '{fault}'."
            value = ask_value(answer, images.clone(), list(MEAN), list(STD), SIZE, none=none)
            if value not in list(BATCH_FAULTS):
                raise Wrong(f"Expected one of {', '.join(BATCH_FAULTS)}, got {value!r:.50}.")
            if value != fault:
                numbers = f"of shape {shape}, with numbers from {images.min():.1f} to {images.max():.1f}"
                hint = f"A batch {numbers}, is '{fault}', but you call it '{value}'. {BATCH_FAULTS[fault]}"
                if (fault, value) == ("right", "grey"):
                    hint = "A batch is 'grey' only if all three channels are equal in all its pictures."
                mistaken.setdefault(fault, hint)
    yield from mistaken.values()
    if not mistaken:
        yield Right("You detect each fault from the numbers of the batch, in bright and in dark pictures.")


def _prepared(darkest: float, brightest: float) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each fault with a batch of pictures prepared that way."""
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
    begin="compute the difference for each picture. Then draw pictures with replacement, again and again.",
    expects="a function from two boolean arrays to a difference and the two ends of its interval",
    without=("paired_difference",),
)
def paired_interval(answer):
    """Lesson 08: compute the accuracy difference of two heads with its 95 % interval on the same images."""
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
                -true: "The sign is the wrong way round. How much more often was the first head right?",
                100 * true: "This is in percentage points. Return a fraction from −1 to 1.",
            }
            share = "Expected the fraction that the first head got right minus that of the second head."
            raise Wrong(found + next((mistakes[one] for one in mistakes if close(mean, one)), share))
        if low > high:
            raise Wrong(found + "Return the lower end of the interval first.")
        if not low <= mean <= high:
            raise Wrong(
                found + "The difference lies outside its own interval. Does one of them have the wrong sign?"
            )
        if width < 1e-9:
            raise Wrong(
                found
                + "Your interval has no width. Do you draw with replacement, and a new sample each time?"
            )
        if any(close(width, paired * math.sqrt(images / of), 1e-4) for of in (images, images - 1)):
            raise Wrong(
                f"{found}This is 1.96 standard errors on either side. Draw samples instead of using a "
                "formula."
            )
        if math.isclose(width, separate, rel_tol=0.15):
            raise Wrong(
                f"{found}It is {width:.3f} wide, as if each head had been tested on its own images. Draw "
                f"the same images for both heads, which makes it about {paired:.2f} wide."
            )
        if not math.isclose(width, paired, rel_tol=0.15):
            size = "wide" if width > paired else "narrow"
            raise Wrong(
                f"{found}With a width of {width:.3f}, it is too {size}. How many images do you draw? Which "
                "95 % of the differences do you keep?"
            )
        yield Right(found + f"With separate images for each head, it would be {separate:.3f} wide.")
    # One image of eight differs. It is drawn up to three times with replacement, and at most once without
    _, low, high = as_numbers(ask(answer, np.arange(8) >= 0, np.arange(8) > 0), 3)
    if high - low < 0.3:
        raise Wrong(
            f"If one image of eight differs, your interval of {low:.3f} to {high:.3f} is too narrow. Draw as "
            "many images as there are, with replacement, so that one image can be drawn several times."
        )
    yield Right(
        f"If one image of eight differs, your interval is {low:.3f} to {high:.3f}, because this image can be "
        "drawn several times."
    )
