"""Checks of lessons 00 and 01: reused layers, and how a picture becomes numbers."""

from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

from course_utils.checks.asking import as_numbers, ask, ask_value
from course_utils.checks.values import as_number, describe, numbers_in
from course_utils.checks.verdict import Right, Wrong, check
from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.settings import Settings

FOOTWEAR = ("Sandal", "Sneaker", "Ankle boot")


@check(
    begin="compare one part before and after training, for example "
    "`torch.equal(before.conv1.weight, after.conv1.weight)`.",
    expects='a dictionary from the name of each part to "reused" or "learned"',
)
def reused_or_learned(answer, before, after):
    """Lesson 00: tell the reused parts of a network from the trained ones."""
    truth = {}
    for name, part in after.named_children():
        new, old = list(part.parameters()), list(before.get_submodule(name).parameters())
        if new:
            same = all(torch.equal(*pair) for pair in zip(new, old, strict=True))
            truth[name] = "reused" if same else "learned"
    answer = {
        str(name): value.strip().lower() if isinstance(value, str) else value
        for name, value in answer.items()
    }
    if missing := [name for name in truth if name not in answer]:
        yield f"Expected an entry for each part that has parameters, but {', '.join(missing)} is missing."
    for name in answer:
        if name not in truth:
            yield f"The network has no part {name!r} with parameters. `print(before)` shows the names."
    given = {name: answer[name] for name in truth if name in answer}
    for name, value in given.items():
        if value not in ("reused", "learned"):
            raise Wrong(f'For {name}, expected "reused" or "learned", got {describe(value)}.')
    wrong = [name for name, value in given.items() if value != truth[name]]
    if wrong and len(wrong) == len(truth):
        raise Wrong(
            "You have every part the wrong way round. Which word fits parameters that stayed the same?"
        )
    for name in wrong:
        moved = "are different" if truth[name] == "learned" else "are the same"
        yield f"You say that {name} was {given[name]}, but its parameters {moved} after training."
    if answer == truth:
        count = list(truth.values()).count("reused")
        yield Right(f"The {count} parts of the backbone were reused unchanged. The head was learned.")


@check(
    begin="look up the class name, `classes[label]`, and decide whether this item is worn on the feet.",
    expects="a function from a label and the list of classes to 0 or 1",
)
def worn_on_feet(answer, classes):
    """Lesson 00: derive the labels of a new task from the old ones."""
    wanted = [int(name in FOOTWEAR) for name in classes]
    given = [ask(answer, label, list(classes)) for label in range(len(classes))]
    if None in given:
        name = classes[given.index(None)]
        raise Wrong(f"For {name}, your function returns None. Does every branch end in a `return`?")
    numbers = [float(value) if isinstance(value, bool) else as_number(value) for value in given]
    if strange := [value for value, number in zip(given, numbers, strict=True) if number not in (0.0, 1.0)]:
        found = describe(strange[0])
        raise Wrong(f"A network with two outputs needs the labels 0 and 1, but one of yours is {found}.")
    wrong = [name for name, number, right in zip(classes, numbers, wanted, strict=True) if number != right]
    if len(wrong) == len(classes):
        yield "All your labels are the wrong way round. 1 means that the item is worn on the feet."
    elif len(set(numbers)) == 1:
        yield (
            f"Your function returns {numbers[0]:.0f} for every class. Look at the class name, "
            "`classes[label]`."
        )
    elif wrong:
        yield f"Your labels are wrong for these classes: {', '.join(wrong)}. Look at them again."
    elif [int(ask(answer, n, list(classes)[::-1])) for n in range(len(classes))] != wanted[::-1]:
        yield (
            "Your function fails if the classes are in a different order. Use their names, not their numbers."
        )
    else:
        yield Right(f"{sum(wanted)} of the {len(classes)} classes are worn on the feet.")


@check(
    begin="call `learn_from(2, seed)` with seeds 0, 1 and 2, then repeat this for the other numbers of "
    "images.",
    expects="a dictionary from each number of images to its three accuracies, and one of these numbers",
    answers=2,
)
def few_images(results, fewest, learn_from, numbers=(2, 5, 20, 40), wanted=0.7, seed=0):
    """Lesson 00: find out how few images are enough. The check repeats one run for each number of images."""
    if missing := [str(number) for number in numbers if number not in results]:
        raise Wrong(f"Your dictionary has no entry for {', '.join(missing)} images per class.")
    for number in numbers:
        if len(given := numbers_in(results[number])) != 3:
            raise Wrong(
                f"Expected three accuracies for {number} images, one for each seed. A single run is just "
                "one draw."
            )
        if any(not 0 <= value <= 1 for value in given):
            raise Wrong(
                f"The accuracies for {number} images should be shares from 0 to 1, but the largest "
                f"is {max(given):g}."
            )
        alike = len(set(given)) == 1  # this may be luck, so repeat all three runs
        for one in range(3) if alike else [seed]:
            again = learn_from(number, one)
            if abs(again - given[one]) < 0.03:
                continue
            if alike:
                found = f"{number} images have the same accuracy three times"
                raise Wrong(f"{found}. Does each run use its own seed?")
            raise Wrong(
                f"learn_from({number}, seed={one}) returns {again:.2f}, but you have {given[one]:.2f}. Is "
                "each accuracy in its place, in the order of the seeds 0, 1 and 2?"
            )
    means = {number: sum(map(float, results[number])) / 3 for number in numbers}
    enough = min((number for number in numbers if means[number] >= wanted), default=None)
    if enough is None or as_number(fewest) != enough:
        table = ", ".join(f"{number} images {mean:.2f}" for number, mean in means.items())
        raise Wrong(
            f"The means over your three seeds are: {table}. Which is the first to reach {wanted:g}? Your "
            f"answer is {describe(fewest)}."
        )
    yield Right(
        f"With {enough} images per class or more, the mean over three seeds is at least {wanted:.0%}."
    )


