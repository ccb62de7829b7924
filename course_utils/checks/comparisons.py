"""Checks for comparisons: what is fair, how sure a mean is, and what was not shown (lesson 07).

Each answer is a function of the student's. A check calls it with numbers of its own, of which every usual
mistake gives another result, so that the hint can say which mistake it was.
"""

import math

import numpy as np
import pandas as pd

from course_utils.checks.evaluation import NO_RETURN, as_numbers
from course_utils.checks.verdict import Right, as_number, ask, check, close
from course_utils.evaluation import mean_interval

__all__ = [
    "cases_without_gain",
    "epochs_for_budget",
    "student_interval",
    "told_apart",
    "unfair_differences",
]

SIDE = {
    "start": "random", "network": "resnet18", "images_per_class": 20, "steps": 300, "lr": 0.0003,
    "augmented": True, "seeds": (0, 1, 2), "lr_chosen_on": "validation",
}  # fmt: skip


@check(
    begin="go over the names in one description, and compare the two values of each.",
    expects="a function from two dictionaries to a set of names",
)
def unfair_differences(answer):
    """Check a function that names what differs between two sides of a comparison and must not."""
    cases = (
        ({"start": "pretrained", "lr": 0.001}, set()),
        ({"start": "pretrained", "lr": 0.001, "network": "resnet50", "steps": 3000}, {"network", "steps"}),
        ({"start": "pretrained", "seeds": (0,), "augmented": False}, {"seeds", "augmented"}),
        ({"start": "pretrained", "lr_chosen_on": "test"}, {"lr_chosen_on"}),
        ({"start": "pretrained", "images_per_class": 100}, {"images_per_class"}),
    )
    for changes, wanted in cases:
        value = ask(answer, dict(SIDE), {**SIDE, **changes})
        if value is None:
            yield NO_RETURN
            return
        names = {value} if isinstance(value, str) else set(value)
        if extra := names - wanted:
            yield _why_fair(extra)
            return
        if missing := wanted - names:
            name = min(missing)
            yield (
                f"{name} is {SIDE[name]} on one side and {changes[name]} on the other, and you call that "
                "fair."
            )
            return
    yield Right("The start may differ, since it is the question, and so may the learning rate that suits it.")


def _why_fair(names: set[str]) -> str:
    if "start" in names:
        return "You call the start unfair. It is what the comparison asks about: it has to differ."
    if "lr" in names:
        return (
            "You call the learning rate unfair. What suits random weights does not suit pretrained ones: "
            "each side "
            "gets the rate that is good for it, if both were chosen with the same care."
        )
    return f"{', '.join(sorted(map(str, names)))} is the same on both sides, and yet you name it."


@check(
    begin="how many batches are in one epoch? The last one may be smaller, and is a step, too.",
    expects="a function from three whole numbers to a number of epochs",
)
def epochs_for_budget(answer):
    """Check a function from steps, images and the batch size to the number of epochs."""
    for steps, images, batch_size in ((20, 80, 32), (300, 2400, 32), (300, 24, 32), (20, 3000, 32)):
        batches = math.ceil(images / batch_size)
        value = ask(answer, steps, images, batch_size)
        number = as_number(value)
        if value is None or number is None:
            yield (NO_RETURN if value is None else f"You give {value!r:.50}: one number is asked for.")
            return
        found = (
            f"For {steps} steps with {images} images in batches of {batch_size} you give {number:g} epochs. "
        )
        if number != int(number):
            yield found + "An epoch that has begun is finished: give a whole number."
            return
        if number * batches < steps:
            yield (
                found + f"That makes {number * batches:g} steps, fewer than {steps}: one side learns less."
            )
            return
        if (number - 1) * batches >= steps:
            yield found + (
                f"An epoch has {batches} batches here, the last one smaller if need be; so "
                f"{number * batches:g} steps "
                f"are taken where {number - 1:g} epochs would do."
            )
            return
    yield Right("Few images, many epochs; many images, few epochs: the steps are the same.")


@check(
    begin="you need the mean, the standard deviation of the runs, their number, and t for one run fewer.",
    expects="a function from some accuracies to a mean and the two ends of an interval",
)
def student_interval(answer):
    """Check a function from the accuracies of a few runs to their mean and 95 % Student interval."""
    for values in ([0.60, 0.64, 0.71], [0.80, 0.81, 0.83, 0.79, 0.84]):
        numbers = as_numbers(ask(answer, list(values)), 3)
        if isinstance(numbers, str):
            yield numbers
            return
        mean, low, high = numbers
        true = mean_interval(values)
        if not close(mean, true[0]):
            yield f"The mean of {values} is not {mean:.4g}. It comes first, before the two ends."
            return
        if not (math.isclose(low, true[1], abs_tol=5e-4) and math.isclose(high, true[2], abs_tol=5e-4)):
            yield _interval_mistake(np.asarray(values), low, high)
            return
        yield Right(f"{len(values)} runs: {mean:.3f}, 95 % interval {low:.3f} to {high:.3f}.")


