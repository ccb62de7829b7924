"""Splits: one seeded, stratified division of a dataset into training, validation and test images.

The datasets are torchvision's own. Lesson 01 shows them; `folders` reads pictures of your own.
"""

import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Subset
from torchvision import datasets

from course_utils.data.archives import fetch_dataset
from course_utils.data.folders import FolderOfClasses, folder_sources
from course_utils.data.groups import check_groups_apart, grouped_split, image_groups
from course_utils.data.loaders import classes_of, labels_of, source_and_indices
from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import DataError
from course_utils.models.weights import backbone_weights
from course_utils.settings import (
    Settings,
    downloads_folder,
    how_to_restore,
    image_folder,
    shipped_data_folder,
)

DOWNLOADED = {
    "fashion_mnist": datasets.FashionMNIST,
    "cifar10": datasets.CIFAR10,
}


class Splits(NamedTuple):
    """Three datasets that share no image, and the names of the classes.

    Each dataset gives pairs of an image (float32, [3, height, width], normalised as the pretrained
    network expects) and a label (int, an index into `classes`).
    """

    train: Dataset
    val: Dataset
    test: Dataset
    classes: list[str]


def load_splits(
    settings: Settings,
    transform: Callable | None = None,
    train_transform: Callable | None = None,
) -> Splits:
    """Load a dataset and split it into training, validation and test images.

    Validation images are drawn from the training images, unless a folder has its own: seeded, stratified
    (every class in the same proportion, and at least once), never from the test set. The three datasets are
    separate objects, each with a transform of its own, so that augmenting the training images cannot change
    the others. No group of `groups` is in two of them; the drawings that ship are grouped by author.

    Args:
        settings: `dataset`, `groups`, `images_per_class`, `val_fraction`, `test_fraction`, `skip_bad_images`
            and `seed` are used here; `backbone`, `weights` and `image_size` choose the transform.
        transform: From a picture to a tensor. None: the preprocessing of the pretrained weights.
        train_transform: The same for training images only, for augmentation. None: `transform`.

    Raises:
        DataError: If the dataset cannot be found, downloaded or read, has fewer than two classes, a class
            with too few images to be in each part, or groups that are unknown or cannot be kept apart.
    """
    if transform is None:
        weights = backbone_weights(settings)
        transform = Preprocessing.from_weights(weights, settings.image_size).transform()
    sources = _open_sources(settings)
    train = sources["train"](train_transform or transform)
    if len(train.classes) < 2:
        raise DataError(
            "A classifier needs at least two classes.",
            where=image_folder(settings.dataset),
            expected="at least two classes, each in a folder of its own",
            found=f"{len(train.classes)}: {', '.join(train.classes)}",
            do="Sort the pictures into one folder for each class.",
        )
    groups = groups_of(train, settings)

    def divide(split: str, indices: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the `indices` for training and those held out, which are none if the split has a folder."""
        if split in sources:
            if groups is not None:
                check_groups_apart(groups[indices], groups_of(sources[split](transform), settings), split)
            return indices, indices[:0]
        if groups is None:
            return stratified_split(train, indices, fraction, settings.seed)
        return grouped_split(labels_of(train), groups, indices, fraction, settings.seed)

    def held_out(split: str, indices: np.ndarray) -> Dataset:
        is_own = split in sources
        return sources[split](transform) if is_own else Subset(sources["train"](transform), indices.tolist())

    left, test = divide("test", np.arange(len(train)), settings.test_fraction)
    count, seed = settings.images_per_class, settings.seed
    if groups is None:
        left, val = divide("val", limit_per_class(train, left, count, seed), settings.val_fraction)
    else:  # divide before limiting: with a few images of each class there are too few groups to choose from
        left, val = divide("val", left, settings.val_fraction)
        if count is not None:
            of_val = max(1, _share(count, settings.val_fraction)) if len(val) else 0
            left = limit_per_class(train, left, count - of_val, seed)
            val = limit_per_class(train, val, of_val, seed)
    return Splits(
        Subset(train, left.tolist()), held_out("val", val), held_out("test", test), list(train.classes)
    )


def groups_of(dataset: Dataset, settings: Settings) -> np.ndarray | None:
    """Return the group of every image of a split (str, [images]); None if each image is its own group.

    Args:
        dataset: One that `load_splits` returned for these settings, or the whole dataset behind it.
        settings: `dataset` and `groups` are used.

    Raises:
        DataError: If the groups cannot be found.
    """
    source, indices = source_and_indices(dataset)
    groups, is_own = settings.groups, settings.dataset.startswith("folder:")
    root = image_folder(settings.dataset) if is_own else shipped_data_folder() / settings.dataset
    if settings.dataset == "clipart" and groups is None:
        groups = f"{root / 'drawings.csv'}:group"
    return None if groups is None else image_groups(source, root, groups)[indices]


def _open_sources(settings: Settings) -> dict[str, Callable[[Callable], Dataset]]:
    """Return, for each split that the dataset has, a function from a transform to torchvision's dataset."""
    if settings.dataset.startswith("folder:"):
        return folder_sources(image_folder(settings.dataset), settings.skip_bad_images)
    if settings.dataset in DOWNLOADED:
        root, kind = downloads_folder(), DOWNLOADED[settings.dataset]
        fetch_dataset(kind, root)
    else:
        root, kind = shipped_data_folder() / settings.dataset, datasets.FashionMNIST
        check_sums(root)
        if settings.dataset == "clipart":  # the checksums spare decoding, as in `folder_sources`
            return {split: partial(FolderOfClasses, root / split) for split in ("train", "test")}
    return {
        "train": lambda transform: kind(root, train=True, transform=transform),
        "test": lambda transform: kind(root, train=False, transform=transform),
    }


def check_sums(root: Path) -> None:
    """Compare the files that ship in a folder with their SHA-256 sums.

    Raises:
        DataError: If a file is missing or not the one that was shipped.
    """
    sums = root / "SHA256SUMS"
    lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    for expected, _, name in [line.partition("  ") for line in lines] or [("a list of sums", "", sums.name)]:
        path = root / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        if found != expected:
            raise DataError(
                "Data of the course are missing or damaged.",
                where=path,
                expected=f"SHA-256 {expected}",
                found=found,
                do=how_to_restore(f"data/{root.name}"),
            )


def stratified_split(
    dataset: Dataset, indices: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split `indices` in two, every class in the same proportion and at least once; return both sorted.

    Raises:
        DataError: If a class has a single image, or there are too few images for the classes.
    """
    # Imported here: scikit-learn takes most of a second, and not every split is made by it.
    from sklearn.model_selection import train_test_split

    labels = labels_of(dataset)[indices]
    size = max(_share(len(labels), fraction), len(set(labels)))
    try:
        _, held_out = train_test_split(indices, test_size=size, stratify=labels, random_state=seed)
    except ValueError as error:
        names, counts = classes_of(dataset), np.bincount(labels)
        single = ", ".join(names[label] for label in np.flatnonzero(counts == 1))
        raise DataError(
            f"{len(labels)} images cannot be split with a fraction of {fraction}.",
            where=getattr(dataset, "root", type(dataset).__name__),
            expected="one image of every class for each part",
            found=f"classes with a single image left: {single or 'none'} ({error})",
            do="Raise images_per_class if it is set, choose another fraction, or add pictures.",
        ) from error
    drawn, random = np.isin(indices, held_out), np.random.default_rng(seed)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        if drawn[of_class].all() or not drawn[of_class].any():  # so few images that one part has none
            one = random.choice(of_class)
            drawn[one] = not drawn[one]
    return np.sort(indices[~drawn]), np.sort(indices[drawn])


def _share(count: int, fraction: float) -> int:
    """Return `fraction` of a number of images, rounded up: 7 for 0.14 of 50, which is 7.000000000000001."""
    return math.ceil(round(count * fraction, 6))


def limit_per_class(dataset: Dataset, indices: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """Keep at most `count` of the `indices` of every class, drawn with the seed; None keeps all."""
    if count is None:
        return indices
    labels = labels_of(dataset)
    shuffled = np.random.default_rng(seed).permutation(indices)
    kept = [shuffled[labels[shuffled] == label][:count] for label in set(labels)]
    return np.sort(np.concatenate(kept))
