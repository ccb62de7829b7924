"""Preprocessing: how pretrained weights want pictures prepared, one at a time or a whole batch at once.

torchvision prepares one picture at a time: resize, crop, scale, normalise. Where that is all that a dataset
does to its pictures, the same can be done with a whole batch at once, from 8-bit pixels, on the device where
the network is. Pillow and PyTorch round differently when they resize: up to one number in twenty is one of
256 shades off, hardly any two, none more. Pictures in folders, which may have all sizes, are still resized
one by one and do not differ at all.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from torchvision import datasets
from torchvision.models import WeightsEnum
from torchvision.transforms import InterpolationMode, v2

from course_utils.data.image_io import load_rgb
from course_utils.data.loaders import (
    OneSize,
    classes_of,
    labels_of,
    make_loader,
    progress_bar,
    source_and_indices,
)
from course_utils.errors import CheckpointError
from course_utils.models.backbones import check_image_size
from course_utils.models.weight_files import ImageClassification
from course_utils.models.weights import backbone_name

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


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its pictures prepared, in numbers; the names are those of torchvision's preset."""

    resize_size: int
    """The shorter side after resizing, in pixels."""
    crop_size: int
    """Height and width of the middle that is cut out, in pixels."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """What is subtracted from red, green and blue, from 0 to 1."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: InterpolationMode = InterpolationMode.BILINEAR
    antialias: bool | None = True

    @classmethod
    def from_weights(cls, weights: WeightsEnum, image_size: int | None = None) -> "Preprocessing":
        """Return the preprocessing that the weights were made with.

        Args:
            weights: Their own `.transforms()` are read.
            image_size: Height and width of the result in pixels. None: the weights' own.

        Raises:
            ConfigError: If the network cannot take pictures of this size.
        """
        own = weights.transforms()
        resize_size, crop_size = own.resize_size[0], own.crop_size[0]
        if image_size is not None:
            resize_size = crop_size = image_size
            with suppress(StopIteration):  # an entry of somebody's own need not name a network
                check_image_size(backbone_name(weights), image_size)
        return cls(resize_size, crop_size, tuple(own.mean), tuple(own.std), own.interpolation, own.antialias)

    @classmethod
    def from_dict(cls, described: Mapping | None) -> "Preprocessing":
        """Return the preprocessing that `to_dict` described, for example `card["preprocessing"]`.

        Raises:
            CheckpointError: If there is none: a network can be saved without it.
        """
        if not described:
            raise CheckpointError(
                "The preprocessing of this network is not known.",
                where="preprocessing",
                expected="a model file that was saved with its transform",
                found="one that was saved without",
                do="Build it with Preprocessing.from_weights(weights), or save the model again with "
                "transform=...",
            )
        size = described["resize_size"]
        changed = {
            "resize_size": size[0] if isinstance(size, list) else size,  # files of both kinds exist
            "mean": tuple(described["mean"]),
            "std": tuple(described["std"]),
            "interpolation": InterpolationMode(described["interpolation"]),
        }
        return cls(**{**described, **changed})

    def to_dict(self) -> dict:
        """Return the numbers as JSON can hold them; `from_dict` reads them."""
        lists = {"mean": list(self.mean), "std": list(self.std)}
        return {**asdict(self), **lists, "interpolation": self.interpolation.value}

    def transform(self) -> v2.Compose:
        """Return a transform from a PIL picture of any mode to a tensor: float32, [3, height, width].

        The dataset that uses it carries the preprocessing along: it is the transform's `.preprocessing`.
        """
        transform = v2.Compose((RGB(), ImageClassification(**asdict(self))))
        transform.preprocessing = self
        return transform

    def steps(self) -> dict[str, Callable]:
        """Return the steps of the transform by name: RGB, Resize, ToTensor and Normalize."""
        resize = v2.Resize(self.resize_size, interpolation=self.interpolation, antialias=self.antialias)
        return {
            "RGB": v2.RGB(),
            "Resize": v2.Compose([resize, v2.CenterCrop(self.crop_size)]),
            "ToTensor": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
            "Normalize": v2.Normalize(mean=self.mean, std=self.std),
        }

    def in_eight_bits(self) -> v2.Compose:
        """Return the part that is done to each PIL picture: uint8, [3, height, width] comes out."""
        steps = self.steps()
        return v2.Compose([steps["RGB"], steps["Resize"], v2.PILToTensor()])

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Do to a batch of uint8 [batch, 1 or 3, height, width] what the transform does to one picture."""
        size, how = [self.resize_size], self.interpolation
        resized = v2.functional.resize(pixels, size, how, antialias=self.antialias)
        return self.normalise(v2.functional.center_crop(resized, [self.crop_size]))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Bring 8-bit pixels, [batch, 1 or 3, height, width], to the range that the weights were made with.

        Returns:
            float32, [batch, 3, height, width], on the same device, with the colours of a pixel side by side
            in memory (channels last), as convolutions on processors and graphics cards want them.
        """
        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1)
        # (pixels / 255 - mean) / std, in one pass over the memory
        images = torch.addcmul(-mean / std, pixels, 1 / (255 * std))
        return images.contiguous(memory_format=torch.channels_last)


