"""Loaders: batches of samples in an order that follows from a seed, and clear errors where there can be none.

Plain PyTorch says "stack expects each tensor to be equal size", names no image, and says it in the middle of
an epoch.
"""

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    default_collate,
)
from torchvision.datasets import DatasetFolder
from tqdm.auto import tqdm

from course_utils.errors import DataError

PROBED = 16  # images


def progress_bar(iterable: Iterable | None = None, *, desc: str, **options: object) -> tqdm:
    """Return tqdm's progress bar, with tqdm's options; of several processes only the first shows one.

    `desc` says what is being done. Without an `iterable` to go through, the caller updates the bar.
    """
    # `disable=False` would overrule TQDM_DISABLE, which tqdm itself reads only once, on import.
    if os.environ.get("RANK", "0") != "0" or os.environ.get("TQDM_DISABLE"):
        options["disable"] = True
    bar = tqdm(iterable, desc=desc, **options)
    if bar.leave is None:  # only a terminal's bar knows what this means
        bar.leave = bar.pos == 0
    return bar


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore the random numbers of Python, numpy and torch (on the CPU) at the end, whatever happens."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def collate(samples: Sequence[tuple]) -> list[torch.Tensor]:
    """Make one batch of samples, as PyTorch does by itself.

    Raises:
        DataError: If the images have different sizes, or are no tensors.
    """
    try:
        return default_collate(samples)
    except (RuntimeError, TypeError) as error:
        if "shared memory" in str(error):  # of extra processes: no fault of the images
            raise
        kinds = sorted({_describe(image) for image, *_ in samples})
        raise DataError(
            "These images cannot become one batch.",
            where=f"a batch of {len(samples)} images",
            expected="tensors of one size, [channels, height, width]",
            found=", ".join(kinds[:5]) + (f" and {len(kinds) - 5} other sizes" if kinds[5:] else ""),
            do="Give load_splits a transform that ends in a tensor of one size, with v2.Resize((64, 64)) for "
            "example, or none: then that of the weights is used.",
        ) from error


def _describe(image: object) -> str:
    return str(list(image.shape)) if isinstance(image, torch.Tensor) else type(image).__name__


class OneSize(Subset):
    """A `Subset` whose images are known to have one size, so that no batch need be tried."""


def check_batchable(dataset: Dataset, batch_size: int) -> None:
    """Make a batch of pictures from all over a dataset of folders, where pictures have all sizes.

    So an error comes before anything is learned. The random numbers are left as they were.
    """
    source, _ = source_and_indices(dataset)
    if isinstance(source, DatasetFolder) and not isinstance(dataset, OneSize):
        count = min(batch_size, PROBED, len(dataset))
        with preserve_rng_state():
            indices = torch.linspace(0, len(dataset) - 1, count).round().long().tolist()
            collate([dataset[index] for index in indices])


