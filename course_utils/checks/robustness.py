"""Checks of lesson 11: which column to split by, overconfidence, and what a threshold lets through."""

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
            "file": "Every row has a file of its own, so this is a split by rows: a patient with two X-rays "
            "is on both sides.",
            "view": "New patients are X-rayed in the same views. What is new about them?",
            "hospital": "That tests it on a new hospital, which is harder than the exercise asks.",
        },
    ),
    "wildlife": (
        "camera",
        {
            "file": "Every row has a file of its own, so this is a split by rows: the bush before a camera "
            "is on both sides.",
            "hour": "A new camera sees the same hours. What does it have of its own?",
        },
    ),
    "reviews": (
        "product",
        {
            "writer": "A known writer may well review the new product: it is the product that is new.",
            "file": "Every row has a file of its own, so this is a split by rows.",
        },
    ),
    "stamps": ("file", {"year": "Each picture is of another stamp, and new ones are from the same years."}),
}


@check(
    begin="what will be new when the network is used? That must not be on both sides.",
    expects="a dictionary with the name of a column for each project",
)
def split_columns(answer):
    """Lesson 11: by which column each of four collections must be split, as a dictionary."""
    if missing := [project for project in _PROJECTS if project not in answer]:
        raise Wrong(f"{missing[0]} is missing from your dictionary.")
    if extra := [name for name in answer if name not in _PROJECTS]:
        raise Wrong(f"There is no collection {extra[0]!r:.40}: {listed(_PROJECTS)} are all.")
    right = True
    for project, (column, mistakes) in _PROJECTS.items():
        names = as_names(answer[project])
        given = str(next(iter(names), "")).strip().lower()
        if len(names) != 1:
            raise Wrong(f"{project}: name one column, and not {describe(answer[project])}.")
        if given == column:
            continue
        right = False
        if given in ("diagnosis", "animal", "stars", "country"):
            raise Wrong(
                f"{project}: {given} is the label. A class that is on one side only cannot be learned, or is "
                "never tested."
            )
        yield f"{project}: {mistakes.get(given, f'there is no column {given!r:.40} in its table.')}"
    if right:
        yield Right("Each is split by what will be new; where nothing is shared, rows are groups.")


def _patients() -> tuple[np.ndarray, np.ndarray]:
    """Return labels and patients of 240 images in random order: sixty patients with one to seven images.

    Only seven patients have label 2: groups that are drawn whatever their class often leave it out.
    """
    random = np.random.default_rng(3)
    patients = np.repeat(np.arange(60), random.permutation(np.tile(np.arange(1, 8), 9))[:60])[:240]
    labels = (patients % 5 < 2).astype(int)  # two of five patients are ill, in all of their images
    labels[np.isin(patients, np.flatnonzero(np.bincount(patients) == 4)[:7])] = 2
    order = random.permutation(len(patients))
    return labels[order], np.array([f"patient {number:02}" for number in patients[order]])


@check(
    begin="scikit-learn's StratifiedGroupKFold gives five folds; take one for testing.",
    expects="a function from labels, groups and a seed to two arrays of indices",
)
def split_by_group(answer):
    """Lesson 11: training and test images, without a group on both sides and with every class on both."""
    labels, groups = _patients()
    _, test = _check_groups(answer, labels, groups, 0)
    if not 0.1 < len(test) / len(labels) < 0.3:
        raise Wrong(
            f"{len(test)} of {len(labels)} images are for testing. It should be a fifth, or nearly so."
        )
    ill = (labels[test] == 1).mean(), (labels == 1).mean()
    if not 0.7 < ill[0] / ill[1] < 1.4:
        raise Wrong(
            f"{ill[0]:.0%} of the test images have label 1, and {ill[1]:.0%} of all: keep the classes in "
            "proportion, too."
        )
    splits = [_check_groups(answer, labels, groups, seed)[1] for seed in range(6)]
    if sorted(splits[0]) != sorted(test):
        raise Wrong("The same seed gives another split the second time. The draw must follow from the seed.")
    if all(sorted(other) == sorted(test) for other in splits):
        raise Wrong("Another seed gives the same split. Is `seed` used, and are the folds shuffled?")
    yield Right(f"{len(test)} of {len(labels)} images are for testing, and no patient is on both sides.")


