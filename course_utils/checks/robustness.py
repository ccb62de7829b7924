"""Checks of lesson 11: columns to split by, splits by group, overconfidence, and thresholds."""

from collections.abc import Callable
from functools import partial
from statistics import NormalDist

import numpy as np
import torch

from course_utils.checks.asking import ask_value
from course_utils.checks.mistakes import Mistakes
from course_utils.checks.values import as_names, close, describe, listed
from course_utils.checks.verdict import Right, Wrong, check

_PROJECTS = {
    "x-rays": (
        "patient",
        {
            "file": "Each row has its own file, so this splits by rows: a patient with two X-rays can end up "
            "on both sides.",
            "view": "New patients are X-rayed in the same views. Which column will have new values?",
            "hospital": "That tests the network on a new hospital, which is harder than the exercise asks.",
        },
    ),
    "wildlife": (
        "camera",
        {
            "file": "Each row has its own file, so this splits by rows: the bush in front of a camera can "
            "end up on both sides.",
            "hour": "A new camera takes pictures at the same hours. What will be new in them?",
        },
    ),
    "reviews": (
        "product",
        {
            "writer": "A known writer may well review a new product. The product is new, not the writer.",
            "file": "Each row has its own file, so this splits by rows.",
        },
    ),
    "stamps": (
        "file",
        {"year": "Each picture shows a different stamp, and new ones come from the same years."},
    ),
}


@check(
    begin="what will be new when the network is in use? It must not be on both sides of the split.",
    expects="a dictionary from each collection to the name of a column",
)
def split_columns(answer):
    """Lesson 11: choose the column to split by for each of four collections."""
    if missing := [project for project in _PROJECTS if project not in answer]:
        raise Wrong(f"{missing[0]} is missing from your dictionary.")
    if extra := [name for name in answer if name not in _PROJECTS]:
        raise Wrong(f"There is no collection {extra[0]!r:.40}. The four are {listed(_PROJECTS)}.")
    right = True
    for project, (column, mistakes) in _PROJECTS.items():
        names = as_names(answer[project])
        given = str(next(iter(names), "")).strip().lower()
        if len(names) != 1:
            raise Wrong(f"{project}: expected the name of one column, got {describe(answer[project])}.")
        if given == column:
            continue
        right = False
        if given in ("diagnosis", "animal", "stars", "country"):
            raise Wrong(
                f"{project}: {given} is the label. A class without training images cannot be learned, and "
                "one without test images is never tested."
            )
        yield f"{project}: {mistakes.get(given, f'its table has no column {given!r:.40}.')}"
    if right:
        yield Right(
            "You test on new groups, as in real use. Where rows share nothing, each row is its own group."
        )


def _patients() -> tuple[np.ndarray, np.ndarray]:
    """Return labels and patients of 240 images in random order: sixty patients with one to seven images each.

    Only seven patients have label 2, so a split by groups that ignores the classes often leaves it out.
    """
    random = np.random.default_rng(3)
    patients = np.repeat(np.arange(60), random.permutation(np.tile(np.arange(1, 8), 9))[:60])[:240]
    labels = (patients % 5 < 2).astype(int)  # two of five patients are ill, in all of their images
    labels[np.isin(patients, np.flatnonzero(np.bincount(patients) == 4)[:7])] = 2
    order = random.permutation(len(patients))
    return labels[order], np.array([f"patient {number:02}" for number in patients[order]])


