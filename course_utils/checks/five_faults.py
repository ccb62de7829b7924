"""Check of lesson 04's debugging exercise: five functions of a training script, each with one silent fault.

It tries each function separately on small data of its own, so that a remaining fault cannot hide another.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from course_utils.checks.asking import ask_value
from course_utils.checks.recipe_report import MEAN, SIZE, STD
from course_utils.checks.values import as_number, close, describe, numbers_in
from course_utils.checks.verdict import Right, Wrong, check


@check(
    begin="look at one picture that `read_picture` returns, at a few with their labels, at the losses, and "
    "at the shapes in `accuracy`. Then copy the five functions and repair the fault in each.",
    expects="the five repaired functions of the script",
    answers=5,
)
def five_faults(read_picture, read_folder, new_network, train, accuracy):
    """Lesson 04: a training script with five faults, none of which raises an error."""
    tries = {
        _try_picture: read_picture,
        _try_folder: read_folder,
        _try_network: new_network,
        _try_training: train,
        _try_accuracy: accuracy,
    }
    for try_out, function in tries.items():
        try:
            yield from try_out(function)
        except Wrong as error:
            yield str(error)


def _try_picture(answer: Callable) -> Iterator[str]:
    pixels = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    pixels[: SIZE // 4], pixels[:, : SIZE // 2, 2] = (200, 100, 50), 250
    with tempfile.TemporaryDirectory() as temporary:
        Image.fromarray(pixels).save(Path(temporary) / "picture.png")
        given = ask_value(answer, Path(temporary) / "picture.png")

    def normalised(tensor: torch.Tensor) -> torch.Tensor:
        return (tensor / 255 - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)

    if not isinstance(given, torch.Tensor) or given.shape != (3, SIZE, SIZE):
        raise Wrong(f"`read_picture`: expected a tensor [3, {SIZE}, {SIZE}], got {describe(given)}.")
    tensor, look = torch.from_numpy(pixels), "Show the tensor as a picture, with the channels last."
    if torch.allclose(given, normalised(tensor.permute(2, 0, 1)), atol=1e-4):
        yield Right("`read_picture` keeps every pixel in its place.")
    elif torch.allclose(given, normalised(tensor.permute(2, 1, 0)), atol=1e-4):
        yield f"`read_picture`: expected [channels, rows, columns], got rows and columns swapped. {look}"
    elif torch.allclose(given, normalised(tensor.reshape(3, SIZE, SIZE)), atol=1e-4):
        yield f"`read_picture`: expected the picture, got its values in a scrambled order. {look}"
    else:
        yield f"`read_picture`: expected the picture normalised with MEAN and STD, got other values. {look}"


def _try_folder(answer: Callable) -> Iterator[str]:
    """Try it on grey pictures, dark ones in class "a", so that scrambled colours do not matter."""
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(7):
            name, value = ("b", 250) if number % 3 == 0 else ("a", 5)
            folder = Path(temporary) / name
            folder.mkdir(exist_ok=True)
            Image.new("RGB", (SIZE, SIZE), (value,) * 3).save(folder / f"{number}.png")
        given = ask_value(answer, Path(temporary))
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise Wrong(f"`read_folder`: expected images, labels and classes, got {describe(given)}.")
    images, labels, classes = given
    if list(classes) != ["a", "b"] or len(images) != 7 or len(labels) != 7:
        raise Wrong(
            "`read_folder`: expected every picture in the folder, a label for each, and the sorted class "
            "names, got something else. Print how many of each you return."
        )
    means = [float(image.mean()) for image in images]
    truth = [int(mean > sum(means) / len(means)) for mean in means]
    if wrong := sum(int(label) != true for label, true in zip(labels, truth, strict=True)):
        yield (
            "`read_folder`: expected each picture with the label of its own folder, got another label for "
            f"{wrong} of 7. Show some pictures with their classes. In which order are the files, and in "
            "which order are the labels?"
        )
    else:
        yield Right("`read_folder` gives each picture the label of its folder.")


def _try_network(answer: Callable) -> Iterator[str]:
    given = ask_value(answer, 3)
    if not isinstance(given, tuple | list) or len(given) != 2 or not isinstance(given[0], nn.Module):
        raise Wrong(f"`new_network`: expected a network and its optimizer, got {describe(given)}.")
    model, optimizer = given
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    head = list(model.fc.parameters())
    count = sum(id(parameter) in held for parameter in head)
    if model.fc.weight.shape[0] != 3:
        yield f"`new_network`: expected a head with 3 outputs, got {model.fc.weight.shape[0]}."
    elif count < len(head):
        yield (
            f"`new_network`: expected an optimizer that holds the head's {len(head)} parameters, got "
            f"{count} of them. Print the losses: do they fall from epoch to epoch? Compare `fc.weight` "
            "before and after training."
        )
    elif any(p.requires_grad for name, p in model.named_parameters() if not name.startswith("fc.")):
        yield "`new_network`: expected a frozen backbone, got one with trainable parameters."
    else:
        yield Right("`new_network` passes the optimizer the head's parameters and freezes the backbone.")


def _try_training(answer: Callable) -> Iterator[str]:
    """Train a small network on well-separated points, where the loss has to come close to 0."""
    epochs, labels = 40, torch.arange(3).repeat(8)
    points = 3 * torch.eye(3)[labels]
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    optimizer = torch.optim.Adam(model[1].parameters(), lr=0.3)
    losses = ask_value(answer, model, optimizer, points, labels, epochs)
    numbers, floor = numbers_in(losses), math.log(1 + 2 / math.e)
    if len(numbers) != epochs:
        raise Wrong(f"`train`: expected a loss for each of {epochs} epochs, got {describe(losses)}.")
    if bool(model[0].running_mean.any()):
        yield "`train`: expected a frozen backbone, got BatchNorm statistics that change with each batch."
    elif close(numbers[-1], floor, 0.02):
        yield (
            f"`train`: expected a loss near 0 when every prediction is correct, got {numbers[-1]:.2f}, which "
            "no amount of training brings down. What input does `cross_entropy` expect? Print one row of its "
            "input and the sum of that row."
        )
    elif numbers[-1] > 0.1:
        yield (
            f"`train`: expected a loss near 0 for classes that are easy to tell apart, got {numbers[-1]:.2f}."
        )
    else:
        yield Right("`train` brings the loss close to 0 for classes that are easy to tell apart.")


def _try_accuracy(answer: Callable) -> Iterator[str]:
    predictions, labels = torch.tensor([0, 1, 2, 2, 0, 1]), torch.tensor([0, 1, 2, 0, 0, 2])
    given = as_number(ask_value(answer, nn.Identity(), 2.0 * torch.eye(3)[predictions], labels))
    if given is None:
        raise Wrong("`accuracy`: expected a number, got something else.")
    if close(given, 4 / 6):
        yield Right("`accuracy` compares each prediction with its own label.")
    elif close(given, float((predictions[:, None] == labels).float().mean())):
        yield (
            f"`accuracy`: expected 0.667 for 4 of 6 correct predictions, got {given:.3f}. Print the shapes "
            "of the predictions, the labels and their comparison. How many entries should the comparison "
            "have?"
        )
    else:
        yield f"`accuracy`: expected 0.667 for 4 of 6 correct predictions, got {given:.3f}."
