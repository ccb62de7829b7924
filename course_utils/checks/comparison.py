"""Checks of lesson 07: what is a fair comparison, how sure a mean is, and what was not shown."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from course_utils.checks.asking import NO_RETURN, as_numbers, ask_value
from course_utils.checks.mistakes import Mistakes
from course_utils.checks.values import as_names, as_number, close
from course_utils.checks.verdict import Right, Wrong, check
from course_utils.evaluation.comparison import aggregate_runs, mean_interval

SIDE = {
    "start": "random", "network": "resnet18", "images_per_class": 20, "steps": 300, "lr": 0.0003,
    "augmented": True, "seeds": (0, 1, 2), "lr_chosen_on": "validation",
}  # fmt: skip


@check(
    begin="go over the names in one description, and compare the two values of each.",
    expects="a function from two dictionaries to a set of names",
)
def unfair_differences(answer):
    """Lesson 07: the names of what differs between two sides of a comparison and must not."""
    cases = (
        ({"start": "pretrained", "lr": 0.001}, set()),
        ({"start": "pretrained", "lr": 0.001, "network": "resnet50", "steps": 3000}, {"network", "steps"}),
        ({"start": "pretrained", "seeds": (0,), "augmented": False}, {"seeds", "augmented"}),
        ({"start": "pretrained", "lr_chosen_on": "test"}, {"lr_chosen_on"}),
        ({"start": "pretrained", "images_per_class": 100}, {"images_per_class"}),
    )
    for changes, wanted in cases:
        names = as_names(ask_value(answer, dict(SIDE), {**SIDE, **changes}))
        extra = names - wanted
        if "start" in extra:
            raise Wrong("You call the start unfair. It is what the comparison asks about: it has to differ.")
        if "lr" in extra:
            raise Wrong(
                "You call the learning rate unfair. What suits random weights does not suit pretrained "
                "ones: each side gets the rate that is good for it, if both were chosen with the same care."
            )
        if extra:
            raise Wrong(f"{', '.join(sorted(map(str, extra)))} is the same on both sides, but you name it.")
        if missing := wanted - names:
            name = min(missing)
            raise Wrong(
                f"{name} is {SIDE[name]} on one side and {changes[name]} on the other, and you call that "
                "fair."
            )
    yield Right("The start may differ, since it is the question, and so may the learning rate that suits it.")


@check(
    begin="how many batches are in one epoch? The last one may be smaller, and is a step, too.",
    expects="a function from three whole numbers to a number of epochs",
)
def epochs_for_budget(answer):
    """Lesson 07: a number of epochs, from steps, images and the batch size."""
    for steps, images, batch_size in ((20, 80, 32), (300, 2400, 32), (300, 24, 32), (20, 3000, 32)):
        batches = math.ceil(images / batch_size)
        value = ask_value(answer, steps, images, batch_size)
        number = as_number(value)
        if number is None:
            raise Wrong(f"You give {value!r:.50}: give one number.")
        found = (
            f"For {steps} steps with {images} images in batches of {batch_size} you give {number:g} epochs. "
        )
        if number != int(number):
            raise Wrong(found + "An epoch that has begun is finished: give a whole number.")
        taken = number * batches
        if taken < steps:
            raise Wrong(found + f"That makes {taken:g} steps, fewer than {steps}: one side learns less.")
        if taken - batches >= steps:
            raise Wrong(
                f"{found}An epoch has {batches} batches here, the last one smaller if need be; so {taken:g} "
                f"steps are taken where {number - 1:g} epochs would do."
            )
    yield Right("Few images, many epochs; many images, few epochs: the steps are the same.")


def _t(share: float, degrees: int) -> float:
    from scipy import stats  # half a second: only where it is needed

    return stats.t.ppf(share, degrees)


def _around_mean(reach: Callable) -> Callable:
    """Return an interval whose reach is a function of the number of runs, their spread and the values."""

    def interval(values: list[float]) -> tuple[float, float, float]:
        mean, off = np.mean(values), reach(len(values), np.std(values, ddof=1), np.asarray(values))
        return mean, mean - off, mean + off

    return interval


STUDENT_INTERVAL = Mistakes(
    right=_around_mean(lambda n, s, values: _t(0.975, n - 1) * s / n**0.5),
    wrong={
        "It is a little too narrow. There are two standard deviations: np.std divides by n unless you ask "
        "it to divide by n − 1.": _around_mean(lambda n, s, values: _t(0.975, n - 1) * values.std() / n**0.5),
        "You use 1.96, which is for many runs. With so few, t is larger.": (
            _around_mean(lambda n, s, values: 1.96 * s / n**0.5)
        ),
        "1.96 is for many runs; and np.std divides by n unless you ask for n − 1.": (
            _around_mean(lambda n, s, values: 1.96 * values.std() / n**0.5)
        ),
        "It is too wide: a mean scatters less than a single run. What about the root of n?": (
            _around_mean(lambda n, s, values: _t(0.975, n - 1) * s)
        ),
        "That is one standard error to either side, which holds the truth far less often than 95 %.": (
            _around_mean(lambda n, s, values: s / n**0.5)
        ),
        "That is the scatter of single runs, not an interval for their mean.": (
            _around_mean(lambda n, s, values: s)
        ),
        "Those are the lowest and the highest run, not an interval for the mean.": (
            lambda values: (np.mean(values), min(values), max(values))
        ),
        "Which number of degrees of freedom does t have here?": (
            _around_mean(lambda n, s, values: _t(0.975, n) * s / n**0.5)
        ),
        "Is that t for 90 %? Two tails share the 5 %.": (
            _around_mean(lambda n, s, values: _t(0.95, n - 1) * s / n**0.5)
        ),
        "The lower end is the mean minus the reach, the upper end the mean plus the reach.": (
            lambda values: [mean_interval(values)[number] for number in (0, 2, 1)]
        ),
    },
    read=partial(as_numbers, count=3),
    agrees=partial(np.allclose, rtol=0, atol=5e-4),
    found=lambda value, right, values: (
        f"For {values} your interval is {value[2] - value[1]:.3f} wide; "
        f"it must be {right[2] - right[1]:.3f}. "
    ),
    otherwise=lambda value, right, values: (
        "Put t, the standard deviation and the root of n together once more."
        if close(value[0], right[0])
        else f"The mean of {values} is not {value[0]:.4g}. It comes first, before the two ends."
    ),
    praise="{case} runs: {value[0]:.3f}, 95 % interval {value[1]:.3f} to {value[2]:.3f}.",
)


@check(
    begin="you need the mean, the standard deviation of the runs, their number, and t for one run fewer.",
    expects="a function from some accuracies to a mean and the two ends of an interval",
    without=("mean_interval",),
)
def student_interval(answer):
    """Lesson 07: the mean of a few runs and its 95 % Student interval, from their accuracies."""
    cases = {len(values): (values,) for values in ([0.60, 0.64, 0.71], [0.80, 0.81, 0.83, 0.79, 0.84])}
    yield from STUDENT_INTERVAL.compare(answer, cases)


PAYS, BEHIND, UNDECIDED = "transfer pays", "scratch is better", "not told apart"


@check(
    begin="give each side its mean and interval. What does it mean if the two do not touch?",
    expects=f"a function from two lists of accuracies to '{PAYS}', '{BEHIND}' or '{UNDECIDED}'",
)
def verdict_on_means(answer):
    """Lesson 07: a verdict on two starts, from the accuracies of their runs."""
    cases = (
        ([0.80, 0.81, 0.82], [0.60, 0.61, 0.62], PAYS, "The intervals lie far apart, with transfer above."),
        ([0.60, 0.61, 0.62], [0.80, 0.81, 0.82], BEHIND, "The intervals lie far apart, with scratch above."),
        (
            [0.70, 0.76, 0.82], [0.67, 0.70, 0.72], UNDECIDED,
            "Means six points apart, but the intervals overlap.",
        ),
        (
            [0.74, 0.75, 0.76], [0.695, 0.705, 0.715], UNDECIDED,
            "Every run of one side is above every run of the other. Yet each interval reaches 2.5 points to "
            "either side, so they overlap: is yours Student's, with n - 1 in the standard deviation?",
        ),
        (
            [0.74, 0.75, 0.76], [0.68, 0.69, 0.70], PAYS,
            "The means are six points apart, and each interval reaches 2.5 points to either side.",
        ),
    )  # fmt: skip
    for transfer, scratch, wanted, why in cases:
        none = f"{NO_RETURN} It was asked about {transfer} and {scratch}."
        value = ask_value(answer, list(transfer), list(scratch), none=none)
        if value not in (PAYS, BEHIND, UNDECIDED):
            raise Wrong(f"{value!r:.50} is none of '{PAYS}', '{BEHIND}' and '{UNDECIDED}'.")
        if value != wanted:
            raise Wrong(f"Transfer {transfer}, scratch {scratch}: you say '{value}'. {why}")
    yield Right("You say that two starts differ only if their intervals do not touch.")


@check(
    begin="go over the pairs of a data set and a number of images, and ask your function about each.",
    expects="a function from a table of runs and the name of a start to pairs (dataset, images_per_class)",
)
def cases_without_gain(answer, runs):
    """Lesson 07: where a start was not shown to be better than scratch, from a table of runs."""
    intervals = aggregate_runs(runs).set_index(["start", "dataset", "images_per_class"])
    scratch = intervals.loc["from scratch"]
    for start in ("frozen", "fine-tuned"):
        value = ask_value(answer, runs.copy(), start)
        try:
            given = {(str(dataset), int(images)) for dataset, images in value}
        except (TypeError, ValueError) as error:
            raise Wrong(
                f"Give pairs such as ('clipart', 5), the name first. You give {value!r:.60}."
            ) from error
        own = intervals.loc[start]
        if unknown := given - set(own.index):
            raise Wrong(f"The table has no runs for {min(unknown)}: take each pair from its rows.")
        wanted = {case for case in own.index if own.low[case] <= scratch.high[case]}
        if extra := given - wanted:
            dataset, images = min(extra)
            raise Wrong(
                f"{start}, {dataset}, {images} images: you say that no gain was shown. Look at the two "
                "intervals: do they touch?"
            )
        if missing := wanted - given:
            dataset, images = case = min(missing)
            raise Wrong(
                f"{start}, {dataset}, {images} images: you leave it out. The means are "
                f"{own.accuracy[case]:.3f} and {scratch.accuracy[case]:.3f}, but what do the intervals of so "
                "few seeds say?"
            )
        yield Right(f"{start}: {len(wanted)} cases in which these runs have not shown a gain over scratch.")
