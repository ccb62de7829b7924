"""Preprocessing of whole batches, so that pictures reach the network without keeping it waiting.

torchvision prepares one picture at a time: resize, crop, scale, normalise. Where that is all that a dataset
does to its pictures, the same can be done with a whole batch at once, from 8-bit pixels, on the device where
the network is. Pillow and PyTorch round differently when they resize: up to one number in twenty is one of
256 shades off, hardly any two, none more. Pictures in folders, which may have all sizes, are still resized
one by one and do not differ at all.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from torchvision import datasets, models
from torchvision.transforms import v2

from course_utils.data.image_io import load_rgb
from course_utils.data.loaders import (
    OneSize,
    classes_of,
    labels_of,
    make_loader,
    progress_bar,
    source_and_indices,
)

# What torchvision's weights do to a picture. Their `transforms()` is public, the module of its class is not.
ImageClassification = type(models.ResNet18_Weights.IMAGENET1K_V1.transforms())

MEMORY = 1_000_000_000
"""More bytes than this are not taken for the pictures of a folder: then they are read in every epoch."""

READ_BATCH = 64  # pictures


class RGB(v2.RGB):
    """torchvision's `v2.RGB`, except that `load_rgb` reads PIL pictures: 16 bits are scaled, not cut off."""

    def forward(self, *inputs: object) -> object:
        """Return the inputs with each picture in RGB."""
        return super().forward(*(load_rgb(one, warn=False) if _needs_reading(one) else one for one in inputs))


def _needs_reading(picture: object) -> bool:
    """Return whether more than a mode may have to change. What an array became has neither EXIF nor alpha."""
    return isinstance(picture, Image.Image) and (picture.mode not in ("L", "RGB") or bool(picture.info))


