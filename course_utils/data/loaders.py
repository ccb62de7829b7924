"""Loaders: batches of images in an order that depends only on a seed, and their labels.

torchvision prepares one picture at a time: resize, crop, scale, normalise. If a dataset does nothing else to
its pictures, whole batches of 8-bit pixels can be prepared at once, on the network's device. Pillow and
PyTorch round differently when they resize: up to one number in twenty is off by one of 256 levels, hardly any
by two, and none by more. Pictures in folders differ in size, so they are still resized one by one and do not
differ at all.
"""

import copy
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, default_collate
from torchvision import datasets
from tqdm.auto import tqdm

from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import DataError

MEMORY = 1_000_000_000
"""The most bytes of memory for the pictures of a folder. If they need more, they are read in every epoch."""

READ_BATCH = 64  # pictures
IN_ARRAYS = (datasets.MNIST.__getitem__, datasets.CIFAR10.__getitem__)
IN_FOLDERS = datasets.DatasetFolder.__getitem__


def progress_bar(iterable: Iterable | None = None, *, desc: str, **options: object) -> tqdm:
    """Return tqdm's progress bar, with tqdm's options; only the first of several processes shows one.

    `desc` says what is being done. Without an `iterable` to go through, the caller updates the bar.
    """
    if os.environ.get("RANK", "0") != "0":
        options["disable"] = True
    bar = tqdm(iterable, desc=desc, **options)
    if bar.leave is None:  # only a bar in a terminal understands None
        bar.leave = bar.pos == 0
    return bar


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore the random states of Python, numpy and torch (on the CPU) at the end, even after an error."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def source_and_indices(dataset: Dataset) -> tuple[Dataset, np.ndarray]:
    """Return the dataset behind a `Subset` (of a Subset, ...), and the indices of the Subset's images."""
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
    labels = np.asarray(given)
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
    """Check every label on the CPU, before the first step.

    Raises:
        DataError: If one is not the number of a class.
    """
    labels = labels_of(dataset)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise DataError(
            "A label is not the number of a class.",
            where=f"sample {wrong[0]} ({len(wrong)} of {len(labels)} samples are wrong)",
            expected=f"a whole number from 0 to {len(classes) - 1} ({len(classes)} classes)",
            found=f"label {labels[wrong[0]]}",
            do="Labels count from 0: check how they were made.",
        )


def classes_of(dataset: Dataset) -> list[str]:
    """Return the class names of a dataset of torchvision's or of a `Subset` of one.

    Raises:
        DataError: If the dataset has no attribute `classes`.
    """
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


def collate(samples: Sequence[tuple]) -> list[torch.Tensor]:
    """Make one batch of samples, as PyTorch does by default.

    Raises:
        DataError: If the images have different sizes, or are not tensors.
    """
    try:
        return default_collate(samples)
    except (RuntimeError, TypeError) as error:
        kinds = sorted({_describe(image) for image, *_ in samples})
        raise DataError(
            "These images cannot become one batch.",
            where=f"a batch of {len(samples)} images",
            expected="tensors of one size, [channels, height, width]",
            found=", ".join(kinds[:5]) + (f" and {len(kinds) - 5} other sizes" if kinds[5:] else ""),
            do="Give load_splits a transform that returns tensors of one size, for example with "
            "v2.Resize((64, 64)); or none, to use that of the weights.",
        ) from error


def _describe(image: object) -> str:
    return str(list(image.shape)) if isinstance(image, torch.Tensor) else type(image).__name__


