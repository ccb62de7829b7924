"""Wrong answers to the exercises of lesson 11, and words of the hint that each must get.

`RIGHT` has, for each check, the lesson and the names in its solution that are the answers; `WRONG` has the
check, the answer, or a tuple of answers, and the words.
"""

import math

RIGHT = [
    ("11", "images_for_one", ["at_once"]),
    ("11", "gradient_together", ["together"]),
    ("11", "shards_left", ["left"]),
    ("11", "slowest_step", ["plan"]),
]


def weighted(gradients, images):
    return sum(count * gradient for gradient, count in zip(gradients, images, strict=True))


def rates_of(job, machine, cores=True, cards=True):
    return {
        "disk": machine["disk"] / job["bytes"],
        "decode": (machine["cores"] if cores else 1) / job["decode"],
        "network": (machine["cards"] if cards else 1) / job["network"],
    }


def planned(choose=min, hours=lambda images, rates, rate: images / rate / 3600, price=1.0):
    def plan(images, job, machine):
        rates = rates_of(job, machine)
        name = choose(rates, key=rates.get)
        needed = hours(images, rates, rates[name])
        return name, needed, needed * machine["price"] * price

    return plan


def with_one_core_and_card(images, job, machine):
    rates = rates_of(job, machine, cores=False, cards=False)
    name = min(rates, key=rates.get)
    return name, images / rates[name] / 3600, images / rates[name] / 3600 * machine["price"]


def named_rightly_with_one_core(images, job, machine):
    rates, alone = rates_of(job, machine), rates_of(job, machine, cores=False, cards=False)
    name = min(rates, key=rates.get)
    needed = images / alone[name] / 3600
    return name, needed, needed * machine["price"]


WRONG = [
    ("images_for_one", lambda batch, processes, parts: batch, "what do the other processes do?"),
    ("images_for_one", lambda batch, processes, parts: batch * processes, "does not become larger"),
    ("images_for_one", lambda batch, processes, parts: math.ceil(batch / processes), "part by part"),
    ("images_for_one", lambda batch, processes, parts: math.ceil(batch / parts), "the other processes"),
    ("images_for_one", lambda batch, processes, parts: batch // processes // parts, "Round up"),
    ("images_for_one", lambda batch, processes, parts: batch / processes / parts, "Round up"),
    ("images_for_one", lambda batch, processes, parts: [batch], "A whole number should come back"),
    (
        "gradient_together",
        lambda gradients, images: sum(gradients) / len(gradients),
        "counts each process the same",
    ),
    ("gradient_together", lambda gradients, images: sum(gradients), "the sum of the means"),
    ("gradient_together", weighted, "Divide by how many"),
    (
        "gradient_together",
        lambda gradients, images: weighted(gradients, images) / len(images),
        "divided by the number of processes",
    ),
    ("gradient_together", lambda gradients, images: gradients[0], "the first process alone"),
    (
        "gradient_together",
        lambda gradients, images: weighted(gradients, images).mean(),
        "like each of the gradients",
    ),
    ("shards_left", lambda total, kept, process, of: list(range(process, total, of)), "is kept already"),
    (
        "shards_left",
        lambda total, kept, process, of: [n for n in range(total) if n not in kept],
        "once is enough",
    ),
    (
        "shards_left",
        lambda total, kept, process, of: [n for n in range(process, total - 1, of) if n not in kept],
        "nobody makes shard 5",
    ),
    (
        "shards_left",
        lambda total, kept, process, of: [n for n in range(process + 1, total + 1, of) if n not in kept],
        "counted from 0",
    ),
    (
        "shards_left",
        lambda total, kept, process, of: [n for n in range(total) if n not in kept][: total // of],
        "once is enough",
    ),
    ("shards_left", lambda total, kept, process, of: total - len(kept), "A list of numbers"),
    ("slowest_step", planned(choose=max), "which is the fastest"),
    ("slowest_step", with_one_core_and_card, "cores, and all"),
    ("slowest_step", planned(hours=lambda images, rates, rate: images / rate), "are seconds"),
    (
        "slowest_step",
        planned(hours=lambda images, rates, rate: images * sum(1 / r for r in rates.values()) / 3600),
        "one after the other",
    ),
    ("slowest_step", named_rightly_with_one_core, "only one core"),
    ("slowest_step", planned(price=3600), "for every second"),
    ("slowest_step", lambda images, job, machine: "disk", "Three things should come back"),
]