def _check_groups(
    answer: Callable, labels: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of a split in which no group is on both sides, and every class is."""
    parts = list(ask_value(answer, labels.copy(), groups.copy(), seed))
    if len(parts) != 2:
        raise Wrong(f"You give {len(parts)} things, not the indices of training and those of test images.")
    train, test = (np.asarray(part) for part in parts)
    for part in (train, test):
        if part.dtype == bool or part.dtype.kind not in "iu" or part.ndim != 1:
            raise Wrong(
                "Those are not indices. Give whole numbers, the places of images in the arrays: not labels, "
                "groups, or True and False."
            )
        if len(part) and (part.min() < 0 or part.max() >= len(labels)):
            raise Wrong(f"There are {len(labels)} images, counted from 0; you give an index of {part.max()}.")
    _check_division(labels, train, test)
    both = sorted(set(groups[train]) & set(groups[test]))
    if both:
        raise Wrong(
            f"{len(both)} of {len(set(groups))} patients are on both sides, {both[0]} for example. You split "
            "rows. Their other images help to recognise them: split by groups."
        )
    for part, name in ((train, "training"), (test, "test")):
        missing = {0, 1, 2} - set(labels[part])
        if missing:
            raise Wrong(f"No {name} image has label {min(missing)}. Groups have to be drawn for each class.")
    return train, test


def _check_division(labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> None:
    if len(set(train)) < len(train) or len(set(test)) < len(test):
        raise Wrong("One image is in the same part twice.")
    if shared := set(train) & set(test):
        raise Wrong(f"{len(shared)} images are in both parts.")
    if (left := len(labels) - len(train) - len(test)) > 0:
        raise Wrong(f"{left} of {len(labels)} images are in neither part. A split leaves no image out.")


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
        "That is correct in points. Give it as a share, from -1 to 1.": (
            lambda table, labels: 100 * _overconfidence(table, labels)
        ),
        "You take the probability of the true class. Confidence is that of the predicted class.": (
            lambda table, labels: (
                table[torch.arange(len(labels)), labels].mean() - _is_right(table, labels).mean()
            )
        ),
        "You take the confidence of correct predictions only. The wrong ones count as well.": (
            lambda table, labels: (
                _sure(table)[_is_right(table, labels) == 1].mean() - _is_right(table, labels).mean()
            )
        ),
        "That is the mean confidence. Subtract the accuracy.": lambda table, labels: _sure(table).mean(),
        "That is the distance image by image, which is never 0, however well calibrated it is.": (
            lambda table, labels: (_sure(table) - _is_right(table, labels)).abs().mean()
        ),
    },
    agrees=partial(close, tolerance=1e-3),
    found="For {table.shape[0]} images: expected {right:.3f}, got {value:.3f}. ",
)


@check(
    begin="what is the mean confidence, and what is the accuracy?",
    expects="a function from probabilities and labels to one number",
)
def overconfidence(answer):
    """Lesson 11: mean confidence minus accuracy, from probabilities and labels."""
    cases = []
    for images, sharpness in ((60, 4), (45, 0.7)):  # overconfident, then underconfident
        random = torch.Generator().manual_seed(1)
        logits = torch.randn(images, 4, generator=random)
        labels = torch.multinomial((1.5 * logits).softmax(dim=1), 1, generator=random).flatten()
        cases.append(((sharpness * logits).softmax(dim=1), labels))
    yield from OVERCONFIDENCE.compare(answer, cases)
    yield Right("Above 0 is overconfident, below 0 underconfident.")


def _scores() -> tuple[np.ndarray, np.ndarray]:
    """Return scores of known images, which are not normally distributed, and rounded ones of unknown."""
    random = np.random.default_rng(8)
    return 4 - random.gamma(2, 1, 1000), random.normal(1.5, 1, 120).round(1)


def _kept(threshold: float) -> float:
    return float((_scores()[0] >= threshold).mean())


THRESHOLD = Mistakes(
    right=lambda scores, share: np.quantile(scores, 1 - share),
    wrong={
        "You keep what should be refused. Which end of the order do you cut off?": (
            lambda scores, share: np.quantile(scores, share)
        ),
        "That is two standard deviations below the mean, whatever the share, and it fits only some "
        "distributions.": lambda scores, share: scores.mean() - 2 * scores.std(),
        "That fits scores with a normal distribution, and these have none. Sort them instead.": (
            lambda scores, share: scores.mean() - NormalDist().inv_cdf(share) * scores.std()
        ),
        "That keeps them all. How many may be refused?": lambda scores, share: scores.min(),
        "That is a share, not a score.": lambda scores, share: share,
        "You treat the share as per cent. It is a number from 0 to 1.": (
            lambda scores, share: np.quantile(scores, 1 - share / 100)
        ),
    },
    agrees=lambda one, other: abs(_kept(one) - _kept(other)) < 0.0051,
    found=lambda value, right, scores, share: (
        f"For a share of {share:g} your threshold {value:.3f} keeps {_kept(value):.1%}. "
    ),
)
LET_THROUGH = Mistakes(
    right=lambda threshold, scores: (scores >= threshold).mean(),
    wrong={
        "A score that equals the threshold is not below it: it gets through.": (
            lambda threshold, scores: (scores > threshold).mean()
        ),
        "That is the share that is refused.": lambda threshold, scores: (scores < threshold).mean(),
        "That is how many. A share is from 0 to 1.": lambda threshold, scores: (scores >= threshold).sum(),
        "In per cent it is right; give it as a share, from 0 to 1.": (
            lambda threshold, scores: 100 * (scores >= threshold).mean()
        ),
    },
    agrees=partial(close, tolerance=1e-3),
    found="At a threshold of {threshold:g} you say that {value:.3g} gets through. ",
    otherwise="What is not below it?",
)


@check(
    begin="sort the scores of the validation images: which one may be the lowest that is kept?",
    expects="two functions: scores and a share to a threshold, a threshold and scores to a share",
    answers=2,
)
def threshold_for_share(choose, let_through):
    """Lesson 11: a threshold that keeps a share of the validation images, and what it lets through."""
    known, unknown = _scores()
    yield from THRESHOLD.compare(choose, [(known, 0.95), (known, 0.8)])
    yield from LET_THROUGH.compare(let_through, [(2.0, unknown), (1.2, unknown[:70])])  # some are equal to it
    yield Right("The known images decide on the threshold, and the unknown ones show what it is worth.")
