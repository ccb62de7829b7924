"""Preprocessing: prepare pictures as pretrained weights expect them, singly or in whole batches."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from torchvision.models import WeightsEnum
from torchvision.transforms import InterpolationMode, v2

from course_utils.data.image_io import load_rgb
from course_utils.errors import CheckpointError
from course_utils.models.weight_files import ImageClassification


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that a network expects, in numbers, with the names of torchvision's preset."""

    resize_size: int
    """The shorter side after resizing, in pixels."""
    crop_size: int
    """Height and width of the centre crop, in pixels."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Subtracted from red, green and blue, each from 0 to 1."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: InterpolationMode = InterpolationMode.BILINEAR
    antialias: bool | None = True

    @classmethod
    def from_weights(cls, weights: WeightsEnum, image_size: int | None = None) -> "Preprocessing":
        """Return the preprocessing that the weights were trained with.

        Args:
            weights: Their `.transforms()` is read.
            image_size: Height and width of the result in pixels. None: the weights' own.
        """
        preset = weights.transforms()
        resize_size, crop_size = preset.resize_size[0], preset.crop_size[0]
        if image_size is not None:
            resize_size = crop_size = image_size
        mean, std = tuple(preset.mean), tuple(preset.std)
        return cls(resize_size, crop_size, mean, std, preset.interpolation, preset.antialias)

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
                found="one that was saved without it",
                do="Build it with Preprocessing.from_weights(weights), or save the model again with "
                "transform=...",
            )
        changed = {
            "mean": tuple(described["mean"]),
            "std": tuple(described["std"]),
            "interpolation": InterpolationMode(described["interpolation"]),
        }
        return cls(**{**described, **changed})

    def to_dict(self) -> dict:
        """Return the numbers in a form that JSON can store and `from_dict` reads."""
        lists = {"mean": list(self.mean), "std": list(self.std)}
        return {**asdict(self), **lists, "interpolation": self.interpolation.value}

    def transform(self) -> v2.Compose:
        """Return a transform from a PIL picture of any mode to a tensor: float32, [3, height, width].

        A dataset that uses the transform carries the preprocessing along, as `transform.preprocessing`.
        """
        transform = v2.Compose((load_rgb, ImageClassification(**asdict(self))))
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
        """Return the steps before normalisation, from a PIL picture to uint8, [3, height, width]."""
        steps = self.steps()
        return v2.Compose([steps["RGB"], steps["Resize"], v2.PILToTensor()])

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Prepare a batch (uint8, [batch, 1 or 3, height, width]) as the transform prepares one picture."""
        size, how = [self.resize_size], self.interpolation
        resized = v2.functional.resize(pixels, size, how, antialias=self.antialias)
        return self.normalise(v2.functional.center_crop(resized, [self.crop_size]))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise 8-bit pixels, [batch, 1 or 3, height, width], as the weights were trained.

        Returns:
            float32, [batch, 3, height, width], on the same device, with the colours of a pixel side by side
            in memory (channels last), as fast convolutions on CPUs and GPUs need them.
        """
        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1)
        # (pixels / 255 - mean) / std, in one pass over the memory
        images = torch.addcmul(-mean / std, pixels, 1 / (255 * std))
        return images.contiguous(memory_format=torch.channels_last)
