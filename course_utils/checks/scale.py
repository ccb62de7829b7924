"""Checks of lesson 11: what one process does of a step, what is left to do, and what a plan costs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from course_utils.checks.values import as_number, close, describe, known_mistake
from course_utils.checks.verdict import Right, Wrong, ask, check


@check(
    begin="in this course `batch_size` is how many images make one step, all processes together.",
    expects="a function from three whole numbers to one",
)
def images_for_one(answer):
    """Lesson 11: how many images one process sends through the network at once."""
    cases = {(32, 1, 1): 32, (32, 2, 1): 16, (32, 2, 4): 4, (32, 1, 4): 8, (33, 2, 1): 17, (33, 2, 4): 5}
    for (batch_size, processes, parts), wanted in cases.items():
        given = ask(answer, batch_size, processes, parts)
        value = as_number(given)
        if value is None:
            raise Wrong(f"A whole number should come back, and it is {describe(given)}.")
        if value == wanted:
            continue
        if processes > 1 and value == batch_size * processes:
            hint = ": a step does not become larger because more processes make it."
        elif processes > 1 and value == batch_size:
            hint = ": what do the other processes do?"
        elif parts > 1 and value == batch_size // processes:
            hint = ": they do not go through the network at once, but part by part."
        elif wanted - 1 <= value < wanted:
            hint = ": one of them has to take the image that is left over. Round up."
        else:
            hint = "."
        case = f"For batch_size={batch_size}, {processes} process(es) and {parts} part(s)"
        raise Wrong(f"{case} you give {value:g}{hint}")
    yield Right("The step stays the same: processes and parts change only how much memory one process needs.")


@check(
    begin="a gradient is a mean over images. What is the mean of 3 images and 1 image, from two means?",
    expects="a function from a list of tensors and a list of counts to a tensor",
)
def gradient_together(answer):
    """Lesson 11: the gradient of several processes as the mean over all of their images."""
    gradients = [torch.tensor(row) for row in ([1.0, 0.0, 2.0], [5.0, 4.0, -2.0], [0.0, 1.0, 1.0])]
    for counts in ([3, 1, 4], [5, 2, 2]):
        _check_gradient(answer, gradients, counts)
    yield Right("It is the gradient of the mean over all images, whoever had them.")


def _check_gradient(answer: Callable, gradients: list[torch.Tensor], counts: list[int]) -> None:
    given = ask(answer, [gradient.clone() for gradient in gradients], list(counts))
    if not isinstance(given, torch.Tensor) or given.shape != gradients[0].shape:
        raise Wrong(
            f"A tensor like each of the gradients, [3], should come back, and it is {describe(given)}."
        )
    weighted = sum(count * gradient for count, gradient in zip(counts, gradients, strict=True))
    agrees = partial(torch.allclose, atol=1e-5)
    if agrees(given.float(), weighted / sum(counts)):
        return
    total, third = sum(gradients), weighted / 3
    mistakes = {
        "counts each process the same: one image of a small share weighs more than another.": total / 3,
        "is the sum of the means: with more processes the steps would become larger.": total,
        "is the sum over the images. Divide by how many there are.": weighted,
        "is divided by the number of processes. The weights count images: divide by their sum.": third,
        "is that of the first process alone: then the others have worked for nothing.": gradients[0],
    }
    hint = known_mistake(given.float(), mistakes, agrees)
    numbers = [round(value, 3) for value in given.tolist()]
    raise Wrong(f"Yours {hint}" if hint else f"For the counts {counts} you give {numbers}.")


@check(
    begin="which shards are not kept yet? Deal those out, as cards are dealt.",
    expects="a function from a number, a set and two numbers to a list of numbers",
)
def shards_left(answer):
    """Lesson 11: the missing shards, each made by exactly one process."""
    for total, existing, processes in (
        (6, set(), 2),
        (7, {0, 2, 4}, 2),
        (5, {1}, 3),
        (4, {0, 1, 2, 3}, 2),
        (2, set(), 1),
    ):
        lists = [ask(answer, total, set(existing), process, processes) for process in range(processes)]
        for process, own in enumerate(lists):
            if not hasattr(own, "__len__") or None in map(as_number, own):
                raise Wrong(
                    f"A list of numbers should come back, and for process {process} it is {describe(own)}."
                )
        lists = [list(map(as_number, own)) for own in lists]
        if hint := _dealt_wrongly(lists, total, existing):
            listed = sorted(existing) or "none"
            raise Wrong(f"With {total} shards, {listed} kept, and {processes} process(es): {hint}")
    yield Right("Each missing shard is made once, by one process, and nothing is made again.")


def _dealt_wrongly(lists: Sequence[list[float]], total: int, existing: set[int]) -> str:
    """Return what is wrong with which process makes what, or an empty text."""
    made = [number for own in lists for number in own]
    every = set(range(total))
    if beyond := set(made) - every:
        return f"there is no shard {min(beyond):g}; they are counted from 0."
    if again := existing & set(made):
        return f"shard {min(again)} is kept already, and is made again."
    if twice := {number for number in made if made.count(number) > 1}:
        makers = [process for process, own in enumerate(lists) if min(twice) in own]
        return f"shard {min(twice):g} is made by the processes {makers}: once is enough."
    missing = every - existing - set(made)
    if missing:
        return f"nobody makes shard {min(missing)}."
    shares = list(map(len, lists))
    if max(shares) > min(shares) + 1:
        return (
            f"the processes make {shares} shards. Deal out what is missing, so that none waits for another."
        )
    return ""


@check(
    begin="how many images a second does the disk give, do all cores decode, and do all cards take?",
    expects="a function from a number of images and two dictionaries to a name, hours and a price",
)
def slowest_step(answer):
    """Lesson 11: a plan that is made from its slowest step."""
    job = {"bytes": 100_000, "decode": 0.004, "network": 0.0005}
    machines = {
        "disk": {"disk": 1e8, "cores": 8, "cards": 2, "price": 6.0},
        "decode": {"disk": 1e9, "cores": 4, "cards": 1, "price": 2.0},
        "network": {"disk": 2e9, "cores": 64, "cards": 4, "price": 20.0},
    }
    for images in (3_600_000, 1_000_000):
        for name, machine in machines.items():
            given = ask(answer, images, dict(job), dict(machine))
            if hint := _planned_wrongly(given, images, job, machine, name):
                raise Wrong(hint)
    yield Right("Steps that work at the same time are as fast as the slowest of them.")


def _planned_wrongly(given: object, images: int, job: Mapping, machine: Mapping, slowest: str) -> str:
    """Return what is wrong with a plan, or an empty text."""
    if not isinstance(given, tuple | list) or len(given) != 3:
        return f"Three things should come back: a name, hours and a price. It was {describe(given)}."
    name, hours, price = given[0], as_number(given[1]), as_number(given[2])
    if hours is None or price is None:
        found = f"{describe(given[1])} and {describe(given[2])}"
        return f"Hours and price should be numbers, and they are {found}."
    # Images a second: of one core and one card, and of all of them
    disk, cores, cards = machine["disk"] / job["bytes"], machine["cores"], machine["cards"]
    single = {"disk": disk, "decode": 1 / job["decode"], "network": 1 / job["network"]}
    rates = {"disk": disk, "decode": cores / job["decode"], "network": cards / job["network"]}
    listed = ", ".join(f"{step} {rate:,.0f}" for step, rate in rates.items())
    if name == max(rates, key=rates.get):
        return f"You name {name!r}, which is the fastest ({listed} images a second). Who waits for whom?"
    if name == min(single, key=single.get) != slowest:
        return f"You name {name!r}: do all {cores} cores, and all {cards} cards, work?"
    if name != slowest:
        return f"You name {name!r}, but the rates are {listed} images a second."
    right = images / rates[slowest] / 3600
    if close(hours, right):
        if close(price, right * machine["price"]):
            return ""
        if close(price, right * 3600 * machine["price"]):
            return "The price is that of an hour, and you pay it for every second."
        return f"{right:.3f} hours at {machine['price']:g} an hour are not {price:g}."
    total = images * sum(1 / rate for rate in rates.values()) / 3600
    of_one = images / single[slowest] / 3600
    mistakes = {
        f"{hours:,.0f} are seconds: give hours.": right * 3600,
        "Your steps work one after the other. While the network computes, the disk can read the next.": total,
        "The step is the right one, but only one core, or one card, works in your plan.": of_one,
    }
    other = f"The slowest step is {slowest}, {rates[slowest]:,.0f} images a second: not {hours:g} hours."
    return known_mistake(hours, mistakes) or other