@check(
    begin="scikit-learn's `StratifiedGroupKFold` makes five folds. Use one of them for testing.",
    expects="a function from labels, groups and a seed to two arrays of indices",
)
def split_by_group(answer):
    """Lesson 11: split images with no group on both sides and every class on both."""
    labels, groups = _patients()
    _, test = _check_groups(answer, labels, groups, 0)
    if not 0.1 < len(test) / len(labels) < 0.3:
        raise Wrong(f"Expected about a fifth of the images for testing, got {len(test)} of {len(labels)}.")
    ill = (labels[test] == 1).mean(), (labels == 1).mean()
    if not 0.7 < ill[0] / ill[1] < 1.4:
        raise Wrong(
            f"{ill[0]:.0%} of the test images have label 1, but {ill[1]:.0%} of all images do. Keep the "
            "classes in proportion as well."
        )
    splits = [_check_groups(answer, labels, groups, seed)[1] for seed in range(6)]
    if sorted(splits[0]) != sorted(test):
        raise Wrong(
            "The same seed gives a different split the second time. The seed must determine the split."
        )
    if all(sorted(other) == sorted(test) for other in splits):
        raise Wrong("Different seeds give the same split. Do you use `seed`, and do you shuffle the folds?")
    yield Right(f"{len(test)} of {len(labels)} images are for testing, and no patient is on both sides.")