class BatchedTensors(Dataset):
    """Tensors that are read a batch at a time, which is ten times as fast as sample by sample."""

    def __init__(self, dataset: TensorDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return a batch: where a dataset has this method, PyTorch asks for no single samples."""
        return self.dataset[torch.tensor(indices)]


def source_and_indices(dataset: Dataset) -> tuple[Dataset, np.ndarray]:
    """Return the dataset that a `Subset` (of a Subset, ...) draws from, and which of its images it has."""
    if not isinstance(dataset, Subset):
        return dataset, np.arange(len(dataset))
    source, indices = source_and_indices(dataset.dataset)
    return source, indices[np.asarray(dataset.indices, dtype=np.int64)]


def labels_of(dataset: Dataset) -> np.ndarray:
    """Return every label of a dataset (int64, [images]) without reading the images.

    Works for torchvision's datasets, for a `Subset` of one and for a `TensorDataset`.

    Raises:
        DataError: If the dataset has no list of whole numbers as its labels.
    """
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset)[np.asarray(dataset.indices, dtype=np.int64)]
    given = dataset.tensors[1] if isinstance(dataset, TensorDataset) else getattr(dataset, "targets", None)
    try:
        labels = np.asarray(given)
    except ValueError:  # lists of different lengths
        labels = np.full(len(given), None)
    if labels.ndim == 1 and (labels.dtype.kind in "iu" or not len(labels)):
        return labels.astype(np.int64)
    raise DataError(
        "The labels of this dataset are not known, or are not whole numbers.",
        where=f"{type(dataset).__name__}.targets",
        expected="one list with a whole number for every image, as torchvision's datasets have",
        found="none" if given is None else f"an array of type {labels.dtype} and shape {list(labels.shape)}",
        do="Number the classes from 0, and give your dataset an attribute `targets` with those numbers.",
    )


def check_labels(dataset: Dataset, classes: list[str]) -> None:
    """Look at every label on the CPU, before the first step.

    Raises:
        DataError: If one is not the number of a class, or there are more or fewer labels than images.
    """
    labels = labels_of(dataset)
    wrong = ((labels < 0) | (labels >= len(classes))).nonzero()[0]
    if len(wrong):
        where = f"sample {wrong[0]} ({len(wrong)} of {len(labels)} samples are wrong)"
        raise _wrong_label(where, len(classes), f"label {labels[wrong[0]]}")
    if len(labels) != len(dataset):
        raise _wrong_label(type(dataset).__name__, len(classes), f"{len(labels)} for {len(dataset)} images")


def check_batch_labels(labels: object, num_classes: int | None, where: str) -> None:
    """Look at the labels that a loader really gives: a `target_transform` may have changed them.

    Raises:
        DataError: If they are not int64, [images], or one is not the number of a class. (`num_classes`
            None: how many there are is not known.)
    """
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
        kind = f"{labels.dtype}, {list(labels.shape)}" if isinstance(labels, torch.Tensor) else type(labels)
        raise _wrong_label(where, num_classes, f"labels of the type {kind}")
    if num_classes is None:
        return
    if labels.min() < 0 or labels.max() >= num_classes:
        wrong = next(label for label in labels.tolist() if not 0 <= label < num_classes)
        raise _wrong_label(where, num_classes, f"label {wrong}")


def _wrong_label(where: str, num_classes: int | None, found: str) -> DataError:
    known = f" from 0 to {num_classes - 1} ({num_classes} classes)" if num_classes else ""
    return DataError(
        "A label is not the number of a class.",
        where=where,
        expected=f"a whole number{known} for every image",
        found=found,
        do="Labels count from 0: check how they were made.",
    )


def classes_of(dataset: Dataset) -> list[str]:
    """Return the names of the classes of torchvision's dataset or of a `Subset` of one."""
    if isinstance(dataset, Subset):
        return classes_of(dataset.dataset)
    if hasattr(dataset, "classes"):
        return list(dataset.classes)
    raise DataError(
        "The classes of this dataset have no names.",
        where=type(dataset).__name__,
        expected="a dataset with an attribute `classes`, as torchvision's have, or a Subset of one",
        found="no attribute `classes`",
        do='Give your dataset one, for example dataset.classes = ["cat", "dog"].',
    )


def make_loader(
    dataset: Dataset,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    drop_single: bool = False,
) -> DataLoader:
    """Return a `DataLoader` of batches of `batch_size` samples, whose order follows from `seed` alone.

    Args:
        shuffle: Whether each epoch has a new order.
        num_workers: Extra processes that read samples.
        drop_single: Whether a last batch of a single sample, which has no variance, is left out.

    Raises:
        DataError: If the dataset is empty, or its pictures have different sizes.
    """
    if len(dataset) == 0:
        raise DataError(
            "The dataset has no images.",
            where=type(dataset).__name__,
            expected="at least one image",
            found="an empty dataset",
            do="Look at how this dataset was made: a Subset of no indices is empty, for example.",
        )
    check_batchable(dataset, batch_size)
    drop_last = drop_single and len(dataset) > batch_size and len(dataset) % batch_size == 1
    if isinstance(dataset, TensorDataset):
        # What lies in memory needs no extra process to read it.
        dataset, collate_fn, num_workers = BatchedTensors(dataset), tuple, 0
    else:
        collate_fn = collate
    return DataLoader(
        dataset,
        batch_size,
        shuffle=shuffle,
        num_workers=num_workers,
        collate_fn=collate_fn,
        drop_last=drop_last,
        generator=torch.Generator().manual_seed(seed),
    )
