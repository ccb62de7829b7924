"""Checks of lessons 00 and 01: what is reused, and how a picture becomes numbers."""

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
    begin="compare one part before and after the training, for example "
    "`torch.equal(before.conv1.weight, after.conv1.weight)`.",
    expects='a dictionary from the name of each part to "reused" or "learned"',
)
def reused_or_learned(answer, before, after):
    """Lesson 00: which parts of a network were reused, and which were trained."""
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
        yield f"Give a word for each part that has parameters: {', '.join(missing)} is missing."
    for name in answer:
        if name not in truth:
            yield f"There is no part {name!r} with parameters: print(before) shows the names."
    given = {name: answer[name] for name in truth if name in answer}
    for name, value in given.items():
        if value not in ("reused", "learned"):
            raise Wrong(f'For {name} write "reused" or "learned", not {describe(value)}.')
    wrong = [name for name, value in given.items() if value != truth[name]]
    if wrong and len(wrong) == len(truth):
        raise Wrong("Every part is the other way round: which word fits parameters that stayed the same?")
    for name in wrong:
        moved = "are different" if truth[name] == "learned" else "are the same"
        yield f"You say that {name} was {given[name]}, but its numbers {moved} after the training."
    if answer == truth:
        count = list(truth.values()).count("reused")
        yield Right(f"{count} parts were reused unchanged: the backbone. The head was learned.")


@check(
    begin="let the function look up the name, `classes[label]`, and decide whether it is worn on the feet.",
    expects="a function from a label and the list of classes to 0 or 1",
)
def worn_on_feet(answer, classes):
    """Lesson 00: the right answer to a new question, from an old label."""
    wanted = [int(name in FOOTWEAR) for name in classes]
    given = [ask(answer, label, list(classes)) for label in range(len(classes))]
    if None in given:
        name = classes[given.index(None)]
        raise Wrong(f"For {name} nothing comes back: does every branch end in a `return`?")
    numbers = [float(value) if isinstance(value, bool) else as_number(value) for value in given]
    if strange := [value for value, number in zip(given, numbers, strict=True) if number not in (0.0, 1.0)]:
        found = describe(strange[0])
        raise Wrong(f"A network with two outputs needs the labels 0 and 1, and one of yours is {found}.")
    wrong = [name for name, number, right in zip(classes, numbers, wanted, strict=True) if number != right]
    if len(wrong) == len(classes):
        yield "Every answer is the other way round: 1 means yes, it is worn on the feet."
    elif len(set(numbers)) == 1:
        yield f"Every class gets the answer {numbers[0]:.0f}: look at the name, `classes[label]`."
    elif wrong:
        yield f"Look again at these classes: {', '.join(wrong)}."
    elif [int(ask(answer, n, list(classes)[::-1])) for n in range(len(classes))] != wanted[::-1]:
        yield "It fails when the classes are in another order: use their names, not their numbers."
    else:
        yield Right(f"{sum(wanted)} of the {len(classes)} classes are worn on the feet.")


@check(
    begin="call `learn_from(2, seed)` with the seeds 0, 1 and 2, then do the same with the other numbers.",
    expects="a dictionary from numbers of images to three accuracies each, and one of these numbers",
    answers=2,
)
def few_images(results, fewest, learn_from, numbers=(2, 5, 20, 40), wanted=0.7, seed=0):
    """Lesson 00: how few images are enough. One run of each number of images is repeated."""
    if missing := [str(number) for number in numbers if number not in results]:
        raise Wrong(f"The dictionary has no entry for {', '.join(missing)} images of each class.")
    for number in numbers:
        if len(given := numbers_in(results[number])) != 3:
            raise Wrong(
                f"{number} images need three accuracies, one for each seed: a single run is one draw."
            )
        if any(not 0 <= value <= 1 for value in given):
            raise Wrong(
                f"The accuracies with {number} images should be shares from 0 to 1, not {max(given):g}."
            )
        alike = len(set(given)) == 1  # that may be luck: then all three are learned again
        for one in range(3) if alike else [seed]:
            again = learn_from(number, one)
            if abs(again - given[one]) < 0.03:
                continue
            if alike:
                found = f"{number} images give the same accuracy three times"
                raise Wrong(f"{found}: did each run get its own seed?")
            raise Wrong(
                f"learn_from({number}, seed={one}) gives {again:.2f}, but you have {given[one]:.2f}: is each "
                "accuracy in its place, for the seeds 0, 1 and 2 in this order?"
            )
    means = {number: sum(map(float, results[number])) / 3 for number in numbers}
    enough = min((number for number in numbers if means[number] >= wanted), default=None)
    if enough is None or as_number(fewest) != enough:
        table = ", ".join(f"{number} images {mean:.2f}" for number, mean in means.items())
        raise Wrong(
            f"The means over your three seeds are: {table}. Which is the first of at least {wanted:g}? You "
            f"wrote {describe(fewest)}."
        )
    yield Right(f"From {enough} images of each class up, the mean over three seeds is {wanted:.0%} or more.")


