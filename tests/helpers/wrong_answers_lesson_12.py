"""Wrong answers to the exercises of lesson 12, and words of the hint that each must get."""

import numpy as np
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


WRONG = {
    "split_columns": [
        (dict.fromkeys(COLUMNS, "file"), "this is a split by rows"),
        (COLUMNS | {"x-rays": "hospital"}, "harder than what is asked"),
        (COLUMNS | {"wildlife": "animal"}, "is the label"),
        (COLUMNS | {"reviews": "writer"}, "the product that is new"),
        (COLUMNS | {"stamps": "year"}, "from the same years"),
        ({"x-rays": "patient"}, "missing from your dictionary"),
    ],
    "split_by_group": [
        (by_rows, "You split rows"),
        (whatever_their_class, "No test image has label 2. Groups have to be drawn for each class"),
        (sorted_in_place, "Your function changes its input, array([1"),
        (names_of_groups, "not indices"),
        (lambda labels, groups, seed: folds(labels, groups, 0), "Another seed gives the same split"),
        (without_a_seed, "must follow from the seed"),
    ],
    "threshold_for_share": [
        ((choose, lambda threshold, scores: (scores >= 2).mean()), "At a threshold of 1.2"),
        ((lambda scores, share: np.quantile(scores, 0.05), let_through), "For a share of 0.8"),
    ],
}
