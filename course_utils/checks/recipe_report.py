"""Read the dictionary that a recipe of lesson 05 returns, and try its transform on all kinds of pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from course_utils.checks.asking import ask_value
from course_utils.checks.values import as_number, describe, listed, numbers_in
from course_utils.checks.verdict import Wrong

KEYS = ("model", "classes", "transform", "files", "train_loss", "val_accuracy", "best_epoch", "test_accuracy")
SETS = ("train", "val", "test")
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
SIZE = 64
ODD_SIZES = ((64, 64), (90, 50), (41, 77), (128, 40))
MODES_IN_WORDS = {
    "L": "a grey picture",
    "RGBA": "a transparent picture",
    "P": "a picture with a palette",
    "LA": "a grey picture with transparency",
}


@dataclass
class Report:
    """The dictionary that a recipe returns, and the pictures that it lists."""

    model: nn.Module
    classes: list[str]
    transform: Callable
    paths: list[Path]
    """All pictures of the three sets. Other parts of the check refer to a picture by its index here."""
    sets: list[str]
    """The set of each picture."""
    truth: list[int]
    """The index of the output for the folder of each picture."""
    train_loss: list[float]
    val_accuracy: list[float]
    best_epoch: int
    test_accuracy: float

    def numbers(self, name: str) -> list[int]:
        """Return the indices of the pictures of a set, in the order of the recipe's list."""
        return [number for number, own in enumerate(self.sets) if own == name]


def read_report(value: object, folder: Path, epochs: int) -> Report:
    """Read a recipe's dictionary. Raise `Wrong` if an entry is missing or has the wrong form."""
    if not isinstance(value, dict):
        raise Wrong(f"Expected a dictionary, got {describe(value)}.")
    if missing := [name for name in KEYS if name not in value]:
        raise Wrong(f"Expected the keys {', '.join(KEYS)}, but there is no {missing[0]!r}.")
    names = sorted(path.name for path in folder.iterdir())
    classes = list(value["classes"])
    if sorted(map(str, classes)) != names:
        raise Wrong(f"Expected the folder names {names} as `classes`, got {describe(classes)}.")
    model, transform = value["model"], value["transform"]
    if not isinstance(model, nn.Module):
        raise Wrong(f"Expected a network as `model`, got {describe(model)}.")
    _try_model(model.eval(), len(classes))
    paths, sets = _read_files(value["files"], folder)
    best = as_number(value["best_epoch"])
    if best not in range(1, epochs + 1):
        raise Wrong(
            f"Expected an epoch from 1 to {epochs} as `best_epoch`, got {describe(value['best_epoch'])}."
        )
    if (test_accuracy := as_number(value["test_accuracy"])) is None:
        raise Wrong(f"Expected a number as `test_accuracy`, got {describe(value['test_accuracy'])}.")
    return Report(
        model=model,
        classes=classes,
        transform=transform,
        paths=paths,
        sets=sets,
        truth=[classes.index(path.parent.name) for path in paths],
        train_loss=_read_numbers(value, "train_loss", epochs),
        val_accuracy=_read_numbers(value, "val_accuracy", epochs),
        best_epoch=int(best),
        test_accuracy=test_accuracy,
    )


def _try_model(model: nn.Module, classes: int) -> None:
    with torch.no_grad():
        outputs = ask_value(model, torch.zeros(2, 3, SIZE, SIZE))
    if not isinstance(outputs, torch.Tensor) or outputs.shape != (2, classes):
        old = " Is this the old head?" if getattr(outputs, "shape", (0,))[-1] == 1000 else ""
        raise Wrong(
            f"Expected outputs of shape [2, {classes}] for a batch of 2 pictures, got "
            f"{describe(outputs)}.{old}"
        )