@check(
    begin="ten classes with `images_per_class` images each are shared by training and validation.",
    expects="a function from images_per_class and val_fraction to three whole numbers",
)
def set_sizes(answer, images_per_class=25, val_fraction=0.2):
    """Lesson 01: how many images training, validation and test get."""
    settings = Settings(images_per_class=images_per_class, val_fraction=val_fraction)
    train, val, test = (len(split) for split in load_splits(settings, transform=nn.Identity())[:3])
    numbers = as_numbers(ask(answer, images_per_class, val_fraction), 3)
    case = f"with {images_per_class} images of each class and a fraction of {val_fraction:g}"
    if parts := [number for number in numbers if number != int(number)]:
        raise Wrong(f"Images come whole: {case} one of your numbers is {parts[0]:g}.")
    if numbers == (train, val, test):
        yield Right(f"{train} + {val} = {train + val} images are shared; {test:,} are always for the test.")
    elif numbers[:2] == (val, train) != (train, val):
        yield "Training and validation are swapped: which of the two is the smaller share?"
    elif numbers[0] == train + val:
        yield f"Training still has all {train + val} images: the validation images are taken out of them."
    elif 0 < numbers[0] <= images_per_class:
        yield "That counts the images of one class. How many classes are there?"
    else:
        for name, number, right in (("training", numbers[0], train), ("validation", numbers[1], val)):
            if number != right:
                yield f"The {name} set is not right {case}: you give {number:g} images."
    if numbers[2] != test:
        yield (
            f"You give {numbers[2]:g} test images. The test set is separate, and neither setting "
            "changes it: use its length."
        )


@check(
    begin="join the four steps of the lesson with `v2.Compose([...])`.",
    expects="a function from a picture to a tensor [3, height, width]",
)
def own_transform(answer, weights, seed=0):
    """Lesson 01: a transform that gives the numbers that the weights were trained with."""
    random, right_transform = np.random.default_rng(seed), Preprocessing.from_weights(weights).transform()
    for mode, shape, end in (  # the last one is wider than high
        ("L", (28, 28), (28, 28)),
        ("RGB", (48, 48, 3), (28, 28)),
        ("RGB", (48, 48, 3), (42, 28)),
    ):
        picture = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).resize(end)
        wanted = right_transform(picture)
        with patch.object(type(weights.transforms()), "forward", return_value=wanted) as own:
            given = ask(answer, picture.copy())
        if own.called:
            raise Wrong("That is the weights' own transform. Join the steps yourself: which ones are in it?")
        if not isinstance(given, torch.Tensor):
            raise Wrong(f"A tensor should come back, and it is {describe(given)}: `v2.ToImage()` makes one.")
        size, height, width = list(given.shape), *wanted.shape[1:]
        if size in ([1, height, width], [height, width]):
            raise Wrong(
                f"A picture of the mode {mode} has {describe(given)} in the end: the network wants three "
                "channels. Which step makes them?"
            )
        if size == [height, width, 3]:
            raise Wrong(f"The shape is {size}: the network wants the channels first.")
        if size != [3, height, width]:
            raise Wrong(
                f"The shape is {size} for a picture of {end[0]} by {end[1]} pixels; these weights were made "
                f"for {height} by {width} pixels and three channels."
            )
        if given.dtype != torch.float32:
            raise Wrong(f"The numbers are of the type {given.dtype}; the network wants torch.float32.")
        low, high = given.min().item(), given.max().item()
        reach = f"from {low:.2f} to {high:.2f}"
        if not torch.equal(given, ask(answer, picture.copy())):
            raise Wrong("The same picture gives other numbers the second time: leave out random steps.")
        if high > 10:
            raise Wrong(f"The numbers go {reach}: bring them to a scale from 0 to 1 before you normalise.")
        if low >= 0:
            raise Wrong(f"The numbers go {reach}: they have not been normalised.")
        if (given - wanted).abs().max() > 0.1 and end[0] != end[1]:
            raise Wrong(
                "Square pictures are right, and one that is wider than high is not: do not squeeze it into a "
                "square. Resize its shorter side, then crop the longer one equally on both sides."
            )
        if (given - wanted).abs().max() > 0.1:
            raise Wrong(f"A picture of the mode {mode} has numbers {reach}. {_pixel_mistake(given, wanted)}")
        yield Right(f"A picture of the mode {mode}, {end[0]} by {end[1]}, becomes {size}, {reach}.")


