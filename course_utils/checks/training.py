"""Checks of lesson 04: freezing a backbone, training a head, and comparing runs fairly."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from course_utils.checks.asking import ask
from course_utils.checks.mistakes import Mistakes, one_number
from course_utils.checks.values import close, describe, numbers_in
from course_utils.checks.verdict import Right, Wrong, check
from course_utils.models.freezing import stage_names, thaw


@check(
    begin="`torch.optim.Adam(...)` takes the parameters to update, and `lr`.",
    expects="a function of a network and a learning rate that returns an optimizer",
)
def optimizer_holds(answer, model, lr=0.02):
    """Lesson 04: an optimizer with exactly the trainable parameters, even after a stage is thawed."""
    count, last = sum(parameter.requires_grad for parameter in model.parameters()), stage_names(model)[-1]
    hints = list(_optimizer_mistakes(answer, model, lr))
    if not hints:
        thaw(model, last)
        hints = [f"With {last} thawed as well: {hint}" for hint in _optimizer_mistakes(answer, model, lr)]
    yield from hints or [
        Right(f"The optimizer holds the {count} trainable parameter tensors, with lr={lr:g}.")
    ]


def _optimizer_mistakes(answer: Callable, model: nn.Module, lr: float) -> Iterator[str]:
    before = [parameter.requires_grad for parameter in model.parameters()]
    optimizer = ask(answer, model, lr)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise Wrong(f"Expected an optimizer, got {describe(optimizer)}. Does your function return it?")
    if type(optimizer) is not torch.optim.Adam:
        raise Wrong(f"Expected an Adam optimizer, got {type(optimizer).__name__}.")
    if before != [parameter.requires_grad for parameter in model.parameters()]:
        raise Wrong(
            "Your function changes which parameters are trainable. Read `requires_grad`, but don't set it."
        )
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = {id(parameter) for parameter in model.parameters()}
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    rates = {group["lr"] for group in optimizer.param_groups}
    right_rate = all(close(rate, lr) for rate in rates)
    if held - own:
        yield f"The optimizer holds parameter tensors of another network: {len(held - own)} of {len(held)}."
    elif held - trainable:
        yield (
            f"The optimizer holds {len(held)} parameter tensors, but only {len(trainable)} are trainable. "
            "Pass it those with `requires_grad`."
        )
    elif trainable - held:
        yield (
            f"The optimizer lacks {len(trainable - held)} of {len(trainable)} trainable parameter tensors. "
            "Parameters outside the optimizer never change."
        )
    if not right_rate:
        yield f"Expected an optimizer with lr={lr:g}, got {', '.join(f'{r:g}' for r in rates)}."


@check(
    begin="there are two switches: the parameters' `requires_grad` and the mode of the frozen layers.",
    expects="a function of a network and its head that changes the network",
    without=("set_train_mode", "freeze"),
)
def frozen_by_hand(answer, model, head="fc"):
    """Lesson 04: a backbone without gradients or drift, and a trainable head."""
    trial = model.requires_grad_(True).train()
    before = {name: tensor.clone() for name, tensor in trial.state_dict().items()}
    ask(answer, trial, trial.get_submodule(head))
    now = trial.state_dict()
    if altered := [name for name in before if name not in now or not torch.equal(before[name], now[name])]:
        raise Wrong(f"Freezing shouldn't change any values, but {altered[0]} has changed.")
    names = [name for name, parameter in trial.named_parameters() if parameter.requires_grad]
    learns = [name for name in names if name.startswith(f"{head}.")]
    below = [name for name in names if name not in learns]
    if below:
        everything = len(names) == len(list(trial.parameters()))
        typo = " Did you spell `requires_grad` with its s?" if everything else ""
        yield (
            f"{len(below)} of the parameter tensors below the head can still learn, for example "
            f"{below[0]}.{typo}"
        )
    if not learns:
        yield "The head is frozen as well, so nothing can learn. Make the head trainable again."
    elif len(learns) < len(list(trial.get_submodule(head).parameters())):
        yield f"In the head, only {learns[0]} is trainable. A linear layer has weights and biases."
    with torch.no_grad():
        for _ in range(2):
            trial(1 + torch.randn(4, 3, 32, 32))
    buffers = dict(trial.named_buffers())
    moved = [name for name, buffer in buffers.items() if not torch.equal(before[name], buffer)]
    norms = [(name, part) for name, part in trial.named_modules() if isinstance(part, nn.BatchNorm2d)]
    awake = [name for name, norm in norms if norm.training]
    if moved:
        yield (
            f"After two batches, {len(moved)} of {len(buffers)} buffers have changed, for example "
            f"{moved[0]}. That happens without any gradient. Which mode are the BatchNorm layers in?"
        )
    elif awake:
        yield (
            f"The buffers stay the same, but {awake[0]} is in train mode. It normalises with the mean of "
            "each batch, so the features of a picture depend on the other pictures in its batch."
        )
    if not below and len(learns) == 2 and not awake:
        yield Right(
            "Only the head can learn, and the backbone stays unchanged when pictures pass through it."
        )


def _sum_over_images(losses: Sequence[float], sizes: Sequence[int]) -> float:
    return sum(loss * size for loss, size in zip(losses, sizes, strict=True))


MEAN_LOSS = Mistakes(
    right=lambda losses, sizes: _sum_over_images(losses, sizes) / sum(sizes),
    wrong={
        "{value:.3f} is the loss of the last batch alone. The other batches count as well.": (
            lambda losses, sizes: losses[-1]
        ),
        "{value:.3f} is the mean over batches, in which the last batch, with {last} images, counts as much "
        "as one with {sizes[0]}.": lambda losses, sizes: sum(losses) / len(losses),
        "{value:.3f} is the sum over the images. Divide it by the number of images.": _sum_over_images,
        "The sum over the images is right, but you divide by {batches}, the number of batches.": (
            lambda losses, sizes: _sum_over_images(losses, sizes) / len(sizes)
        ),
        "Each loss is already the mean over its batch. Multiply it by the batch size before you divide.": (
            lambda losses, sizes: sum(losses) / sum(sizes)
        ),
        "You leave out the last batch. Its images count as well.": (
            lambda losses, sizes: _sum_over_images(losses[:-1], sizes[:-1]) / sum(sizes[:-1])
        ),
        "That is the sum of the batch losses, not a mean over the images.": lambda losses, sizes: sum(losses),
        "You divide as if every batch were as large as the first.": (
            lambda losses, sizes: _sum_over_images(losses, sizes) / (len(sizes) * sizes[0])
        ),
        "That is the first batch alone. Is the `return` inside the loop?": lambda losses, sizes: losses[0],
        "Don't round. Return the number as it is.": (
            lambda losses, sizes: round(_sum_over_images(losses, sizes) / sum(sizes), 1)
        ),
    },
    read=one_number("Expected a number, got {value}."),
    otherwise="For the losses {losses} and the sizes {sizes} you return {value:.3f}, which isn't the "
    "mean over the images.",
    praise="The mean over {images} images is {value:.3f}.",
)


@check(
    begin="how much should a batch of 8 images count compared with one of 32?",
    expects="a function of a list of losses and a list of batch sizes that returns a number",
)
def mean_loss(answer, losses=(1.0, 0.5, 3.0), sizes=(32, 32, 4)):
    """Lesson 04: the loss of an epoch as the mean over its images."""
    words = {"last": sizes[-1], "batches": len(sizes), "images": sum(sizes)}
    yield from MEAN_LOSS.compare(answer, [(list(losses), list(sizes))], **words)


@check(
    begin="call `train(lr, seed)` with each learning rate and each of the three seeds, and keep all six "
    "accuracies.",
    expects="a function that returns two lists of three accuracies and a verdict",
)
def compare_rates(answer, low=0.001, high=0.02):
    """Lesson 04: a fair comparison of two learning rates. A stand-in for `train` records every call."""
    cases = {
        "second": {low: (0.60, 0.62, 0.61), high: (0.80, 0.79, 0.81)},
        "first": {low: (0.75, 0.70, 0.72), high: (0.74, 0.65, 0.71)},
        "cannot tell": {low: (0.70, 0.80, 0.71), high: (0.78, 0.74, 0.77)},
    }
    tied = {low: (0.70, 0.72, 0.71), high: (0.70, 0.75, 0.74)}
    for verdict, accuracies in [*cases.items(), ("cannot tell", tied)]:
        train = _StandIn(accuracies)
        given = ask(answer, train, low, high)
        if hint := _unfair(train.calls, low, high) or _wrong_verdict(given, accuracies, verdict):
            raise Wrong(hint)
    yield Right("You try both rates with the same three seeds, and the accuracies support your verdict.")


class _StandIn:
    """A stand-in for `train` that records each call and returns a preset accuracy for each seed."""

    def __init__(self, accuracies: dict[float, Sequence[float]]):
        self.accuracies, self.calls = accuracies, []

    def __call__(self, lr: float, seed: int) -> float:
        if lr not in self.accuracies:
            raise ValueError(f"Expected lr to be one of {list(self.accuracies)}, got lr={lr}")
        self.calls.append((lr, seed))
        return self.accuracies[lr][seed % 3]


def _unfair(calls: list[tuple[float, int]], low: float, high: float) -> str:
    """Say what makes the runs unfair, or return an empty text."""
    if not calls:
        return "Your function never calls `train`. Every accuracy has to come from a run."
    first, second = ({seed for rate, seed in calls if rate == lr} for lr in (low, high))
    fewest = min(len(first), len(second))
    if fewest == 0:
        return "You try only one of the two learning rates."
    if fewest < 3:
        return (
            f"You run one learning rate with only {fewest} different seed(s). One run is one draw, so run "
            "three."
        )
    if first != second:
        first, second = (sorted(seed for rate, seed in calls if rate == lr) for lr in (low, high))
        return (
            f"You use the seeds {first} for one rate and {second} for the other. Use the same for both, so "
            "that they start from the same head and see the images in the same order."
        )
    if first != {0, 1, 2}:
        return f"Use the seeds 0, 1 and 2; yours are {', '.join(map(str, sorted(first)))}."
    return ""


def _wrong_verdict(given: object, accuracies: dict[float, Sequence[float]], verdict: str) -> str:
    """Say what is wrong with the result of a fair comparison, or return an empty text."""
    if not isinstance(given, tuple | list) or len(given) != 3:
        return f"Expected three things, two lists and a verdict, got {describe(given)}."
    for name, values, true in zip(("first", "second"), given, accuracies.values(), strict=False):
        numbers = numbers_in(values)
        if len(numbers) < 3 or set(numbers) != set(true):
            return (
                f"The {name} list should hold every accuracy that `train` returned. You return "
                f"{describe(given)}."
            )
    if given[2] not in ("first", "second", "cannot tell"):
        return f'Expected the verdict "first", "second" or "cannot tell", got {describe(given[2])}.'
    if given[2] == verdict:
        return ""
    pairs = " and ".join(map(str, accuracies.values()))
    if verdict == "cannot tell":
        why = "the seeds contradict each other"
        if any(one == other for one, other in zip(*accuracies.values(), strict=True)):
            why = "one seed gives both rates the same accuracy, and equal isn't better"
        return f"The accuracies were {pairs}: {why}, but your verdict is {given[2]!r}."
    return f"The accuracies were {pairs}, but your verdict is {given[2]!r}. Compare them seed by seed."