@check(
    begin="training and validation share ten classes of `images_per_class` images each.",
    expects="a function from images_per_class and val_fraction to three whole numbers",
)
def set_sizes(answer, images_per_class=25, val_fraction=0.2):
    """Lesson 01: compute the sizes of the training, validation and test sets."""
    settings = Settings(images_per_class=images_per_class, val_fraction=val_fraction)
    train, val, test = (len(split) for split in load_splits(settings, transform=nn.Identity())[:3])
    numbers = as_numbers(ask(answer, images_per_class, val_fraction), 3)
    case = f"with {images_per_class} images per class and a validation fraction of {val_fraction:g}"
    if parts := [number for number in numbers if number != int(number)]:
        raise Wrong(f"Expected whole numbers of images, but {case}, one of your numbers is {parts[0]:g}.")
    if numbers == (train, val, test):
        yield Right(
            f"Training and validation share {train} + {val} = {train + val} images. The test set always has "
            f"{test:,}."
        )
    elif numbers[:2] == (val, train) != (train, val):
        yield "You have swapped training and validation. Which of the two gets the smaller share?"
    elif numbers[0] == train + val:
        yield (
            f"Your training set still has all {train + val} images, but the validation images are taken out "
            "of them."
        )
    elif 0 < numbers[0] <= images_per_class:
        yield "You count the images of one class only. How many classes are there?"
    else:
        for name, number, right in (("training", numbers[0], train), ("validation", numbers[1], val)):
            if number != right:
                yield f"The size of the {name} set is wrong {case}: you return {number:g} images."
    if numbers[2] != test:
        yield (
            f"You return {numbers[2]:g} test images. The test set is separate, so neither setting changes "
            "it. Use its length."
        )


@check(
    begin="chain the four steps of the lesson with `v2.Compose([...])`.",
    expects="a function from a picture to a tensor of shape [3, height, width]",
)
def own_transform(answer, weights, seed=0):
    """Lesson 01: write the transform that the weights were trained with."""
    random, right_transform = np.random.default_rng(seed), Preprocessing.from_weights(weights).transform()
    for mode, shape, end in (  # the last one is wider than it is high
        ("L", (28, 28), (28, 28)),
        ("RGB", (48, 48, 3), (28, 28)),
        ("RGB", (48, 48, 3), (42, 28)),
    ):
        picture = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).resize(end)
        wanted = right_transform(picture)
        with patch.object(type(weights.transforms()), "forward", return_value=wanted) as own:
            given = ask(answer, picture.copy())
        if own.called:
            raise Wrong(
                "You use the weights' own transform. Chain the steps yourself: which ones does it contain?"
            )
        if not isinstance(given, torch.Tensor):
            raise Wrong(f"Expected a tensor, got {describe(given)}. Try `v2.ToImage()`, which makes one.")
        size, height, width = list(given.shape), *wanted.shape[1:]
        if size in ([1, height, width], [height, width]):
            raise Wrong(
                f"A picture of mode {mode} becomes {describe(given)}, but the network expects three "
                "channels. Which step makes them?"
            )
        if size == [height, width, 3]:
            raise Wrong(f"The shape is {size}, but the network expects the channels first.")
        if size != [3, height, width]:
            raise Wrong(
                f"The shape is {size} for a picture of {end[0]} by {end[1]} pixels, but these weights were "
                f"trained on three channels of {height} by {width} pixels."
            )
        if given.dtype != torch.float32:
            raise Wrong(f"Your numbers have the dtype {given.dtype}, but the network expects torch.float32.")
        low, high = given.min().item(), given.max().item()
        reach = f"from {low:.2f} to {high:.2f}"
        if not torch.equal(given, ask(answer, picture.copy())):
            raise Wrong(
                "The same picture becomes different numbers the second time. Leave out any random steps."
            )
        if high > 10:
            raise Wrong(
                f"Your numbers range {reach}. Bring them to a scale from 0 to 1 before you normalise."
            )
        if low >= 0:
            raise Wrong(f"Your numbers range {reach}. They have not been normalised.")
        if (given - wanted).abs().max() > 0.1 and end[0] != end[1]:
            raise Wrong(
                "Square pictures are right, but one that is wider than it is high is not. Do not squeeze it "
                "into a square. Resize its shorter side, then crop the longer one equally on both sides."
            )
        if (given - wanted).abs().max() > 0.1:
            raise Wrong(
                f"The numbers of a picture of mode {mode} range {reach}. {_pixel_mistake(given, wanted)}"
            )
        yield Right(
            f"A picture of mode {mode} and {end[0]} by {end[1]} pixels becomes {size}, with numbers {reach}."
        )


