"""Groups: images that belong together, such as all by one author, patient or camera (lesson 12).

Images of one group resemble each other in more than their class. If a group lies on both sides of a split, a
network that recognises the group looks better than it is.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from torch.utils.data import Dataset

from course_utils.errors import ConfigError, DataError


def image_groups(dataset: Dataset, root: Path, groups: str) -> np.ndarray:
    """Return the name of the group of every image of a folder (str, [images]).

    Args:
        dataset: Has `samples`, as torchvision's `ImageFolder`: pairs of a path and a label.
        root: The folder from which paths are counted.
        groups: `FILE.csv:COLUMN`, a table with a row for each image: its path below `root` in the column
            `file`, its group in COLUMN. Or a regular expression that is searched in the path of each image
            below `root`: what its parentheses match names the group. `([^/]+)_` makes one group of
            `birds/anna_01.png` and `bugs/anna_07.png`.

    Raises:
        ConfigError: If the dataset does not come from files, or the expression is not valid.
        DataError: If the table cannot be read, or an image has no group.
    """
    if not hasattr(dataset, "samples"):
        raise ConfigError(
            "These images cannot be grouped.",
            where=f"groups = {groups!r}",
            expected="a dataset of image files: folder:PATH or clipart",
            found=f"{type(dataset).__name__}, which has no file names",
            do="Set groups to None.",
        )
    files = [Path(path).relative_to(root).as_posix() for path, _ in dataset.samples]
    table = re.fullmatch(r"(.+\.csv):(.+)", groups)
    found = _from_table(files, *table.groups()) if table else _from_names(files, groups)
    missing = [file for file, group in zip(files, found, strict=True) if not group]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(files)} images have no group.",
            where=root,
            expected=f"a group for each image, by groups = {groups!r}",
            found=f"none for {', '.join(missing[:3])}{' and others' if missing[3:] else ''}",
            do="Complete the table, or correct the expression.",
        )
    return np.array(found)


def _from_table(files: list[str], path: str, column: str) -> list[str]:
    try:
        # As text: pandas would make one group of "01" and "1", and none of "NA".
        table = pd.read_csv(Path(path).expanduser(), dtype=str, keep_default_na=False)
        by_file = dict(zip(table["file"], table[column], strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            "The table of groups cannot be read.",
            where=path,
            expected=f"a CSV file with the columns file and {column}",
            found=f"{type(error).__name__}: {error}",
            do="Write groups as FILE.csv:COLUMN; a FILE that does not begin with / starts from the folder "
            f"{Path.cwd()}.",
        ) from error
    return [by_file.get(file, "") for file in files]


def _from_names(files: list[str], expression: str) -> list[str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(
            "The expression that names the groups is not valid.",
            where=f"groups = {expression!r}",
            expected="a regular expression, or FILE.csv:COLUMN",
            found=str(error),
            do="See Python's module re. An example: ([^/]+)_",
        ) from error
    matches = [pattern.search(file) for file in files]
    return [match.group(min(1, pattern.groups)) or "" if match else "" for match in matches]


def grouped_split(
    labels: np.ndarray, groups: np.ndarray, indices: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split `indices` in two so that no group is in both; return both sorted.

    scikit-learn's `StratifiedGroupKFold` makes 1 / `fraction` folds, but no more than there are groups. The
    one in which the classes come nearest to `fraction`, on average, is held out. Groups are whole, so the
    fraction is only approximate.

    Args:
        labels, groups: Of all images, [images].
        indices: The images to split, as indices into both.
        fraction: The share to hold out.
        seed: Decides between folds that are equally good.

    Raises:
        DataError: If no fold leaves every class on both sides.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow to import: only where it is needed

    own, total = labels[indices], np.bincount(labels[indices])
    present, best, smallest = total > 0, None, np.inf
    distinct = len(set(groups[indices]))
    number = max(2, min(round(1 / fraction), distinct))
    if number <= min(distinct, total.max()):
        folds = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a class smaller than the number of folds
            for _, held_out in folds.split(indices, own, groups[indices]):
                counts = np.bincount(own[held_out], minlength=len(total))[present]
                distance = np.abs(counts / total[present] - fraction).mean()
                if (counts > 0).all() and (counts < total[present]).all() and distance < smallest:
                    best, smallest = held_out, distance
    if best is None:
        in_class = [len(set(groups[indices][own == label])) for label in np.unique(own)]
        raise DataError(
            f"These groups cannot be split with a fraction of {fraction}.",
            where="groups",
            expected="groups that leave images of every class on both sides",
            found=f"groups of each class: {in_class}",
            do="Use smaller groups, or another fraction.",
        )
    return np.sort(np.delete(indices, best)), np.sort(indices[best])


def check_groups_apart(train: np.ndarray, other: np.ndarray, split: str) -> None:
    """Refuse a split of the dataset's own that shares a group with the training images.

    Raises:
        DataError: It names the groups that are on both sides.
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