class BatchedTensors(Dataset):
    """Tensors that are read a batch at a time, which is ten times as fast as sample by sample."""

    def __init__(self, dataset: TensorDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return a batch. If a dataset has this method, PyTorch calls it instead of reading single
        samples."""
        return self.dataset[torch.tensor(indices)]


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
        DataError: If the dataset is empty. While batches are read: if its pictures have different sizes.
    """
    if len(dataset) == 0:
        raise DataError(
            "The dataset has no images.",
            where=type(dataset).__name__,
            expected="at least one image",
            found="an empty dataset",
            do="Check how this dataset was made: a Subset without indices, for example, is empty.",
        )
    drop_last = drop_single and len(dataset) > batch_size and len(dataset) % batch_size == 1
    if isinstance(dataset, TensorDataset):
        # Tensors in memory need no extra processes to read them.
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


def preprocessing_of(dataset: Dataset) -> Preprocessing | None:
    """Return the preprocessing of a dataset, if its transform does nothing else.

    None for any other transform, and for a dataset that is not one of torchvision's own, because it may
    change pictures or labels in other ways.
    """
    source, _ = source_and_indices(dataset)
    known = type(source).__getitem__ in (*IN_ARRAYS, IN_FOLDERS) and source.target_transform is None
    return getattr(source.transform, "preprocessing", None) if known else None


def eight_bits(dataset: Dataset, preprocessing: Preprocessing) -> tuple[Dataset, Callable]:
    """Return a dataset with its pictures in 8 bits, and the function that finishes a batch of them.

    Pictures in arrays become tensors as they are; those in folders are resized and cropped one by one.
    """
    source, indices = source_and_indices(dataset)
    if type(source).__getitem__ in IN_ARRAYS:
        pixels = torch.as_tensor(source.data)[torch.from_numpy(indices)]
        # MNIST's pictures are [images, height, width]; CIFAR's have their three colours last.
        pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        return TensorDataset(pixels, torch.from_numpy(labels_of(dataset))), preprocessing.prepare
    source = copy.copy(source)
    source.transform = preprocessing.in_eight_bits()
    return Subset(source, indices.tolist()), preprocessing.normalise


class Pixels(TensorDataset):
    """The pictures of a dataset as 8-bit numbers in memory; a list of indices gives a prepared batch.

    `change`, the `prepare` or `normalise` of a `Preprocessing`, turns `pixels` (uint8, [images, 1 or 3,
    height, width]) into images; `labels` are int64, [images].
    """

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor, change: Callable, classes: list[str]):
        super().__init__(pixels, labels)
        self.change, self.classes = change, classes

    def __getitem__(self, places: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (float32, [batch, 3, height, width], normalised) and labels (int64, [batch])."""
        pixels, labels = super().__getitem__(places)
        return self.change(pixels), labels


def in_memory(dataset: Dataset, num_workers: int = 0) -> Dataset:
    """Return a dataset of pictures as `Pixels`, so that each picture is decoded only once.

    The dataset itself is returned if its preprocessing is not known, or pictures of a folder would take more
    than `MEMORY` bytes.
    """
    own = preprocessing_of(dataset)
    if own is None or len(dataset) == 0:
        return dataset
    pictures, change = eight_bits(dataset, own)
    if not isinstance(pictures, TensorDataset):
        if 3 * own.crop_size**2 * len(dataset) > MEMORY:
            return dataset
        loader = make_loader(pictures, READ_BATCH, num_workers=num_workers)
        bar = progress_bar(loader, desc="read pictures", unit="batch", delay=2, leave=False)
        pictures = TensorDataset(*(torch.cat(parts) for parts in zip(*bar, strict=True)))
    return Pixels(*pictures.tensors, change, classes_of(dataset))


def image_batches(
    dataset: Dataset, batch_size: int, device: torch.device, num_workers: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the images and labels of a dataset in order, in batches.

    Args:
        dataset: Pairs of an image (float32, [3, height, width]) and a label (int).
        batch_size: Images in a batch.
        device: The device for the images.
        num_workers: Extra processes that read pictures which are not in memory.

    Yields:
        Images (float32, [batch, 3, height, width], on the device) and labels (int64, [batch], on the CPU).
    """
    own, change = preprocessing_of(dataset), None
    if own is not None:
        dataset, change = eight_bits(dataset, own)
    for images, labels in make_loader(dataset, batch_size, num_workers=num_workers):
        images = to_device(images, device)
        yield (images if change is None else change(images)), labels


def to_device(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move a batch to the device; to a GPU without waiting for its arrival."""
    if device.type == "cuda":
        return images.pin_memory().to(device, non_blocking=True)
    return images.to(device)
