"""What does the frozen part of a network say about every image, computed once?

A frozen backbone in eval mode gives the same features for an image in every epoch. So the backbone is run
once over all images, and the head alone is trained on what it said: that is as good, and several times as
fast. Lesson 04 shows the difference.

The method is known as a linear probe on frozen features (Alain and Bengio, "Understanding intermediate
layers using linear classifier probes", 2016, arXiv:1610.01644).
"""

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from tqdm.auto import tqdm

from course_utils.data import (
    all_or_none,
    collate,
    count,
    crop_of,
    image_batches,
    known_preset,
    progress_bar_options,
)
from course_utils.models import eval_mode, without_head
from course_utils.settings import preserve_rng_state
from course_utils.training.checks import check_batch_labels
from course_utils.training.inference import images_at_once, optimized_copy
from course_utils.training.shards import joined, own_places, put_together, shards_of

EXTRACTION_BATCH = 64  # images are read at once where their size is not known beforehand


def extract_features(
    model: nn.Module, dataset: Dataset, *, num_workers: int = 0, label: str = "features"
) -> TensorDataset:
    """Run the network without its head over every image once, in order.

    Args:
        model: A network with a known head; used in eval mode on the device where it is, and given back
            in the mode in which it came.
        dataset: Pairs of an image (float32, [3, height, width]) and a label (int).
        num_workers: Extra processes that read images.
        label: What the progress bar is called.

    Returns:
        A dataset of pairs: features (float32, [images, features]) and labels (int64, [images]), both on
        the CPU. They are computed in the machine's fastest precision: see the room `inference`.
    """

    def run_over(part: Dataset) -> list[torch.Tensor]:
        found = feature_batches(model, part, num_workers=num_workers, label=label)
        return [torch.cat(tensors) for tensors in zip(*found, strict=True)]

    features, labels = on_all_processes(run_over, dataset, next(model.parameters()).device)
    return TensorDataset(features.float(), labels)


def feature_batches(
    model: nn.Module, dataset: Dataset, *, num_workers: int = 0, label: str = "features"
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Do what `extract_features` does, on this process alone, and hold no more than a batch.

    While it is not at its end, the network has no head.

    Yields:
        Features, [batch, features], in the precision in which they were computed, and labels (int64,
        [batch]), both on the CPU.
    """
    device = next(model.parameters()).device
    with without_head(model) as backbone, eval_mode(backbone):
        with torch.inference_mode():
            run = optimized_copy(backbone, device)
        for images, labels in batches_with_bar(dataset, device, num_workers, label):
            with torch.inference_mode():
                features = run(images).cpu()
            # Inference tensors cannot be used in training; a clone outside inference mode can.
            yield features.clone(), labels


def on_all_processes(
    work: Callable[[Dataset], list[torch.Tensor]], dataset: Dataset, device: torch.device
) -> list[torch.Tensor]:
    """Do something with every image of a dataset, on all processes that were launched.

    Args:
        work: From a dataset to tensors on the CPU, [images, ...] each. It must not ask the other processes.
        dataset: The same on every process.
        device: Where the network is.

    Returns:
        The tensors for the whole dataset, in order, on every process.

    Raises:
        CourseError: On every process, if one fails; the message names it.
    """
    if count() == 1:
        return work(dataset)
    shards, own = shards_of(dataset, extraction_batch_size(dataset, device)), {}
    places = own_places(len(shards))
    with all_or_none():
        if places:  # all of them in one go: what makes the network ready is done once
            sizes = [len(shards[place]) for place in places]
            made = [tensor.split(sizes) for tensor in work(joined([shards[place] for place in places]))]
            own = dict(zip(places, zip(*made, strict=True), strict=True))
    return put_together(own, len(shards))


def extraction_batch_size(dataset: Dataset, device: torch.device) -> int:
    """Return how many images of a dataset are read, and prepared, at once."""
    preset = known_preset(dataset)
    return images_at_once(crop_of(preset), device) if preset else EXTRACTION_BATCH


def batches_with_bar(
    dataset: Dataset, device: torch.device, num_workers: int, label: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Go once over a dataset in order, in batches that the device runs fastest, under a progress bar.

    Yields:
        Images (float32, [batch, 3, height, width], on the device) and labels (int64, [batch], on the CPU).

    Raises:
        DataError: If the labels are not whole numbers.
    """
    with tqdm(total=len(dataset), desc=label, unit="image", leave=False, **progress_bar_options()) as bar:
        for images, labels in image_batches(
            dataset, extraction_batch_size(dataset, device), device, num_workers
        ):
            check_batch_labels(labels, None, label)
            few = images_at_once(images.shape[2:], device)
            yield from zip(images.split(few), labels.split(few), strict=True)
            bar.update(len(labels))


def same_every_time(dataset: Dataset, images: int = 16) -> bool:
    """Return whether a dataset gives the same image twice, which augmented images do not.

    The first `images` images are read twice; the random numbers are left as they were. A
    flip that happens half of the time escapes with a probability of 1 in 65,536.
    """
    with preserve_rng_state():
        for index in range(min(images, len(dataset))):
            # As a batch, so that images which are no tensors are told as anywhere else.
            once, again = collate([dataset[index]])[0], collate([dataset[index]])[0]
            if not torch.equal(once, again):
                return False
    return True
