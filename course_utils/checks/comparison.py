"""Checks of lesson 07: fair comparisons, intervals of means, and gains that were not shown."""

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
    begin="loop over the names in one of the dictionaries and compare the two values of each.",
    expects="a function from two dictionaries to a set of names",
)
def unfair_differences(answer):
    """Lesson 07: the settings that make a comparison unfair because its two sides differ in them."""
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
            raise Wrong(
                "You list `start` as unfair. It is what the comparison is about, so it has to differ."
            )
        if "lr" in extra:
            raise Wrong(
                "You list `lr` as unfair. A learning rate that suits random weights need not suit pretrained "
                "ones. Each side should use the rate that works best for it, as long as both rates were "
                "chosen with the same care."
            )
        if extra:
            raise Wrong(
                f"You list {', '.join(sorted(map(str, extra)))} as unfair, but the two sides do not "
                "differ there."
            )
        if missing := wanted - names:
            name = min(missing)
            raise Wrong(
                f"`{name}` is {SIDE[name]} on one side and {changes[name]} on the other, but you do not list "
                "it as unfair."
            )
    yield Right(
        "`start` may differ because the comparison is about it, and `lr` because it has to suit the start."
    )


@check(
    begin="how many batches are there in one epoch? The last one may be smaller, but it counts as a step.",
    expects="a function from three whole numbers to a number of epochs",
)
def epochs_for_budget(answer):
    """Lesson 07: the number of epochs that a budget of steps needs."""
    for steps, images, batch_size in ((20, 80, 32), (300, 2400, 32), (300, 24, 32), (20, 3000, 32)):
        batches = math.ceil(images / batch_size)
        value = ask_value(answer, steps, images, batch_size)
        number = as_number(value)
        if number is None:
            raise Wrong(f"Expected one number of epochs, got {value!r:.50}.")
        found = (
            f"For {steps} steps with {images} images in batches of {batch_size}, you return {number:g} "
            "epochs. "
        )
        if number != int(number):
            raise Wrong(found + "Training finishes every epoch that it starts, so return a whole number.")
        taken = number * batches
        if taken < steps:
            raise Wrong(
                found + f"That is only {taken:g} steps, fewer than {steps}, so one side would train less."
            )
        if taken - batches >= steps:
            raise Wrong(
                f"{found}The number of batches in an epoch is {batches} here, counting a smaller last one. "
                f"That makes {taken:g} steps, and {number - 1:g} epochs would be enough."
            )
    yield Right("The fewer images there are, the more epochs it takes to reach the same number of steps.")


def _t(share: float, degrees: int) -> float:
    from scipy import stats  # takes half a second, so import it only where it is needed

    return stats.t.ppf(share, degrees)


def _around_mean(reach: Callable) -> Callable:
    """Return a function that computes an interval from the number of runs, their spread and the values."""

    def interval(values: list[float]) -> tuple[float, float, float]:
        mean, off = np.mean(values), reach(len(values), np.std(values, ddof=1), np.asarray(values))
        return mean, mean - off, mean + off

    return interval


STUDENT_INTERVAL = Mistakes(
    right=_around_mean(lambda n, s, values: _t(0.975, n - 1) * s / n**0.5),
    wrong={
        "Yours is a little too narrow. There are two versions of the standard deviation: `np.std` divides by "
        "n unless you ask it to divide by n − 1.": _around_mean(
            lambda n, s, values: _t(0.975, n - 1) * values.std() / n**0.5
        ),
        "You use 1.96, which is only right for many runs. With so few runs, t is larger.": (
            _around_mean(lambda n, s, values: 1.96 * s / n**0.5)
        ),
        "Two things are wrong: 1.96 is only right for many runs, and `np.std` divides by n unless you ask "
        "for n − 1.": (_around_mean(lambda n, s, values: 1.96 * values.std() / n**0.5)),
        "Yours is too wide: a mean varies less than a single run. Where does √n come in?": (
            _around_mean(lambda n, s, values: _t(0.975, n - 1) * s)
        ),
        "You go one standard error to either side. Such an interval contains the true mean in far fewer than "
        "95 % of cases.": (_around_mean(lambda n, s, values: s / n**0.5)),
        "You go one standard deviation to either side. That shows how much single runs vary, not how "
        "uncertain their mean is.": (_around_mean(lambda n, s, values: s)),
        "Those are the accuracies of the worst and the best run, not an interval for the mean.": (
            lambda values: (np.mean(values), min(values), max(values))
        ),
        "How many degrees of freedom does t have here?": (
            _around_mean(lambda n, s, values: _t(0.975, n) * s / n**0.5)
        ),
        "Is that t for a 90 % interval? The two tails share the 5 % that a 95 % interval leaves out.": (
            _around_mean(lambda n, s, values: _t(0.95, n - 1) * s / n**0.5)
        ),
        "The two ends are swapped. Return the lower end before the upper end.": (
            lambda values: [mean_interval(values)[number] for number in (0, 2, 1)]
        ),
    },
    read=partial(as_numbers, count=3),
    agrees=partial(np.allclose, rtol=0, atol=5e-4),
    found=lambda value, right, values: (
        f"For {values}, the interval should have a width (upper end minus lower end) of "
        f"{right[2] - right[1]:.3f}; yours has {value[2] - value[1]:.3f}. "
    ),
    otherwise=lambda value, right, values: (
        "Check how you combine t, the standard deviation and √n."
        if close(value[0], right[0])
        else f"The mean of {values} is not {value[0]:.4g}. Return the mean first, then the two ends."
    ),
    praise="{case} runs: mean {value[0]:.3f}, 95 % interval {value[1]:.3f} to {value[2]:.3f}.",
)


