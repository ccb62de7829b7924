"""The checks of lesson 11: what one process does of a step, what is left to do, and what a plan costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from course_utils.checks.verdict import Right, as_number, ask, check, close, describe

__all__ = ["gradient_together", "images_for_one", "shards_left", "slowest_step"]


@check(
    begin="in this course `batch_size` is how many images make one step, all processes together.",
    expects="a function from three whole numbers to one",
)
def images_for_one(answer: Callable) -> Iterator[str]:
    """Lesson 11: how many images does one process send through the network at once?"""
    cases = {(32, 1, 1): 32, (32, 2, 1): 16, (32, 2, 4): 4, (32, 1, 4): 8, (33, 2, 1): 17, (33, 2, 4): 5}
    for (batch_size, processes, grad_accum_steps), expected in cases.items():
        given = ask(answer, batch_size, processes, grad_accum_steps)
        value = as_number(given)
        told = f"For batch_size={batch_size}, {processes} process(es) and {grad_accum_steps} part(s)"
        if value is None:
            yield f"A whole number should come back, and it is {describe(given)}."
        elif value == expected:
            continue
        elif processes > 1 and value == batch_size * processes:
            yield f"{told} you give {value:g}: a step does not become larger because more processes make it."
        elif processes > 1 and value in (
            batch_size,
            batch_size // grad_accum_steps,
            -(-batch_size // grad_accum_steps),
        ):
            yield f"{told} you give {value:g}: what do the other processes do?"
        elif grad_accum_steps > 1 and value in (batch_size // processes, -(-batch_size // processes)):
            yield f"{told} you give {value:g}: they do not go through the network at once, but part by part."
        elif 0 < expected - value < 1 or value == expected - 1:
            yield f"{told} you give {value:g}: one of them has to take the image that is left over. Round up."
        else:
            yield f"{told} you give {value:g}."
        return
    yield Right(
        "The step stays the same; who makes it, and in how many parts, only changes the memory it takes."
    )


@check(
    begin="a gradient is a mean over images. What is the mean of 3 images and 1 image, from two means?",
    expects="a function from a list of tensors and a list of counts to a tensor",
)
def gradient_together(answer: Callable) -> Iterator[str]:
    """Lesson 11: is the gradient of several processes the mean over all of their images?"""
    counts = [3, 1, 4]
    gradients = [torch.tensor(row) for row in ([1.0, 0.0, 2.0], [5.0, 4.0, -2.0], [0.0, 1.0, 1.0])]
    given = ask(answer, [gradient.clone() for gradient in gradients], list(counts))
    if not isinstance(given, torch.Tensor) or given.shape != gradients[0].shape:
        yield f"A tensor like each of the gradients, [3], should come back, and it is {describe(given)}."
        return
    weighted = sum(count * gradient for count, gradient in zip(counts, gradients, strict=True))
    mistakes = (
        (
            sum(gradients) / 3,
            "counts each process the same: one image of a small share weighs more than another.",
        ),
        (sum(gradients), "is the sum of the means: with more processes the steps would become larger."),
        (weighted, "is the sum over the images. Divide by how many there are."),
        (
            weighted / 3,
            "is divided by the number of processes. The weights are counts of images: divide by theirs.",
        ),
        (gradients[0], "is that of the first process alone: then the others have worked for nothing."),
    )
    if torch.allclose(given.float(), weighted / sum(counts), atol=1e-5):
        yield Right("It is the gradient of the mean over all 8 images, whoever had them.")
        return
    for wrong, why in mistakes:
        if torch.allclose(given.float(), wrong, atol=1e-5):
            yield f"Yours {why}"
            return
    yield f"For the counts {counts} you give {[round(value, 3) for value in given.tolist()]}."


@check(
    begin="which shards are not kept yet? Deal those out, as cards are dealt.",
    expects="a function from a number, a set and two numbers to a list of numbers",
)
def shards_left(answer: Callable) -> Iterator[str]:
    """Lesson 11: is each missing shard made by exactly one process?"""
    for total, kept, processes in (
        (6, set(), 2),
        (7, {0, 2, 4}, 2),
        (5, {1}, 3),
        (4, {0, 1, 2, 3}, 2),
        (2, set(), 1),
    ):
        lists = [ask(answer, total, set(kept), process, processes) for process in range(processes)]
        told = f"With {total} shards, {sorted(kept) or 'none'} kept, and {processes} process(es):"
        for process, own in enumerate(lists):
            if not isinstance(own, list | tuple | range | set) or any(as_number(n) is None for n in own):
                yield f"A list of numbers should come back, and for process {process} it is {describe(own)}."
                return
        problem = _dealt_wrongly(lists, total, kept)
        if problem:
            yield f"{told} {problem}"
            return
    yield Right("Each missing shard is made once, by one process, and nothing is made again.")


def _dealt_wrongly(lists: Sequence[Sequence[int]], total: int, kept: set[int]) -> str:
    """Return what is wrong with who makes what, or an empty text."""
    made = [n for own in lists for n in own]
    again = sorted(kept & set(made))
    twice = sorted({n for n in made if made.count(n) > 1})
    nobody = sorted(set(range(total)) - kept - set(made))
    beyond = sorted(set(made) - set(range(total)))
    if beyond:
        return f"there is no shard {beyond[0]}; they are counted from 0."
    if again:
        return f"shard {again[0]} is kept already, and is made again."
    if twice:
        who = [process for process, own in enumerate(lists) if twice[0] in own]
        return f"shard {twice[0]} is made by the processes {who}: once is enough."
    return f"nobody makes shard {nobody[0]}." if nobody else ""


@check(
    begin="how many images a second does the disk give, do all cores decode, and do all cards take?",
    expects="a function from a number of images and two dictionaries to a name, hours and a price",
)
def slowest_step(answer: Callable) -> Iterator[str]:
    """Lesson 11: is a plan made from its slowest step?"""
    job = {"bytes": 100_000, "decode": 0.004, "network": 0.0005}
    machines = {
        "disk": {"disk": 1e8, "cores": 8, "cards": 2, "price": 6.0},
        "decode": {"disk": 1e9, "cores": 4, "cards": 1, "price": 2.0},
        "network": {"disk": 2e9, "cores": 64, "cards": 4, "price": 20.0},
    }
    for images in (3_600_000, 1_000_000):
        for name, machine in machines.items():
            given = ask(answer, images, dict(job), dict(machine))
            problem = _planned_wrongly(given, images, job, machine, name)
            if problem:
                yield problem
                return
    yield Right("Steps that work at the same time are as fast as the slowest of them.")


def _planned_wrongly(given: object, images: int, job: Mapping, machine: Mapping, slowest: str) -> str:
    """Return what is wrong with a plan, or an empty text."""
    if not isinstance(given, tuple | list) or len(given) != 3:
        return f"Three things should come back: a name, hours and a price. It was {describe(given)}."
    name, hours, price = given[0], as_number(given[1]), as_number(given[2])
    alone = {
        "disk": machine["disk"] / job["bytes"],
        "decode": 1 / job["decode"],
        "network": 1 / job["network"],
    }
    rates = {
        **alone,
        "decode": machine["cores"] / job["decode"],
        "network": machine["cards"] / job["network"],
    }
    told = ", ".join(f"{step} {rate:,.0f}" for step, rate in rates.items())
    right = images / rates[slowest] / 3600
    if hours is None or price is None:
        return (
            f"Hours and price should be numbers, and they are {describe(given[1])} and {describe(given[2])}."
        )
    if name == max(rates, key=rates.get):
        return f"You name {name!r}, which is the fastest ({told} images a second). What waits for what?"
    if name == min(alone, key=alone.get) != slowest:
        return f"You name {name!r}: do all {machine['cores']} cores, and all {machine['cards']} cards, work?"
    if name != slowest:
        return f"You name {name!r}, but the rates are {told} images a second."
    if close(hours, right):
        if close(price, right * machine["price"]):
            return ""
        if close(price, right * 3600 * machine["price"]):
            return "The price is that of an hour, and you pay it for every second."
        return f"{right:.3f} hours at {machine['price']:g} an hour are not {price:g}."
    if close(hours, right * 3600):
        return f"{hours:,.0f} are seconds, and hours are asked for."
    if close(hours, images * sum(1 / rate for rate in rates.values()) / 3600):
        return "Your steps work one after the other. While the network computes, the disk can read the next."
    if close(hours, images / alone[slowest] / 3600):
        return "The step is the right one, but only one core, or one card, works in your plan."
    return f"The slowest step is {slowest}, {rates[slowest]:,.0f} images a second: not {hours:g} hours."
