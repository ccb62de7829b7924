"""Checks of lesson 10: accuracy above a confidence threshold, and heatmaps made by covering squares."""

from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import nn

from course_utils.checks.asking import as_numbers
from course_utils.checks.mistakes import Mistakes
from course_utils.checks.values import close
from course_utils.checks.verdict import Right, Wrong, check


def _parts(
    probabilities: torch.Tensor, labels: torch.Tensor, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each picture whether the network decides it and whether its prediction is correct."""
    confidence, predictions = probabilities.max(dim=1)
    return confidence >= threshold, predictions == labels


def _share(part: torch.Tensor) -> float:
    return float(part.double().mean()) if len(part) else 0.0


def _accepted(probabilities: torch.Tensor, labels: torch.Tensor, threshold: float) -> tuple[float, float]:
    decided, correct = _parts(probabilities, labels, threshold)
    return _share(decided), _share(correct[decided])


def _of_parts(make: Callable[[torch.Tensor, torch.Tensor], tuple[float, float]]) -> Callable:
    """Return a function of probabilities, labels and a threshold that looks only at the two parts."""
    return lambda probabilities, labels, threshold: make(*_parts(probabilities, labels, threshold))


def _strictly_above(probabilities: torch.Tensor, labels: torch.Tensor, threshold: float) -> tuple:
    return _accepted(probabilities, labels, threshold + 1e-6)


def _true_class(probabilities: torch.Tensor, labels: torch.Tensor, threshold: float) -> tuple[float, float]:
    decided = probabilities[torch.arange(len(labels)), labels] >= threshold
    return _share(decided), _share((probabilities.argmax(dim=1) == labels)[decided])


ACCEPTED = Mistakes(
    right=_accepted,
    wrong={
        "The two numbers are swapped: the fraction of the pictures comes first.": (
            lambda *given: _accepted(*given)[::-1]
        ),
        "The second number is the accuracy on all pictures. Keep those that the network decides.": _of_parts(
            lambda decided, correct: (_share(decided), _share(correct))
        ),
        "The second number is the accuracy on the pictures that are left to a person.": _of_parts(
            lambda decided, correct: (_share(decided), _share(correct[~decided]))
        ),
        "The first number is the fraction of the pictures that are left to a person.": _of_parts(
            lambda decided, correct: (1 - _share(decided), _share(correct[decided]))
        ),
        "You divide the correct predictions by the number of all pictures. Divide by the number of those "
        "that the network decides.": (
            _of_parts(lambda decided, correct: (_share(decided), _share(correct & decided)))
        ),
        "A confidence equal to the threshold is enough: it need not be higher.": _strictly_above,
        "You compare the probability of the true class with the threshold. In use, the true class is "
        "unknown, so the confidence is the highest probability.": _true_class,
        "Those are percentages. Return shares from 0 to 1.": (
            lambda *given: tuple(100 * share for share in _accepted(*given))
        ),
        "Those are counts of pictures. Return shares from 0 to 1.": _of_parts(
            lambda decided, correct: (float(decided.sum()), float((correct & decided).sum()))
        ),
    },
    read=partial(as_numbers, count=2),
    found="With a threshold of {threshold}, you return {value[0]:.3g} and {value[1]:.3g}. ",
    otherwise="Which pictures reach a confidence of {threshold}? And what is the accuracy on *these*?",
)


@check(
    begin="find the network's confidence for each picture and compare it with the threshold.",
    expects="a function from probabilities, labels and a threshold to two numbers",
)
def accepted_share(answer):
    """Lesson 10: the fraction of pictures that reach a confidence threshold, and the accuracy on them."""
    random = torch.Generator().manual_seed(3)
    probabilities = (2 * torch.randn(40, 4, generator=random)).softmax(dim=1)
    probabilities[:3] = torch.tensor([0.75, 0.125, 0.125, 0.0])  # exact in float32
    labels = torch.randint(4, (40,), generator=random)
    yield from ACCEPTED.compare(answer, [(probabilities, labels, threshold) for threshold in (0.75, 0.6)])
    yield Right(
        "You return the fraction of pictures that the network decides, and its accuracy on these alone."
    )
    value = ACCEPTED.read(answer(probabilities.clone(), labels.clone(), 1.5))
    if not all(map(close, value, (0, 0))):
        raise Wrong(
            f"Expected 0 and 0 when no picture reaches the threshold, got {value}. Try handling this case "
            "first, so that you never divide by 0."
        )
    yield Right("If the network decides no picture, you return 0 for both.")


def _cover(image: torch.Tensor, square: tuple[slice, ...], value: float = 0.0) -> torch.Tensor:
    covered = image.clone()
    covered[square] = value
    return covered


def _falls(
    model: nn.Module,
    image: torch.Tensor,
    target: int,
    size: int,
    cover: Callable = lambda image, earlier, square: _cover(image, square),
    read: Callable = lambda logits: logits.softmax(dim=1),
) -> torch.Tensor:
    """Return how far the probability of the class falls for each covered square.

    The mistakes replace one of two functions. `cover` makes the next covered image from the image, the
    previous covered image and a square; `read` turns logits into the scores to compare.
    """
    rows, columns = image.shape[1] // size, image.shape[2] // size
    covered, falls = image, torch.zeros(rows, columns)
    with torch.no_grad():
        before = read(model(image.unsqueeze(0)))[0, target]
        for row, column in product(range(rows), range(columns)):
            down, across = (slice(place * size, (place + 1) * size) for place in (row, column))
            covered = cover(image, covered, (slice(None), down, across))
            falls[row, column] = before - read(model(covered.unsqueeze(0)))[0, target]
    return falls


def _probability(model: nn.Module, image: torch.Tensor, target: int) -> torch.Tensor:
    with torch.no_grad():
        return model(image.unsqueeze(0)).softmax(dim=1)[0, target]


def _predicted(model: nn.Module, image: torch.Tensor) -> int:
    return int(model(image.unsqueeze(0)).argmax())


def _table(value: object) -> torch.Tensor:
    table = torch.as_tensor(value).detach().float()
    if table.ndim != 2 or not table.isfinite().all():
        raise Wrong(
            f"Expected a tensor [rows, columns] of finite numbers, got one of shape {list(table.shape)}. "
            "Print it: is the shape wrong, or is an entry NaN or infinite?"
        )
    return table


def _other_map(value: torch.Tensor, right: torch.Tensor, *_case: object) -> str:
    if value.shape != right.shape:
        return (
            f"Expected shape {list(right.shape)}, with one number for each square, got {list(value.shape)}."
        )
    place = (value - right).abs().argmax()
    row, column = divmod(int(place), right.shape[1])
    return (
        f"In row {row}, column {column}, expected a fall of {right[row, column]:.3f} in the probability, got "
        f"{value[row, column]:.3f}. Do you cover only this square, in all three channels, with 0?"
    )


OCCLUSION = Mistakes(
    right=_falls,
    wrong={
        "The sign is wrong: a fall is the probability before covering minus the probability after it.": (
            lambda *given: -_falls(*given)
        ),
        "Those are the probabilities with a cover. Subtract each from the probability without one.": (
            lambda model, image, target, size: (
                _probability(model, image, target) - _falls(model, image, target, size)
            )
        ),
        "Earlier squares stay covered. Start from a fresh `clone` of the picture each time.": partial(
            _falls, cover=lambda image, earlier, square: _cover(earlier, square)
        ),
        "Those are falls in the logit, not in the probability. Where is the softmax?": partial(
            _falls, read=nn.Identity()
        ),
        "Rows and columns are swapped. The first index of the map runs down the picture.": (
            lambda *given: _falls(*given).T
        ),
        "You cover everything except the square.": partial(
            _falls, cover=lambda image, earlier, square: image - _cover(image, square)
        ),
        "You cover only the first channel. A colour picture has three.": partial(
            _falls, cover=lambda image, earlier, square: _cover(image, (slice(1), *square[1:]))
        ),
        "You cover squares with 1. In a normalised picture, the mean colour is 0.": partial(
            _falls, cover=lambda image, earlier, square: _cover(image, square, 1.0)
        ),
        "That is the map for the predicted class. Use the class `target` instead.": (
            lambda model, image, target, size: _falls(model, image, _predicted(model, image), size)
        ),
        "That is one number for each pixel. Return one for each square.": lambda model, image, target, size: (
            _falls(model, image, target, size).repeat_interleave(size, dim=0).repeat_interleave(size, dim=1)
        ),
    },
    read=_table,
    otherwise=_other_map,
)


@check(
    begin="clone the picture, set one square to 0, and compare the probabilities before and after.",
    expects="a function from a model, a picture, a class and a size to a tensor",
)
def occlusion_map(answer):
    """Lesson 10: a heatmap made by covering one square after another."""
    random, cases = torch.Generator().manual_seed(1), []
    for height, width, size in ((8, 12, 4), (6, 4, 2)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * height * width, 3)).eval()
        for parameter in model.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=random)
        image = torch.randn(3, height, width, generator=random)
        target = (_predicted(model, image) + 1) % 3
        cases.append((model, image, target, size))
    yield from OCCLUSION.compare(answer, cases)
    yield Right("You return the fall in probability for each square and leave the picture as it was.")