def _interval_mistake(values: np.ndarray, low: float, high: float) -> str:
    count, spread = len(values), values.std(ddof=1)
    mean, true_low, true_high = mean_interval(values)
    t, root = (true_high - mean) / (spread / math.sqrt(count)), math.sqrt(count)
    reach = (high - low) / 2
    needed = true_high - true_low
    found = f"For {values.tolist()} your interval is {high - low:.3f} wide; it must be {needed:.3f}. "
    mistakes = {
        t * values.std() / root: "It is a little too narrow. There are two standard deviations: np.std "
        "divides by n unless you ask it to divide by n − 1.",
        1.96 * spread / root: "You use 1.96, which is for many runs. With so few, t is larger.",
        1.96
        * values.std()
        / root: "1.96 is for many runs; and np.std divides by n unless you ask for n − 1.",
        t * spread: "It is too wide: a mean scatters less than a single run. What about the root of n?",
        spread
        / root: "That is one standard error to either side, which holds the truth far less often than 95 %.",
        spread: "That is the scatter of single runs, not an interval for their mean.",
        (values.max() - values.min())
        / 2: "Those are the lowest and the highest run, not an interval for the mean.",
    }
    from scipy import stats  # half a second: only where it is needed

    mistakes[stats.t.ppf(0.975, count) * spread / root] = (
        "Which number of degrees of freedom does t have here?"
    )
    mistakes[stats.t.ppf(0.95, count - 1) * spread / root] = "Is that t for 90 %? Two tails share the 5 %."
    for mistake, hint in mistakes.items():
        if math.isclose(reach, mistake, rel_tol=2e-3):
            return found + hint
    if math.isclose(reach, true_high - mean, rel_tol=2e-3) or low > high:
        return found + "The lower end is the mean less the reach, the upper end the mean plus it."
    return found + "Put t, the standard deviation and the root of n together once more."


PAYS, BEHIND, OPEN = "transfer pays", "scratch is better", "not told apart"


@check(
    begin="give each side its mean and interval. What does it mean if the two do not touch?",
    expects=f"a function from two lists of accuracies to '{PAYS}', '{BEHIND}' or '{OPEN}'",
)
def told_apart(answer):
    """Check a function that says what the runs of two starts have shown."""
    cases = (
        ([0.80, 0.81, 0.82], [0.60, 0.61, 0.62], PAYS, "The intervals lie far apart, with transfer above."),
        ([0.60, 0.61, 0.62], [0.80, 0.81, 0.82], BEHIND, "The intervals lie far apart, with scratch above."),
        ([0.70, 0.76, 0.82], [0.67, 0.70, 0.72], OPEN, "Means six points apart, but the intervals overlap."),
        (
            [0.74, 0.75, 0.76], [0.71, 0.72, 0.73], OPEN,
            "Every run of one side is above every run of the other. Yet each interval reaches 2.5 points to "
            "either side, so they overlap: is yours Student's?",
        ),
    )  # fmt: skip
    for transfer, scratch, wanted, why in cases:
        value = ask(answer, list(transfer), list(scratch))
        if value is None:
            yield f"{NO_RETURN} It was asked about {transfer} and {scratch}."
            return
        if value not in (PAYS, BEHIND, OPEN):
            yield f"{value!r:.50} is none of '{PAYS}', '{BEHIND}' and '{OPEN}'."
            return
        if value != wanted:
            yield f"Transfer {transfer}, scratch {scratch}: you say '{value}'. {why}"
            return
    yield Right("You say that two starts differ only if their intervals do not touch.")


@check(
    begin="go over the pairs of a data set and a number of images, and ask your function about each.",
    expects="a function from a table of runs and the name of a start to pairs (dataset, images_per_class)",
)
def cases_without_gain(answer, runs):
    """Check a function that lists where a start was not shown to be better than scratch."""
    for start in ("frozen", "fine-tuned"):
        value = ask(answer, runs.copy(), start)
        if value is None:
            yield NO_RETURN
            return
        own = {(str(dataset), int(images)) for dataset, images in value}
        wanted = _without_gain(runs, start)
        for dataset, images in sorted(own - wanted):
            yield (
                f"{start}, {dataset}, {images} images: you say that no gain was shown. Look at the two "
                "intervals: do "
                "they touch?"
            )
            return
        for dataset, images in sorted(wanted - own):
            means = [_accuracies(runs, dataset, images, name).mean() for name in (start, "from scratch")]
            yield (
                f"{start}, {dataset}, {images} images: you leave it out. The means are {means[0]:.3f} and "
                f"{means[1]:.3f}, "
                "but what do the intervals of so few seeds say?"
            )
            return
        yield Right(f"{start}: {len(wanted)} cases in which these runs have not shown a gain over scratch.")


def _accuracies(runs: pd.DataFrame, dataset: str, images: int, start: str) -> pd.Series:
    asked = (runs.dataset == dataset) & (runs.images_per_class == images) & (runs.start == start)
    return runs.test_accuracy[asked]


def _without_gain(runs: pd.DataFrame, start: str) -> set[tuple[str, int]]:
    found = set()
    for dataset, images in {(row.dataset, int(row.images_per_class)) for row in runs.itertuples()}:
        _, low, _ = mean_interval(_accuracies(runs, dataset, images, start))
        _, _, high = mean_interval(_accuracies(runs, dataset, images, "from scratch"))
        if low <= high:
            found.add((dataset, images))
    return found