class Pixels(TensorDataset):
    """The pictures of a dataset as 8-bit numbers in memory; a list of indices gives a prepared batch.

    Of all `pixels` (uint8, [all images, 1 or 3, height, width]) it has those of `indices`, and their `labels`
    (both int64, [images]). `change` makes images of a batch of them: `prepare` or `normalise` with a preset.
    """

    def __init__(
        self,
        pixels: torch.Tensor,
        indices: torch.Tensor,
        labels: torch.Tensor,
        change: Callable[[torch.Tensor], torch.Tensor],
        classes: Sequence[str],
    ):
        super().__init__(indices, labels)
        self.pixels, self.indices, self.targets = pixels, indices, labels
        self.change, self.classes = change, list(classes)

    def __getitem__(self, places: Sequence[int] | slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (float32, [batch, 3, height, width], normalised) and labels (int64, [batch])."""
        return self.change(self.raw(places)), self.targets[places]

    def raw(self, places: Sequence[int] | slice) -> torch.Tensor:
        """Return pictures as they are in memory: uint8, [batch, 1 or 3, height, width]."""
        return self.pixels[self.indices[places]]


def prepare(pixels: torch.Tensor, preset: ImageClassification) -> torch.Tensor:
    """Do to a batch of uint8 [batch, 1 or 3, height, width] what torchvision's preset does to one picture."""
    size, how = preset.resize_size, preset.interpolation
    resized = v2.functional.resize(pixels, size, how, antialias=preset.antialias)
    return normalise(v2.functional.center_crop(resized, preset.crop_size), preset)


def normalise(pixels: torch.Tensor, preset: ImageClassification) -> torch.Tensor:
    """Bring 8-bit pixels, [batch, 1 or 3, height, width], to the range that the weights were made with.

    Returns:
        float32, [batch, 3, height, width], on the same device, with the colours of a pixel side by side in
        memory (channels last), as convolutions on processors and graphics cards want them.
    """
    mean = torch.tensor(preset.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(preset.std, device=pixels.device).view(3, 1, 1)
    # (pixels / 255 - mean) / std, in one pass over the memory
    images = torch.addcmul(-mean / std, pixels, 1 / (255 * std))
    return images.contiguous(memory_format=torch.channels_last)


def known_preset(dataset: Dataset) -> ImageClassification | None:
    """Return torchvision's preset, if making a picture RGB and this preset are all that is done to it.

    None for any other transform, and for a dataset that is not one of torchvision's own: what it does to a
    picture, or to a label, only it knows.
    """
    source, _ = source_and_indices(dataset)
    steps = getattr(getattr(source, "transform", None), "transforms", ())
    usual = [type(step) for step in steps] in ([RGB, ImageClassification], [v2.RGB, ImageClassification])
    known = _is_array(source) or _is_folder(source)
    return steps[1] if usual and known and source.target_transform is None else None


def crop_of(preset: ImageClassification) -> tuple[int, int]:
    """Return the height and the width, in pixels, that the network is given."""
    return preset.crop_size[0], preset.crop_size[-1]


def _is_array(source: Dataset) -> bool:
    return type(source).__getitem__ in (datasets.MNIST.__getitem__, datasets.CIFAR10.__getitem__)


def _is_folder(source: Dataset) -> bool:
    return type(source).__getitem__ is datasets.DatasetFolder.__getitem__


def as_pixels(dataset: Dataset) -> Pixels | None:
    """Return a dataset whose pictures lie in memory already as `Pixels`, without copying them; else None."""
    source, indices = source_and_indices(dataset)
    preset = known_preset(dataset)
    if preset is None or not _is_array(source):
        return None
    pixels = torch.as_tensor(source.data)
    # MNIST's pictures are [images, height, width]; CIFAR's have their three colours last.
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    labels = torch.from_numpy(labels_of(dataset))
    return Pixels(pixels, torch.from_numpy(indices), labels, partial(prepare, preset=preset), source.classes)


def in_memory(dataset: Dataset, num_workers: int = 0) -> Dataset:
    """Return a dataset of pictures as `Pixels`, so that no picture is decoded in every epoch anew.

    The dataset itself is returned if its preprocessing is not known, or its pictures would take more than
    `MEMORY` bytes.
    """
    preset, pixels = known_preset(dataset), as_pixels(dataset)
    if pixels is not None:
        return pixels
    if preset is None or not 0 < 3 * math.prod(crop_of(preset)) * len(dataset) <= MEMORY:
        return dataset
    loader = make_loader(as_bytes(dataset, preset), READ_BATCH, num_workers=num_workers)
    bar = progress_bar(loader, desc="read pictures", unit="batch", delay=2, leave=False)
    parts, labels = zip(*bar, strict=True)
    places, change = torch.arange(len(dataset)), partial(normalise, preset=preset)
    return Pixels(torch.cat(parts), places, torch.cat(labels), change, classes_of(dataset))


def image_batches(
    dataset: Dataset, batch_size: int, device: torch.device, num_workers: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Go once over a dataset in order.

    Args:
        dataset: Pairs of an image (float32, [3, height, width]) and a label (int).
        batch_size: Images in a batch.
        device: Where the images are wanted.
        num_workers: Extra processes that read pictures which are not in memory.

    Yields:
        Images (float32, [batch, 3, height, width], on the device) and labels (int64, [batch], on the CPU).
    """
    preset, in_memory = known_preset(dataset), as_pixels(dataset)
    if in_memory is not None and len(in_memory):
        for start in range(0, len(in_memory), batch_size):
            part = slice(start, start + batch_size)
            yield prepare(send(in_memory.raw(part), device), preset), in_memory.targets[part]
        return
    if preset is not None:
        dataset = as_bytes(dataset, preset)
    for images, labels in make_loader(dataset, batch_size, num_workers=num_workers):
        images = send(images, device)
        yield (images if preset is None else normalise(images, preset)), labels


def send(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Bring a batch to the device; to a graphics card without waiting until it has arrived."""
    if device.type == "cuda":
        return images.pin_memory().to(device, non_blocking=True)
    return images.to(device)


def as_bytes(dataset: Dataset, preset: ImageClassification) -> Dataset:
    """Return a dataset of folders whose pictures are resized and cropped one by one, but stay 8-bit."""
    source, indices = source_and_indices(dataset)
    source = copy.copy(source)
    source.transform = in_eight_bits(preset)
    return OneSize(source, indices.tolist())


def in_eight_bits(preset: ImageClassification) -> v2.Compose:
    """Return the part of a preset that is done to each PIL picture: uint8, [3, height, width] comes out."""
    return v2.Compose(
        [
            v2.RGB(),
            v2.Resize(preset.resize_size, preset.interpolation, antialias=preset.antialias),
            v2.CenterCrop(preset.crop_size),
            v2.PILToTensor(),
        ]
    )
