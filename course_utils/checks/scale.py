"""Checks of lesson 16: shares of a step, combined gradients, missing shards, and a plan for a run."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch

from course_utils.checks.asking import ask
from course_utils.checks.mistakes import Mistakes, one_number, one_tensor
from course_utils.checks.values import as_number, close, describe
from course_utils.checks.verdict import Right, Wrong, check

IMAGES_FOR_ONE = Mistakes(
    right=lambda batch_size, processes, parts: math.ceil(batch_size / (processes * parts)),
    wrong={
        "A step does not get larger when more processes share it.": (
            lambda batch_size, processes, parts: batch_size * processes
        ),
        "That is the whole batch. Each process takes a share of it.": lambda batch_size, processes, parts: (
            batch_size
        ),
        "That is one process's share. It goes through the network in parts.": (
            lambda batch_size, processes, parts: math.ceil(batch_size / processes)
        ),
        "The leftover images have to be processed as well. Round up.": (
            lambda batch_size, processes, parts: batch_size // (processes * parts)
        ),
        "The number of images must be whole. Round up.": (
            lambda batch_size, processes, parts: batch_size / (processes * parts)
        ),
    },
    read=one_number("Expected a whole number, got {value}."),
    found=(
        "For batch_size={batch_size}, processes={processes} and grad_accum_steps={parts}, you return "
        "{value:g}. "
    ),
    otherwise="How large is the largest part of a process's share?",
)


@check(
    begin="in this course, `batch_size` is the number of images in one step over all processes.",
    expects="a function from three whole numbers to a whole number",
)
def images_for_one(answer):
    """Lesson 16: compute how many images one process sends through the network at once."""
    cases = (32, 1, 1), (32, 2, 1), (32, 2, 4), (32, 1, 4), (33, 2, 1), (33, 2, 4)
    yield from IMAGES_FOR_ONE.compare(answer, cases)
    yield Right("The step stays the same: processes and parts change only how much memory one process needs.")


def _sum_of(gradients: list[torch.Tensor], counts: list[int]) -> torch.Tensor:
    return sum(count * gradient for gradient, count in zip(gradients, counts, strict=True))


GRADIENT = Mistakes(
    right=lambda gradients, counts: _sum_of(gradients, counts) / sum(counts),
    wrong={
        "You weight processes equally, so an image in a small share counts more than one in a large one.": (
            lambda gradients, counts: sum(gradients) / len(gradients)
        ),
        "You add up the means, so more processes would make larger steps.": (
            lambda gradients, counts: sum(gradients)
        ),
        "You return the sum over the images. Divide it by their number.": _sum_of,
        "You divide by the number of processes. The weights count images, so divide by their sum.": (
            lambda gradients, counts: _sum_of(gradients, counts) / len(gradients)
        ),
        "You return the gradient of the first process alone. Include the others.": (
            lambda gradients, counts: gradients[0]
        ),
    },
    read=one_tensor("Expected a tensor of the same shape as each gradient, [3], got {value}.", 3),
    otherwise=lambda value, right, gradients, counts: (
        f"For the counts {counts}, you return {[round(number, 3) for number in value.tolist()]}."
    ),
)


@check(
    begin="a gradient is a mean over images. How do you combine the mean of 3 images with that of 1 image?",
    expects="a function from a list of tensors and a list of counts to a tensor",
)
def gradient_together(answer):
    """Lesson 16: combine the gradients of several processes into the mean over all of their images."""
    gradients = [torch.tensor(row) for row in ([1.0, 0.0, 2.0], [5.0, 4.0, -2.0], [0.0, 1.0, 1.0])]
    yield from GRADIENT.compare(answer, [(gradients, [3, 1, 4]), (gradients, [5, 2, 2])])
    yield Right("You return the gradient of the mean loss over all images.")


@check(
    begin="which shards are not saved yet? Deal them out like cards.",
    expects="a function from a total, a set, a process and a number of processes to a list of shards",
)
def shards_left(answer):
    """Lesson 16: assign each missing shard to exactly one process."""
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
                raise Wrong(f"Expected a list of numbers for process {process}, got {describe(own)}.")
        lists = [list(map(as_number, own)) for own in lists]
        if hint := _dealt_wrongly(lists, total, existing):
            listed = sorted(existing) or "none"
            raise Wrong(f"With {total} shards, {listed} saved, and {processes} process(es): {hint}")
    yield Right("Exactly one process computes each missing shard.")


def _dealt_wrongly(lists: Sequence[list[float]], total: int, existing: set[int]) -> str:
    """Return a hint about the shards of each process, or an empty string if they are right."""
    made = [number for own in lists for number in own]
    every = set(range(total))
    if beyond := set(made) - every:
        return f"there is no shard {min(beyond):g}. Shards are numbered from 0."
    if again := existing & set(made):
        return f"shard {min(again)} is already saved, but you compute it again."
    if twice := {number for number in made if made.count(number) > 1}:
        makers = [process for process, own in enumerate(lists) if min(twice) in own]
        return f"you compute shard {min(twice):g} more than once (processes {makers}). Once is enough."
    missing = every - existing - set(made)
    if missing:
        return f"no process computes shard {min(missing)}."
    shares = list(map(len, lists))
    if max(shares) > min(shares) + 1:
        return (
            f"the processes compute {shares} shards. Share them equally so that no process waits for another."
        )
    return ""


def _rates(job: Mapping, machine: Mapping) -> dict[str, float]:
    """Return the images per second of each step, with all cores and GPUs in use."""
    return {
        "disk": machine["disk"] / job["bytes"],
        "decode": machine["cores"] / job["decode"],
        "network": machine["cards"] / job["network"],
    }


def _rates_of_one(job: Mapping, machine: Mapping) -> dict[str, float]:
    return _rates(job, {**machine, "cores": 1, "cards": 1})


def _rates_in_turn(job: Mapping, machine: Mapping) -> dict[str, float]:
    rates = _rates(job, machine)
    return dict.fromkeys(rates, 1 / sum(1 / rate for rate in rates.values()))


def _plan(
    choose: Callable = min, named_by: Callable = _rates, timed_by: Callable = _rates, units: tuple = (1, 1)
) -> Callable:
    """Return a plan that chooses a step by some rates and takes the hours from others, in some units."""

    def plan(images: int, job: Mapping, machine: Mapping) -> tuple[str, float, float]:
        rates = named_by(job, machine)
        step = choose(rates, key=rates.get)
        hours = images / timed_by(job, machine)[step] / 3600
        return step, hours * units[0], hours * machine["price"] * units[1]

    return plan


def _plan_of(value: object) -> tuple[object, float, float]:
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise Wrong(f"Expected three values (a name, hours and a price), got {describe(value)}.")
    step, hours, price = value[0], as_number(value[1]), as_number(value[2])
    if hours is None or price is None:
        found = f"{describe(value[1])} and {describe(value[2])}"
        raise Wrong(f"Expected numbers for hours and price, got {found}.")
    return step, hours, price


def _rates_in_words(value: tuple, right: tuple, images: int, job: Mapping, machine: Mapping) -> str:
    rates = ", ".join(f"{step} {rate:,.0f}" for step, rate in _rates(job, machine).items())
    return f"You return {value[0]!r}, but the rates are {rates} images per second. "


# Compare a plan's name first, then its hours, then its price
SLOWEST_STEP = Mistakes(
    right=_plan(),
    wrong={
        "That is the fastest of the three. The slowest one limits the others.": _plan(choose=max),
        "Use every core ({machine[cores]}) and every GPU ({machine[cards]}).": _plan(named_by=_rates_of_one),
    },
    read=_plan_of,
    agrees=lambda one, other: one[0] == other[0],
    found=_rates_in_words,
)
HOURS = Mistakes(
    right=_plan(),
    wrong={
        "{value[1]:,.0f} is the time in seconds. Return hours.": _plan(units=(3600, 1)),
        "Your steps run one after the other. While the network runs, the disk can read the next images.": (
            _plan(timed_by=_rates_in_turn)
        ),
        "The step is right, but your plan uses only one core or one GPU.": (_plan(timed_by=_rates_of_one)),
    },
    read=_plan_of,
    agrees=lambda one, other: close(one[1], other[1]),
    otherwise=lambda value, right, images, job, machine: (
        f"The slowest step is {right[0]}, {_rates(job, machine)[right[0]]:,.0f} images per second. "
        f"At this rate, {images:,} images do not take {value[1]:g} hours."
    ),
)
PRICE = Mistakes(
    right=_plan(),
    wrong={"The price is per hour, but you pay it for every second.": _plan(units=(1, 3600))},
    read=_plan_of,
    agrees=lambda one, other: close(one[2], other[2]),
    otherwise="{right[1]:.3f} hours at {machine[price]:g} an hour do not cost {value[2]:g}.",
)


@check(
    begin="how many images per second can the disk read, all cores decode, and all GPUs process?",
    expects="a function from a number of images and two dictionaries to a name, hours and a price",
)
def slowest_step(answer):
    """Lesson 16: compute the hours and price of a run from its slowest step."""
    job = {"bytes": 100_000, "decode": 0.004, "network": 0.0005}
    machines = (
        {"disk": 1e8, "cores": 8, "cards": 2, "price": 6.0},
        {"disk": 1e9, "cores": 4, "cards": 1, "price": 2.0},
        {"disk": 2e9, "cores": 64, "cards": 4, "price": 20.0},
    )
    cases = [(images, job, machine) for images in (3_600_000, 1_000_000) for machine in machines]
    for table in (SLOWEST_STEP, HOURS, PRICE):
        yield from table.compare(answer, cases)
    yield Right("The steps run at the same time, so the slowest one sets the pace.")