class Pixels(TensorDataset):
    """The pictures of a dataset as 8-bit numbers in memory; a list of indices gives a prepared batch.

    Of all `pixels` (uint8, [all images, 1 or 3, height, width]) it has those of `indices`, and their `labels`
    (both int64, [images]). `change` makes images of a batch of them: `prepare` or `normalise` of a
    `Preprocessing`.
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


def preprocessing_of(dataset: Dataset) -> Preprocessing | None:
    """Return the preprocessing of a dataset, if its transform is nothing else.

    None for any other transform, and for a dataset that is not one of torchvision's own: what it does to a
    picture, or to a label, only it knows.
    """
    source, _ = source_and_indices(dataset)
    known = (_is_array(source) or _is_folder(source)) and source.target_transform is None
    return getattr(source.transform, "preprocessing", None) if known else None


def _is_array(source: Dataset) -> bool:
    return type(source).__getitem__ in (datasets.MNIST.__getitem__, datasets.CIFAR10.__getitem__)


def _is_folder(source: Dataset) -> bool:
    return type(source).__getitem__ is datasets.DatasetFolder.__getitem__


def as_pixels(dataset: Dataset) -> Pixels | None:
    """Return a dataset whose pictures lie in memory already as `Pixels`, without copying them; else None."""
    source, indices = source_and_indices(dataset)
    preprocessing = preprocessing_of(dataset)
    if preprocessing is None or not _is_array(source):
        return None
    pixels = torch.as_tensor(source.data)
    # MNIST's pictures are [images, height, width]; CIFAR's have their three colours last.
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    labels = torch.from_numpy(labels_of(dataset))
    return Pixels(pixels, torch.from_numpy(indices), labels, preprocessing.prepare, source.classes)


def in_memory(dataset: Dataset, num_workers: int = 0) -> Dataset:
    """Return a dataset of pictures as `Pixels`, so that no picture is decoded in every epoch anew.

    The dataset itself is returned if its preprocessing is not known, or its pictures would take more than
    `MEMORY` bytes.
    """
    own, pixels = preprocessing_of(dataset), as_pixels(dataset)
    if pixels is not None:
        return pixels
    if own is None or not 0 < 3 * own.crop_size**2 * len(dataset) <= MEMORY:
        return dataset
    loader = make_loader(uint8_dataset(dataset, own), READ_BATCH, num_workers=num_workers)
    bar = progress_bar(loader, desc="read pictures", unit="batch", delay=2, leave=False)
    parts, labels = zip(*bar, strict=True)
    places = torch.arange(len(dataset))
    return Pixels(torch.cat(parts), places, torch.cat(labels), own.normalise, classes_of(dataset))


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
    own, in_memory = preprocessing_of(dataset), as_pixels(dataset)
    if in_memory is not None and len(in_memory):
        for start in range(0, len(in_memory), batch_size):
            part = slice(start, start + batch_size)
            yield own.prepare(to_device(in_memory.raw(part), device)), in_memory.targets[part]
        return
    if own is not None:
        dataset = uint8_dataset(dataset, own)
    for images, labels in make_loader(dataset, batch_size, num_workers=num_workers):
        images = to_device(images, device)
        yield (images if own is None else own.normalise(images)), labels


def to_device(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Bring a batch to the device; to a graphics card without waiting until it has arrived."""
    if device.type == "cuda":
        return images.pin_memory().to(device, non_blocking=True)
    return images.to(device)


def uint8_dataset(dataset: Dataset, preprocessing: Preprocessing) -> Dataset:
    """Return a dataset of folders whose pictures are resized and cropped one by one, but stay 8-bit."""
    source, indices = source_and_indices(dataset)
    source = copy.copy(source)
    source.transform = preprocessing.in_eight_bits()
    return OneSize(source, indices.tolist())
