"""Answers to the exercises of lessons 00 and 01: right ones, and wrong ones that students give.

`GIVEN` has what a check is given after the answer, and `WRONG` the wrong answers with words of the hint that
each must get. A tuple is what a check of several answers takes.
"""

import copy
import functools

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2
from wrong_answers_lessons_02_to_04 import network

from course_utils.models.weights import ResNet18_64px_Weights

CLASSES = ["Shirt", "Sandal", "Bag", "Sneaker", "Coat", "Ankle boot"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@functools.cache
def trained():
    """Return a copy whose head has other numbers, as after a training."""
    after = copy.deepcopy(network())
    with torch.no_grad():
        after.fc.weight.add_(1)
    return after


@functools.cache
def pictures():
    random = np.random.default_rng(3)
    return [Image.fromarray(random.integers(0, 256, (28, 28), dtype=np.uint8)) for _ in range(40)]


# Lesson 00
PARTS = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
REUSED = dict.fromkeys(PARTS, "reused")
LEARNED = {2: [0.5, 0.6, 0.55], 5: [0.6, 0.7, 0.65], 20: [0.7, 0.75, 0.8], 40: [0.8, 0.82, 0.8]}
NEVER_ENOUGH = {images: [found[0], 0.1, 0.2] for images, found in LEARNED.items()}
FEET = ("Sandal", "Sneaker", "Ankle boot")


def learn_from(images, seed):
    return LEARNED[images][seed]


# Lesson 01
def transform(*changes, size=64, mean=MEAN, std=STD):
    """Return the right transform, with some of its steps left out or others put in their places."""
    steps = {
        "rgb": v2.RGB(),
        "resize": v2.Resize(size),
        "crop": v2.CenterCrop(size),
        "image": v2.ToImage(),
        "scale": v2.ToDtype(torch.float32, scale=True),
        "normalise": v2.Normalize(mean=mean, std=std),
    }
    return v2.Compose([step for name, step in steps.items() if name not in changes])


def resized(step):
    return v2.Compose([v2.RGB(), step, transform("rgb", "resize", "crop")])


def swapped_colours(pixels):
    return v2.functional.normalize(pixels.flip(0), MEAN, STD)


def shared(train, val, mode="RGB", fingerprint=lambda picture: picture.tobytes()):
    train, val = (
        [fingerprint(picture.convert(mode) if mode else picture) for picture in pictures]
        for pictures in (train, val)
    )
    return [position for position, pixels in enumerate(val) if pixels in train]


def like(number):
    """Return an answer with a fingerprint that other pictures have, too."""
    return lambda train, val: shared(train, val, fingerprint=number)


GIVEN = {
    "reused_or_learned": lambda: (network(), trained()),
    "worn_on_feet": lambda: (CLASSES,),
    "few_images": lambda: (learn_from,),
    "own_transform": lambda: (ResNet18_64px_Weights.DISTILLED_V1,),
    "shared_pictures": lambda: (pictures(),),
}
RIGHT = {
    "reused_or_learned": [dict.fromkeys(PARTS, " reused ") | {"fc": "learned\n"}],
    "worn_on_feet": [
        lambda label, classes: int(classes[label] in FEET),
        lambda label, classes: classes[label] in FEET,
    ],
    "few_images": [(LEARNED, 20)],
    "set_sizes": [
        lambda count, share: (round(10 * count * (1 - share)), round(10 * count * share), 2000),
        lambda count, share: torch.tensor([10 * count * (1 - share), 10 * count * share, 2000]).round().int(),
    ],
    "own_transform": [transform(), lambda picture: transform()(picture.convert("RGB"))],
    "shared_pictures": [shared, lambda train, val: set(shared(train, val))],
}
WRONG = {
    "reused_or_learned": [
        (dict.fromkeys([*PARTS, "fc"], "reused"), "fc was reused, but its parameters are different"),
        (REUSED | {"layer4": "learned", "fc": "learned"}, "layer4 was learned, but its parameters are"),
        (dict.fromkeys(PARTS, "learned") | {"fc": "reused"}, "every part the wrong way round"),
        (REUSED, "fc is missing"),
        (REUSED | {"fc": "learned", "layer5": "reused"}, "no part 'layer5'"),
        (REUSED | {"fc": True}, 'For fc, expected "reused" or "learned"'),
    ],
    "worn_on_feet": [
        (lambda label, classes: int(classes[label] == "Sneaker"), "Sandal, Ankle boot"),
        (lambda label, classes: int(label in (1, 3, 5)), "in a different order"),
        (lambda label, classes: int(classes[label] not in FEET), "labels are the wrong way round"),
        (lambda label, classes: classes[label], "labels 0 and 1"),
        (lambda label, classes: int(label in FEET), "returns 0 for every class"),
        (lambda label, classes: classes[str(label)], "fails on line"),
        ([0, 1, 0, 1, 0, 1], "should be a function"),
        (lambda label, classes: 1 if classes[label] in FEET else None, "For Shirt, your function returns"),
    ],
    "few_images": [
        ((LEARNED, 5), "The means over your three seeds"),
        ((NEVER_ENOUGH, "none"), "Which is the first to reach 0.7"),
        ((LEARNED | {2: LEARNED[5], 5: LEARNED[2]}, 20), "in its place"),
        ((LEARNED | {5: [0.6] * 3}, 20), "the same accuracy three times"),
        ((LEARNED | {5: [0.6]}, 20), "one draw"),
        (({number: [100 * x for x in found] for number, found in LEARNED.items()}, 20), "from 0 to 1"),
        (({2: LEARNED[2], 5: LEARNED[5]}, 20), "no entry for 20, 40"),
        ((LEARNED, None), "Nothing here yet"),
    ],
    "set_sizes": [
        (lambda count, share: (10 * count, 10 * count * share, 2000), "taken out of them"),
        (lambda count, share: (count * (1 - share), count * share, 2000), "images of one class"),
        (lambda count, share: (10 * count * share, 10 * count * (1 - share), 2000), "swapped"),
        (lambda count, share: (200, 50, 250), "test set is separate"),
        (lambda count, share: (200.5, 49.5, 2000), "Expected whole numbers of images"),
        (lambda count, share: (200, 40, 2000), "size of the validation set is wrong"),
        (lambda count, share: 250, "should return 3 numbers"),
    ],
    "own_transform": [
        (transform("normalise"), "not been normalised"),
        (v2.Compose([transform("scale", "normalise"), v2.ToDtype(torch.float32)]), "to a scale from 0 to 1"),
        (transform("rgb", "normalise"), "three channels"),
        (transform("resize", "crop"), "64 by 64"),
        (transform("crop"), "[3, 64, 96] for a picture of 42 by 28 pixels"),
        (resized(v2.Resize((64, 64))), "Do not squeeze it"),
        (transform("scale", "normalise"), "torch.uint8"),
        (transform(mean=[0.5] * 3, std=[0.5] * 3), "Take the mean and the standard deviation"),
        (v2.Compose([transform(), v2.RandomErasing(p=1.0)]), "second time"),
        (transform("image", "scale", "normalise"), "v2.ToImage"),
        (lambda picture: transform()(picture).permute(1, 2, 0), "channels first"),
        (ResNet18_64px_Weights.DISTILLED_V1.transforms(), "the weights' own transform"),
        (resized(v2.Compose([v2.Resize(64), lambda image: image.crop((0, 0, 64, 64))])), "on both sides"),
        (resized(v2.Resize((64, 64), interpolation=v2.InterpolationMode.NEAREST)), "default interpolation"),
        (resized(v2.Compose([v2.Resize(80), v2.CenterCrop(64)])), "or cropped"),
        (lambda picture: swapped_colours(transform("normalise")(picture)), "Red and blue are swapped"),
    ],
    "shared_pictures": [
        (lambda train, val: shared(train, val, mode=None), "another mode"),
        (lambda train, val: [], "finds nothing"),
        (lambda train, val: shared(val, train), "positions in `train`"),
        (lambda train, val: list(range(len(val))), "every picture in `val`"),
        (lambda train, val: sorted({0, 1, 2, 3, 4, 5, *shared(train, val)}), "not in `train`"),
        (lambda train, val: [val[position] for position in shared(train, val)], "whole numbers from 0"),
        (lambda train, val: shared(train, val) * 2, "twice"),
        (like(lambda picture: np.asarray(picture).mean(axis=1).tolist()), "each in its place"),
        (lambda train, val: [position + 1 for position in shared(train, val)], "one too high"),
        (lambda train, val: shared(train, val)[:1], "You miss 4 of 5 pictures"),
        (lambda train, val: print(shared(train, val)), "`return`"),
    ],
}