def _read_files(files: object, folder: Path) -> tuple[list[Path], list[str]]:
    if not isinstance(files, dict) or set(files) != set(SETS):
        raise Wrong(
            f"Expected a dictionary with the lists {', '.join(SETS)} as `files`, got {describe(files)}."
        )
    paths, sets = [], []
    for name in SETS:
        if not len(files[name]):
            raise Wrong(f"Expected pictures in each of the three sets, got none in {name!r}.")
        for file in files[name]:
            path = folder.joinpath(*Path(str(file)).parts[-2:])
            if not path.is_file():
                raise Wrong(
                    f"Expected paths of existing pictures in `files`, got {describe(file)} in {name!r}."
                )
            if path in paths:
                both = {sets[paths.index(path)], name}
                where = " and ".join(sorted(both)) if len(both) == 2 else f"{name}, twice"
                raise Wrong(
                    f"Expected each picture once, in one set, got {path.parent.name}/{path.name} in {where}."
                )
            paths.append(path)
            sets.append(name)
    classes = {path.parent.name for path, own in zip(paths, sets, strict=True) if own == "train"}
    lost = {path.name for path in folder.iterdir()} - classes
    if len(lost) > 1:  # a single class may be missing by chance
        raise Wrong(
            f"Expected training pictures of each class, got none of {listed(lost)}. How do you split the "
            "files?"
        )
    return paths, sets


def _read_numbers(value: dict, name: str, epochs: int) -> list[float]:
    if len(numbers := numbers_in(value[name])) != epochs:
        raise Wrong(
            f"Expected one number for each of the {epochs} epochs as `{name}`, got {describe(value[name])}."
        )
    return numbers


def inputs_of(report: Report, numbers: list[int]) -> torch.Tensor:
    """Return the pictures with these indices as a batch."""
    batch = []
    for number in numbers:
        with Image.open(report.paths[number]) as picture:
            batch.append(torch.as_tensor(report.transform(picture)))
    return torch.stack(batch)


def try_transform(transform: Callable) -> None:
    """Try a transform on pictures of all modes and sizes. Raise `Wrong` with a hint."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    if not torch.equal(*(_input(transform, noise, "a picture in colour") for _ in range(2))):
        raise Wrong(
            "Expected the same input each time from the same picture, got two different ones. `transform` "
            "is for unseen pictures. Which of your steps draws random numbers?"
        )
    colour = (200, 100, 50)
    values = _input(transform, Image.new("RGB", (SIZE, SIZE), colour), "a picture in colour").mean(dim=(1, 2))
    if hint := _wrong_values(values, torch.tensor(colour) / 255):
        raise Wrong(hint)
    for size in ODD_SIZES:
        _input(transform, Image.new("RGB", size), f"a picture of {size[0]} × {size[1]} pixels")
    for mode, words in MODES_IN_WORDS.items():
        picture = Image.new("RGBA", (SIZE, SIZE), (*colour, 255)).convert(mode)
        _input(transform, picture, f"{words} (mode {mode})")


def _input(transform: Callable, picture: Image.Image, words: str) -> torch.Tensor:
    try:
        made = ask_value(transform, picture)
    except Wrong as error:
        raise Wrong(f"Expected `transform` to accept {words}, got an error. {error}") from error
    if not isinstance(made, torch.Tensor) or made.shape != (3, SIZE, SIZE) or not made.is_floating_point():
        raise Wrong(
            f"Expected a float tensor of shape [3, {SIZE}, {SIZE}] for {words}, got {describe(made)}. The "
            f"weights were trained on RGB pictures of {SIZE} × {SIZE} pixels."
        )
    return made


def _wrong_values(values: torch.Tensor, colour: torch.Tensor) -> str:
    right = (colour - MEAN) / STD
    known = {
        "pixels from 0 to 1, which have not been normalised": colour,
        "pixels from 0 to 255, which have been neither scaled nor normalised": colour * 255,
        "values that you normalised before you scaled them": (colour - MEAN) / STD / 255,
        "values that you normalised without scaling them to 0 to 1 first": (colour * 255 - MEAN) / STD,
        "values with a different mean and standard deviation than those of the weights": (colour - 0.5) / 0.5,
        "channels in a different order than red, green, blue": (colour.flip(0) - MEAN) / STD,
    }
    if torch.allclose(values, right, atol=0.03):
        return ""
    found = [words for words, other in known.items() if torch.allclose(values, other, atol=0.03)]
    got = found[0] if found else f"{[round(value, 2) for value in values.tolist()]}"
    return (
        "For the colour (200, 100, 50), these weights expect "
        f"{[round(value, 2) for value in right.tolist()]}, but your transform returns {got}. Which steps, "
        "and which mean and standard deviation, belong to the weights?"
    )
