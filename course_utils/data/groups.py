"""Groups: images that belong together, such as all of one author, patient or camera (lesson 11).

Images of one group resemble each other in more than their class. If a group lies on both sides of a split, a
network that recognises the group looks better than it is.
"""

import os
import re
import warnings
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from torch.utils.data import Dataset

from course_utils.errors import DataError

MAX_JOINED = 10
"""With up to this many folds, all unions of folds are compared (about a thousand); with more, only single
folds."""

NEAR = 0.05
"""By how much the held-out share may differ from the requested one before a message says so."""


def image_groups(dataset: Dataset, root: Path, groups: str) -> np.ndarray:
    """Return the name of the group of every image of a folder (str, [images]).

    Args:
        dataset: Has `samples`, pairs of a path and a label, as torchvision's `ImageFolder` has.
        root: The folder that paths are relative to.
        groups: `FILE.csv:COLUMN`, a table with a row for each image: its path below `root` in the column
            `file`, its group in COLUMN. Or a regular expression that is searched for in the path of each
            image below `root`: the part in parentheses names the group. `([^/]+)_` puts `birds/anna_01.png`
            and `bugs/anna_07.png` into one group.

    Raises:
        DataError: If the table cannot be read, the expression is not valid, or an image has no group.
    """
    try:
        if not hasattr(dataset, "samples"):
            raise ValueError(f"the images of {type(dataset).__name__} have no file names")
        files = [Path(path).relative_to(root).as_posix() for path, _ in dataset.samples]
        table = re.fullmatch(r"(.+\.csv):(.+)", groups)
        found = _from_table(files, *table.groups()) if table else _from_names(files, re.compile(groups))
        missing = [file for file, group in zip(files, found, strict=True) if not group]
        if missing:
            raise ValueError(f"{len(missing)} of {len(files)} images have no group, such as {missing[0]}")
    except (OSError, ValueError, KeyError, re.error) as error:
        raise DataError(
            "These images cannot be grouped.",
            where=f"groups = {groups!r}",
            expected="FILE.csv:COLUMN, a table with the columns file and COLUMN; or a regular expression for "
            "the path of each image, such as ([^/]+)_",
            found=f"{type(error).__name__}: {error}",
            do="Complete the table, or correct the expression. A FILE that does not begin with / starts from "
            f"the folder {Path.cwd()}.",
        ) from error
    return np.array(found)


def _from_table(files: list[str], path: str, column: str) -> list[str]:
    # As text: pandas would make one group of "01" and "1", and none of "NA".
    table = pd.read_csv(Path(path).expanduser(), dtype=str, keep_default_na=False)
    by_file = dict(zip(table["file"], table[column], strict=True))
    return [by_file.get(file, "") for file in files]


def _from_names(files: list[str], pattern: re.Pattern) -> list[str]:
    matches = [pattern.search(file) for file in files]
    return [match.group(min(1, pattern.groups)) or "" if match else "" for match in matches]


def grouped_split(
    labels: np.ndarray, groups: np.ndarray, indices: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split `indices` in two so that no group is in both; return both sorted.

    scikit-learn's `StratifiedGroupKFold` makes folds, but no more than there are groups. Of all ways to hold
    out some folds, this takes the one whose class shares are nearest to `fraction` on average. Groups stay
    whole, so the fraction is only approximate. If it is missed by more than `NEAR`, a message says so.

    Args:
        labels, groups: Of all images, [images].
        indices: The images to split, as indices into both.
        fraction: The share to hold out.
        seed: Decides between folds that are equally good.

    Raises:
        DataError: If no choice of folds leaves every class on both sides.
    """
    own, own_groups = np.unique(labels[indices], return_inverse=True)[1], groups[indices]
    folds = _folds(own, own_groups, fraction, seed)
    counts = np.array([np.bincount(own[fold], minlength=own.max() + 1) for fold in folds])
    number, fitting = len(folds), []
    for size in range(1, number) if number <= MAX_JOINED else (1, number - 1):
        for chosen in map(list, combinations(range(number), size)):
            shares = counts[chosen].sum(axis=0) / counts.sum(axis=0)
            if (shares > 0).all() and (shares < 1).all():
                fitting.append((np.abs(shares - fraction).mean(), chosen))
    if not fitting:
        in_class = [len(set(own_groups[own == label])) for label in np.unique(own)]
        raise DataError(
            f"These groups cannot be split with a fraction of {fraction}.",
            where="groups",
            expected="groups that leave images of every class on both sides",
            found=f"groups of each class: {in_class}",
            do="Use smaller groups, or another fraction.",
        )
    held_out = np.concatenate([folds[fold] for fold in min(fitting, key=lambda one: one[0])[1]])
    share = len(held_out) / len(indices)
    if round(abs(share - fraction), 6) > NEAR and os.environ.get("RANK", "0") == "0":
        print(
            f"The groups are too few or too large to hold out {fraction:.0%}: {share:.0%} "
            f"({len(held_out)} of {len(indices)} images) are held out."
        )
    return np.sort(np.delete(indices, held_out)), np.sort(indices[held_out])


def _folds(labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> list[np.ndarray]:
    """Return the images of as many folds as the fraction needs, or of fewer if there are too few groups."""
    from sklearn.model_selection import StratifiedGroupKFold  # slow to import: only where it is needed

    smaller = min(fraction, 1 - fraction)
    number = round(1 / smaller)  # one fold is held out, or all but one
    if number <= MAX_JOINED:
        number = Fraction(smaller).limit_denominator(MAX_JOINED).denominator
    number = min(number, len(set(groups)), np.bincount(labels).max())
    if number < 2:
        return []
    folds = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about a class smaller than the number of folds
        return [fold for _, fold in folds.split(labels, labels, groups)]


def check_groups_apart(train: np.ndarray, other: np.ndarray, split: str) -> None:
    """Refuse a dataset's own split if it shares a group with the training images.

    Raises:
        DataError: If groups are on both sides. It names them.
    """
    both = sorted(set(train) & set(other))
    if both:
        raise DataError(
            f"{len(both)} groups have images in train and in {split}.",
            where=split,
            expected="each group on one side only",
            found=", ".join(both[:5]) + (" and others" if both[5:] else ""),
            do="Move all images of a group to one folder, or put all images into one folder for each class, "
            "without train and test: load_splits divides them by group.",
        )