def _check_groups(
    answer: Callable, labels: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of a split with no group on both sides and every class on both, or raise `Wrong`."""
    parts = list(ask_value(answer, labels.copy(), groups.copy(), seed))
    if len(parts) != 2:
        raise Wrong(f"Expected two arrays, the training and the test indices, got {len(parts)} values.")
    train, test = (np.asarray(part) for part in parts)
    for part in (train, test):
        if part.dtype == bool or part.dtype.kind not in "iu" or part.ndim != 1:
            raise Wrong(
                "These are not indices. Return whole numbers, the positions of images in the arrays, not "
                "labels, groups, or True and False."
            )
        if len(part) and (part.min() < 0 or part.max() >= len(labels)):
            raise Wrong(
                f"Expected indices from 0 to {len(labels) - 1}, because there are {len(labels)} images. "
                f"Yours go from {part.min()} to {part.max()}."
            )
    _check_division(labels, train, test)
    both = sorted(set(groups[train]) & set(groups[test]))
    if both:
        raise Wrong(
            f"{len(both)} of {len(set(groups))} patients are on both sides, for example {both[0]}. You split "
            "rows, so the network can recognise test patients from their training images. Split by groups."
        )
    for part, name in ((train, "training"), (test, "test")):
        missing = {0, 1, 2} - set(labels[part])
        if missing:
            raise Wrong(f"No {name} image has label {min(missing)}. Each side needs groups of every class.")
    return train, test


def _check_division(labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> None:
    if len(set(train)) < len(train) or len(set(test)) < len(test):
        raise Wrong("One part contains the same image twice.")
    if shared := set(train) & set(test):
        raise Wrong(f"Your two parts share {len(shared)} of the {len(labels)} images.")
    if (left := len(labels) - len(train) - len(test)) > 0:
        raise Wrong(
            f"Your split leaves out {left} of the {len(labels)} images. Each one belongs on one side."
        )


def _sure(table: torch.Tensor) -> torch.Tensor:
    return table.max(dim=1).values


def _is_right(table: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (table.argmax(dim=1) == labels).float()


def _overconfidence(table: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return _sure(table).mean() - _is_right(table, labels).mean()


OVERCONFIDENCE = Mistakes(
    right=_overconfidence,
    wrong={
        "The sign is reversed: above 0 should mean overconfident.": (
            lambda table, labels: -_overconfidence(table, labels)
        ),
        "You take the absolute value. The sign tells overconfident from underconfident.": (
            lambda table, labels: abs(_overconfidence(table, labels))
        ),
        "That is right in percentage points. Return a fraction, from -1 to 1.": (
            lambda table, labels: 100 * _overconfidence(table, labels)
        ),
        "You take the probability of the true class. Confidence is the probability of the predicted class.": (
            lambda table, labels: (
                table[torch.arange(len(labels)), labels].mean() - _is_right(table, labels).mean()
            )
        ),
        "You average the confidence of correct predictions only. Include the wrong ones.": (
            lambda table, labels: (
                _sure(table)[_is_right(table, labels) == 1].mean() - _is_right(table, labels).mean()
            )
        ),
        "That is the mean confidence. Subtract the accuracy.": lambda table, labels: _sure(table).mean(),
        "You average the absolute difference of each image, which is not 0 even with perfect calibration.": (
            lambda table, labels: (_sure(table) - _is_right(table, labels)).abs().mean()
        ),
    },
    agrees=partial(close, tolerance=1e-3),
    found="Expected {right:.3f} for {table.shape[0]} images, got {value:.3f}. ",
)


@check(
    begin="what is the mean confidence, and what is the accuracy?",
    expects="a function from probabilities and labels to a number",
)
def overconfidence(answer):
    """Lesson 11: compute mean confidence minus accuracy from probabilities and labels."""
    cases = []
    for images, sharpness in ((60, 4), (45, 0.7)):  # overconfident, then underconfident
        random = torch.Generator().manual_seed(1)
        logits = torch.randn(images, 4, generator=random)
        labels = torch.multinomial((1.5 * logits).softmax(dim=1), 1, generator=random).flatten()
        cases.append(((sharpness * logits).softmax(dim=1), labels))
    yield from OVERCONFIDENCE.compare(answer, cases)
    yield Right("Above 0 the network is overconfident, below 0 underconfident.")


def _scores() -> tuple[np.ndarray, np.ndarray]:
    """Return scores of known images, not normally distributed, and rounded scores of unknown images."""
    random = np.random.default_rng(8)
    return 4 - random.gamma(2, 1, 1000), random.normal(1.5, 1, 120).round(1)


def _kept(threshold: float) -> float:
    return float((_scores()[0] >= threshold).mean())


THRESHOLD = Mistakes(
    right=lambda scores, share: np.quantile(scores, 1 - share),
    wrong={
        "You keep the share that you should refuse. From which end of the sorted scores do you count?": (
            lambda scores, share: np.quantile(scores, share)
        ),
        "You go two standard deviations below the mean, whatever the share. That works only for some "
        "distributions.": lambda scores, share: scores.mean() - 2 * scores.std(),
        "That works for a normal distribution, but these scores don't follow one. Sort them instead.": (
            lambda scores, share: scores.mean() - NormalDist().inv_cdf(share) * scores.std()
        ),
        "That keeps all of them. How many may you refuse?": lambda scores, share: scores.min(),
        "You return the share itself. A threshold is a score.": lambda scores, share: share,
        "You treat the share as a percentage, but it is a number from 0 to 1.": (
            lambda scores, share: np.quantile(scores, 1 - share / 100)
        ),
    },
    agrees=lambda one, other: abs(_kept(one) - _kept(other)) < 0.0051,
    found=lambda value, right, scores, share: (
        f"For a share of {share:g}, your threshold of {value:.3f} keeps {_kept(value):.1%} of the scores. "
    ),
)
LET_THROUGH = Mistakes(
    right=lambda threshold, scores: (scores >= threshold).mean(),
    wrong={
        "A score equal to the threshold is not below it, so it gets through.": (
            lambda threshold, scores: (scores > threshold).mean()
        ),
        "That is the share that you refuse.": lambda threshold, scores: (scores < threshold).mean(),
        "You return a count. Return a share, from 0 to 1.": (
            lambda threshold, scores: (scores >= threshold).sum()
        ),
        "That is right as a percentage. Return it as a share, from 0 to 1.": (
            lambda threshold, scores: 100 * (scores >= threshold).mean()
        ),
    },
    agrees=partial(close, tolerance=1e-3),
    found="At a threshold of {threshold:g}, you return {value:.3g}. ",
    otherwise="Which of the scores are not below the threshold?",
)


@check(
    begin="sort the scores of the validation images. Which of them should be the lowest that you keep?",
    expects="two functions, from scores and a share to a threshold, from a threshold and scores to a share",
    answers=2,
)
def threshold_for_share(choose, let_through):
    """Lesson 11: choose a threshold that keeps a share of the validation images, and test it."""
    known, unknown = _scores()
    yield from THRESHOLD.compare(choose, [(known, 0.95), (known, 0.8)])
    yield from LET_THROUGH.compare(let_through, [(2.0, unknown), (1.2, unknown[:70])])  # some scores equal it
    yield Right("You choose the threshold on known images and test it on unknown ones.")
