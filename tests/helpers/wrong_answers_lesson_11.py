"""Right and wrong answers to the exercises of lesson 11, and words of the hint for each wrong one."""

import numpy as np
import torch
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split

COLUMNS = {"x-rays": "patient", "wildlife": "camera", "reviews": "product", "stamps": "file"}


def folds(labels, groups, seed, number=5, parts=lambda train, test: (train, test)):
    kind = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    return parts(*next(kind.split(labels, labels, groups)))


def by_rows(labels, groups, seed, stratify=True):
    indices = np.arange(len(labels))
    return train_test_split(indices, test_size=0.2, random_state=seed, stratify=labels if stratify else None)


def names_of_groups(labels, groups, seed):
    return train_test_split(sorted(set(groups)), test_size=0.2, random_state=seed)


def one_class(labels, groups, seed):
    """Hold out the patients of one class only."""
    ill = sorted(set(groups[labels == 1]))
    test = np.isin(groups, np.random.default_rng(seed).permutation(ill)[: len(ill) // 2])
    return np.flatnonzero(~test), np.flatnonzero(test)


def without_a_seed(labels, groups, seed):
    return folds(labels, groups, np.random.randint(1000))


def whatever_their_class(labels, groups, seed):
    return next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(labels, labels, groups))


def sorted_in_place(labels, groups, seed):
    labels.sort()
    return folds(labels, groups, seed)


def choose(scores, share):
    return np.quantile(scores, 1 - share)


def let_through(threshold, scores):
    return (scores >= threshold).mean()


RIGHT = {
    "split_columns": [
        {project: f" {column.title()} " for project, column in COLUMNS.items()},
        {project: (column.upper(),) for project, column in COLUMNS.items()},
    ],
    "split_by_group": [
        lambda labels, groups, seed: tuple(map(torch.tensor, folds(labels, groups, seed, number=6)))
    ],
    "threshold_for_share": [
        (
            lambda scores, share: torch.tensor(scores).quantile(1 - share),
            lambda threshold, scores: sum(score >= threshold for score in scores) / len(scores),
        )
    ],
}

WRONG = {
    "split_columns": [
        (dict.fromkeys(COLUMNS, "file"), "a patient with two X-rays"),
        (COLUMNS | {"x-rays": "hospital"}, "harder than the exercise asks"),
        (COLUMNS | {"wildlife": "animal"}, "is the label"),
        (COLUMNS | {"reviews": "writer"}, "The product is new, not the writer"),
        (COLUMNS | {"stamps": "year"}, "from the same years"),
        ({"x-rays": "patient"}, "missing from your dictionary"),
        (COLUMNS | {"x-rays": "person"}, "its table has no column 'person'"),
        (COLUMNS | {"x-rays": ["patient", "view"]}, "x-rays: expected the name of one column"),
        (COLUMNS | {"weather": "day"}, "There is no collection 'weather'"),
        (COLUMNS | {"x-rays": "view"}, "in the same views"),
        (COLUMNS | {"wildlife": "hour"}, "at the same hours"),
        (COLUMNS | {"reviews": "file"}, "so this splits by rows"),
    ],
    "split_by_group": [
        (by_rows, "You split rows"),
        (whatever_their_class, "No test image has label 2. Each side needs groups of every class"),
        (sorted_in_place, "Your function changes its input, array([1"),
        (names_of_groups, "not indices"),
        (lambda labels, groups, seed: folds(labels, groups, 0), "Different seeds give the same split"),
        (without_a_seed, "The seed must determine the split"),
        (one_class, "No test image has label 0"),
        (
            lambda labels, groups, seed: folds(labels, groups, seed, number=2),
            "Expected about a fifth of the images",
        ),
        (
            lambda labels, groups, seed: folds(labels, groups, seed, parts=lambda a, b: (a, b[1:])),
            "leaves out 1 of the 240 images",
        ),
        (
            lambda labels, groups, seed: (np.arange(len(labels)), folds(labels, groups, seed)[1]),
            "Your two parts share",
        ),
        (lambda labels, groups, seed: folds(labels, groups, seed)[1], "Expected two arrays"),
        (
            lambda labels, groups, seed: [part + 1 for part in folds(labels, groups, seed)],
            "Expected indices from 0 to 239",
        ),
        (
            lambda labels, groups, seed: folds(labels, groups, seed, parts=lambda a, b: (a, [*b, b[0]])),
            "contains the same image twice",
        ),
        (lambda labels, groups, seed: print(labels), "`return`"),
    ],
    "overconfidence": [
        (lambda table, labels: table.max(dim=1).values, "should return one number"),
    ],
    "threshold_for_share": [
        ((choose, lambda threshold, scores: (scores >= 2).mean()), "At a threshold of 1.2"),
        ((lambda scores, share: scores >= np.quantile(scores, 1 - share), let_through), "one number"),
        ((lambda scores, share: scores.mean(), let_through), "your threshold"),
    ],
}