@check(
    begin="you need the mean of the runs, their standard deviation, their number n, and t with n − 1 degrees "
    "of freedom.",
    expects="a function from a list of accuracies to a mean and the two ends of an interval",
    without=("mean_interval",),
)
def student_interval(answer):
    """Lesson 07: the mean accuracy of a few runs and its 95 % Student interval."""
    cases = {len(values): (values,) for values in ([0.60, 0.64, 0.71], [0.80, 0.81, 0.83, 0.79, 0.84])}
    yield from STUDENT_INTERVAL.compare(answer, cases)


PAYS, BEHIND, UNDECIDED = "transfer pays", "scratch is better", "not told apart"


@check(
    begin="compute the mean and interval of each side. What does it mean if the two intervals do not touch?",
    expects=f"a function from two lists of accuracies to '{PAYS}', '{BEHIND}' or '{UNDECIDED}'",
)
def verdict_on_means(answer):
    """Lesson 07: a verdict on transfer and training from scratch, from the accuracies of their runs."""
    cases = (
        (
            [0.80, 0.81, 0.82], [0.60, 0.61, 0.62], PAYS,
            "The intervals are far apart, and transfer is higher.",
        ),
        (
            [0.60, 0.61, 0.62], [0.80, 0.81, 0.82], BEHIND,
            "The intervals are far apart, and training from scratch is higher.",
        ),
        (
            [0.70, 0.76, 0.82], [0.67, 0.70, 0.72], UNDECIDED,
            "The means are six points apart, but the intervals overlap.",
        ),
        (
            [0.74, 0.75, 0.76], [0.695, 0.705, 0.715], UNDECIDED,
            "Every transfer run beats every run from scratch. But each interval reaches 2.5 points to either "
            "side of its mean, so the two overlap. Is yours Student's interval, with n − 1 in the standard "
            "deviation?",
        ),
        (
            [0.74, 0.75, 0.76], [0.68, 0.69, 0.70], PAYS,
            "The means are six points apart, and each interval reaches 2.5 points to either side of its "
            "mean.",
        ),
    )  # fmt: skip
    for transfer, scratch, wanted, why in cases:
        none = f"{NO_RETURN} The check called it with {transfer} and {scratch}."
        value = ask_value(answer, list(transfer), list(scratch), none=none)
        if value not in (PAYS, BEHIND, UNDECIDED):
            raise Wrong(f"Expected '{PAYS}', '{BEHIND}' or '{UNDECIDED}', got {value!r:.50}.")
        if value != wanted:
            raise Wrong(
                f"For the transfer runs {transfer} and the runs from scratch {scratch}, you return "
                f"'{value}'. {why}"
            )
    yield Right("You call one start better only if the two intervals do not touch.")


@check(
    begin="loop over the pairs of data set and number of images, and call your `verdict` for each.",
    expects="a function from a table of runs and the name of a start to pairs (dataset, images_per_class)",
)
def cases_without_gain(answer, runs):
    """Lesson 07: the cases in which a table of runs does not show a gain over training from scratch."""
    intervals = aggregate_runs(runs).set_index(["start", "dataset", "images_per_class"])
    scratch = intervals.loc["from scratch"]
    for start in ("frozen", "fine-tuned"):
        value = ask_value(answer, runs.copy(), start)
        try:
            given = {(str(dataset), int(images)) for dataset, images in value}
        except (TypeError, ValueError) as error:
            raise Wrong(
                f"Expected pairs such as ('clipart', 5), with the name first, got {value!r:.60}."
            ) from error
        own = intervals.loc[start]
        if unknown := given - set(own.index):
            raise Wrong(
                f"The table has no runs for {min(unknown)}. Take each pair from the rows of the table."
            )
        wanted = {case for case in own.index if own.low[case] <= scratch.high[case]}
        if extra := given - wanted:
            dataset, images = min(extra)
            raise Wrong(
                f"{start}, {dataset}, {images} images of each class: you list this as a case without a "
                "gain. Look at the two intervals: do they touch?"
            )
        if missing := wanted - given:
            dataset, images = case = min(missing)
            raise Wrong(
                f"{start}, {dataset}, {images} images of each class: you leave this case out. The means are "
                f"{own.accuracy[case]:.3f} and {scratch.accuracy[case]:.3f}, but how wide are the intervals "
                "of so few seeds?"
            )
        yield Right(
            f"{start}: {len(wanted)} cases in which these runs do not show a gain over training from scratch."
        )