def _pixel_mistake(given: torch.Tensor, wanted: torch.Tensor) -> str:
    """Return a hint for numbers [3, height, width] with another normalisation or with displaced pixels."""
    if _follow(given, wanted):  # bright pixels stay bright under any mean and standard deviation
        shifts = ", ".join(f"{shift:+.2f}" for shift in (given - wanted).mean(dim=(1, 2)).tolist())
        return (
            f"Red, green and blue are off by {shifts} from the numbers that these weights expect. Take the "
            "mean and the standard deviation from the weights, in the order red, green, blue."
        )
    if _follow(given.flip(0), wanted):
        return "Red and blue are swapped. The weights expect red, green, blue."
    return (
        "The pixels are not where these weights expect them. In pretraining, whole pictures were resized "
        "with v2.Resize and its default interpolation, and were not rotated, flipped or cropped."
    )


def _follow(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Return whether the two are linearly related in each channel."""
    pairs = zip(given.flatten(1), wanted.flatten(1), strict=True)
    return all(torch.corrcoef(torch.stack(pair))[0, 1] > 0.999 for pair in pairs)


@check(
    begin="make a fingerprint of every picture in `train`, then check for each picture in `val` "
    "whether its fingerprint is among them.",
    expects="a function from two lists of pictures to a list of positions",
)
def shared_pictures(answer, pictures, seed=0):
    """Lesson 01: find the pictures that two sets share. The check plants some of them itself."""
    train, val, copies, saved_again = _sets_that_leak(pictures, seed)
    given = ask_value(
        answer, list(train), list(val), none="Expected a list, got None. Did you forget `return`?"
    )
    given = list(given)
    if len(positions := numbers_in(given)) != len(given):
        raise Wrong(f"Expected positions in `val`, which are whole numbers from 0, got {describe(given)}.")
    found, leaked = {int(number) for number in positions}, copies | saved_again
    if len(positions) != len(found):
        raise Wrong("Some positions are in your list twice. List each picture of `val` only once.")
    shared = {_pixels(val[number]) for number in leaked}
    in_train = {number for number, one in enumerate(train) if _pixels(one) in shared}
    if not found:
        yield (
            f"Your function finds nothing, but {len(leaked)} of {len(val)} pictures in `val` are also in "
            "`train`."
        )
    elif found <= in_train and found - leaked:
        yield "You return the positions in `train`. Return those in `val`."
    elif found == {number + 1 for number in leaked}:
        yield "Your positions are one too high. The first picture of `val` is at position 0."
    elif found == set(range(len(val))):
        yield "You list every picture in `val`. Compare the pixels, not something that all pictures share."
    elif found - leaked:
        yield (
            f"{len(found - leaked)} of the pictures that you list are not in `train`. Two pictures can have "
            "the same mean, or the same pixels in other places. Compare all pixels, each in its place."
        )
    elif found == copies:
        yield (
            f"You miss {len(leaked - found)} pictures. Look at their modes. The same picture may have been "
            "saved a second time in another mode. Convert all pictures to one mode before you compare them."
        )
    elif found != leaked:
        yield (
            f"You miss {len(leaked - found)} of {len(leaked)} pictures, for example the one at position "
            f"{min(leaked - found)}. Do you compare each picture of `val` with all of `train`?"
        )
    else:
        yield Right(f"You found all {len(leaked)} pictures that are in both sets, and no others.")


def _pixels(picture: Image.Image) -> bytes:
    return picture.convert("RGB").tobytes()


def _sets_that_leak(pictures: Sequence[Image.Image], seed: int) -> tuple[list, list, set[int], set[int]]:
    """Return two lists of pictures, and the positions of exact and of converted copies in the second one."""
    grey = list({picture.convert("L").tobytes(): picture.convert("L") for picture in pictures}.values())
    random = np.random.default_rng(seed)
    chosen = [grey[number] for number in random.permutation(len(grey))[:30]]
    train, others = chosen[:20], chosen[20:]
    known = {_pixels(one) for one in chosen}
    mirrored = [ImageOps.mirror(one) for one in train]  # different pictures with the same histogram
    others += [one for one in mirrored if _pixels(one) not in known][:2]
    twice = random.permutation(20)[:5]
    val = [*others, *(train[n].copy() for n in twice[:2]), *(train[n].convert("RGB") for n in twice[2:])]
    order, count = random.permutation(len(val)).tolist(), len(others)
    copies = {order.index(count), order.index(count + 1)}
    saved_again = {order.index(number) for number in range(count + 2, len(val))}
    return train, [val[number] for number in order], copies, saved_again