def _pixel_mistake(given: torch.Tensor, wanted: torch.Tensor) -> str:
    """Say whether numbers, [3, height, width], were normalised in another way, or lie in other places."""
    if _follow(given, wanted):  # any mean and standard deviation keeps bright pixels bright
        shifts = ", ".join(f"{shift:+.2f}" for shift in (given - wanted).mean(dim=(1, 2)).tolist())
        return (
            f"Red, green and blue lie {shifts} from where these weights want them. Take the mean and the "
            "standard deviation from the weights, in the order red, green, blue."
        )
    if _follow(given.flip(0), wanted):
        return "Red and blue are swapped: the weights want red, green, blue."
    return (
        "The pixels do not lie where these weights want them. In pretraining, pictures were resized as a "
        "whole, with v2.Resize and its usual interpolation, and not turned, mirrored or cut."
    )


def _follow(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Say whether in each channel the one is a straight line of the other."""
    pairs = zip(given.flatten(1), wanted.flatten(1), strict=True)
    return all(torch.corrcoef(torch.stack(pair))[0, 1] > 0.999 for pair in pairs)


@check(
    begin="make a fingerprint of every picture in `train`, then ask for each in `val` whether it is there.",
    expects="a function from two lists of pictures to a list of positions",
)
def shared_pictures(answer, pictures, seed=0):
    """Lesson 01: the pictures that two sets share, some of which the check hides there itself."""
    train, val, copies, saved_again = _sets_that_leak(pictures, seed)
    given = ask_value(answer, list(train), list(val), none="Nothing comes back: is there a `return`?")
    given = list(given)
    if len(positions := numbers_in(given)) != len(given):
        raise Wrong(f"It should give positions in `val`, whole numbers from 0, and not {describe(given)}.")
    found, leaked = {int(number) for number in positions}, copies | saved_again
    if len(positions) != len(found):
        raise Wrong("Some positions are in your list twice: name each picture of `val` once.")
    shared = {_pixels(val[number]) for number in leaked}
    in_train = {number for number, one in enumerate(train) if _pixels(one) in shared}
    if not found:
        yield f"It finds nothing, but {len(leaked)} of {len(val)} pictures in `val` are also in `train`."
    elif found <= in_train and found - leaked:
        yield "These are the positions in `train`: give those in `val`."
    elif found == {number + 1 for number in leaked}:
        yield "Your positions are one too high: the first picture of `val` is at 0."
    elif found == set(range(len(val))):
        yield "It names every picture in `val`: compare the pixels, not something that all of them share."
    elif found - leaked:
        yield (
            f"{len(found - leaked)} pictures that it names are not in `train`. Two pictures may have the "
            "same mean, or the same pixels in other places: compare all pixels, each in its place."
        )
    elif found == copies:
        yield (
            f"It misses {len(leaked - found)} pictures. Look at the modes: the same picture may have been "
            "saved a second time in another mode. Bring all to one mode before you compare."
        )
    elif found != leaked:
        yield (
            f"It misses {len(leaked - found)} of {len(leaked)} pictures, for example the one at "
            f"{min(leaked - found)}: is each picture of `val` compared with all of `train`?"
        )
    else:
        yield Right(f"All {len(leaked)} pictures that are in both sets are found, and no others.")


def _pixels(picture: Image.Image) -> bytes:
    return picture.convert("RGB").tobytes()


def _sets_that_leak(pictures: Sequence[Image.Image], seed: int) -> tuple[list, list, set[int], set[int]]:
    """Return two lists of pictures, and where in the second one copies lie: exact ones, and others."""
    grey = list({picture.convert("L").tobytes(): picture.convert("L") for picture in pictures}.values())
    random = np.random.default_rng(seed)
    chosen = [grey[number] for number in random.permutation(len(grey))[:30]]
    train, others = chosen[:20], chosen[20:]
    known = {_pixels(one) for one in chosen}
    mirrored = [ImageOps.mirror(one) for one in train]  # the same histogram, and yet other pictures
    others += [one for one in mirrored if _pixels(one) not in known][:2]
    twice = random.permutation(20)[:5]
    val = [*others, *(train[n].copy() for n in twice[:2]), *(train[n].convert("RGB") for n in twice[2:])]
    order, count = random.permutation(len(val)).tolist(), len(others)
    copies = {order.index(count), order.index(count + 1)}
    saved_again = {order.index(number) for number in range(count + 2, len(val))}
    return train, [val[number] for number in order], copies, saved_again
