"""Does an interval that is called 95 % hold the truth in 95 of 100 cases?

    python benchmarks/coverage.py [--draws 400] [--seed 0]

Every interval of the course is drawn anew from a population whose truth is known, and it is counted how often
it holds that truth: `results/coverage.csv`. Of 400 draws, 93 to 97 % agree with 95. An interval of the
calibration error promises at least that.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from storing import RESULTS, this_run

from course_utils.evaluation.calibration import calibration_error, calibration_interval
from course_utils.evaluation.comparison import mean_interval
from course_utils.evaluation.metrics import Evaluation, accuracy_interval, paired_difference
from course_utils.text.entities import entity_f1

Case = tuple[str, str, float, Callable[[np.random.Generator], tuple[float, float]]]
"""The interval's name, the case, the truth, and a function that draws one interval."""


def accuracies() -> Iterator[Case]:
    """Wilson's interval of an accuracy."""
    for images, truth in ((20, 0.9), (154, 0.6), (154, 0.98), (2000, 0.83)):
        yield (
            "accuracy (Wilson)",
            f"{images} images",
            truth,
            lambda rng, n=images, p=truth: accuracy_interval(int(rng.binomial(n, p)), n),
        )


def means() -> Iterator[Case]:
    """Student's interval of the mean of some runs."""
    for runs in (3, 5, 10):
        yield (
            "mean over runs (Student)",
            f"{runs} runs",
            0.8,
            lambda rng, n=runs: mean_interval(rng.normal(0.8, 0.02, n))[1:],
        )


def named(right: np.ndarray) -> Evaluation:
    """Return the evaluation of a network from which images it classified correctly."""
    chosen = torch.from_numpy(right).long()
    return Evaluation(torch.nn.functional.one_hot(chosen, 2).float(), torch.ones_like(chosen), ["no", "yes"])


def differences() -> Iterator[Case]:
    """The paired difference of two networks over images that differ in how hard they are, and over runs."""
    for runs, images, scatter in ((1, 154, 0), (1, 2000, 0), (3, 400, 0), (3, 400, 0.05), (5, 2000, 0.05)):

        def draw(rng, runs=runs, images=images, scatter=scatter):
            easy = rng.uniform(0.5, 1, images)
            first = rng.random((runs, images)) < easy
            second = rng.random((runs, images)) < easy - 0.1 + rng.normal(0, scatter, (runs, 1))
            return paired_difference([named(run) for run in first], [named(run) for run in second])[1:]

        yield "paired difference", f"{runs} runs that scatter by {scatter:g}, {images} images", 0.1, draw


def overconfident(images: int, share: float, rng: np.random.Generator) -> Evaluation:
    """Return predictions of a network whose accuracy lies below its confidence by `share` of its doubt."""
    confidence = 0.5 + 0.5 * rng.beta(3, 1, images)
    right = rng.random(images) < confidence - share * (1 - confidence)
    probabilities = torch.from_numpy(np.stack([confidence, 1 - confidence], axis=1)).float()
    return Evaluation(probabilities, torch.from_numpy(~right).long(), ["yes", "no"])


def calibration_errors() -> Iterator[Case]:
    """The interval of the expected calibration error, of a calibrated and of two overconfident networks."""
    many = np.random.default_rng(0)
    for images, bins in ((154, 5), (154, 15), (2000, 15)):
        for name, share in (("calibrated", 0), ("a little overconfident", 0.3), ("overconfident", 1)):
            truth = calibration_error(overconfident(500_000, share, many), bins) if share else 0.0
            yield (
                "calibration error",
                f"{name}, {images} images, {bins} bins",
                truth,
                lambda rng, n=images, b=bins, s=share: calibration_interval(overconfident(n, s, rng), b)[1:],
            )


def entity_scores() -> Iterator[Case]:
    """The bootstrap over sentences of entity F1: three names in each, found with a chance of 0.8."""
    truth = ["B-PER", "O", "B-LOC", "O", "B-ORG"]

    def draw(rng):
        found = rng.random((100, 3)) < rng.beta(8, 2, (100, 1))  # sentences differ in how hard they are
        predicted = [[*"OOOOO"] for _ in found]
        for labels, row in zip(predicted, found, strict=True):
            labels[::2] = [true if hit else "O" for true, hit in zip(truth[::2], row, strict=True)]
        return entity_f1([truth] * 100, predicted)[1:3]

    yield "entity F1 (bootstrap over sentences)", "100 sentences", 2 * 0.8 / 1.8, draw


def means_over_groups() -> Iterator[Case]:
    """The bootstrap over groups, as lesson 11 teaches it: groups of 1 to 20 images."""
    for groups in (40, 150):

        def draw(rng, groups=groups):
            sizes = rng.integers(1, 21, groups)
            sums = rng.binomial(sizes, rng.beta(4, 2, groups))
            drawn = rng.integers(groups, size=(2000, groups))
            return np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])

        yield "mean (bootstrap over groups)", f"{groups} groups", 4 / 6, draw


def main() -> None:
    """Draw the intervals and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    kinds = (accuracies, means, differences, calibration_errors, entity_scores, means_over_groups)
    for name, case, truth, draw in (each for kind in kinds for each in kind()):
        rng = np.random.default_rng(options.seed)
        ends = np.array([draw(rng) for _ in range(options.draws)])
        held = (ends[:, 0] <= truth + 1e-6) & (truth <= ends[:, 1] + 1e-6)
        width = (ends[:, 1] - ends[:, 0]).mean()
        row = {"interval": name, "case": case, "truth": truth, "held": held.mean(), "mean_width": width}
        rows.append({**row, "draws": options.draws})
        print(f"{name}, {case}, {truth:.3g}: {held.mean():.1%}, {width:.3f} wide", flush=True)
    about = "".join(f"# {key}: {value}\n" for key, value in this_run().items())
    (RESULTS / "coverage.csv").write_text(about + pd.DataFrame(rows).round(4).to_csv(index=False))


if __name__ == "__main__":
    main()
