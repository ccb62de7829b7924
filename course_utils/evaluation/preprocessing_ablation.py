"""The cost of faulty preprocessing: pictures that are not prepared as in pretraining (lesson 08).

The weights' own preprocessing is taken apart into named steps, and one step at a time is exchanged for a
wrong one. `benchmarks/preprocessing.py` measures the accuracy that each fault costs.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

from course_utils.data.loaders import classes_of
from course_utils.data.preprocessing import Preprocessing


class TransformedDataset(Dataset):
    """A dataset of PIL pictures, from `load_splits` with `nn.Identity()`, that are preprocessed on access."""

    def __init__(self, pictures: Dataset, preprocess: Callable):
        self.pictures, self.preprocess = pictures, preprocess

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def classes(self) -> list[str]:
        """The names of the pictures' classes, in order."""
        return classes_of(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        picture, label = self.pictures[index]
        return self.preprocess(picture), label


def with_steps(right: Mapping[str, Callable], **exchanged: Callable) -> v2.Compose:
    """Return the right steps as one transform, with some of them exchanged."""
    return v2.Compose(list({**right, **exchanged}.values()))


def resized(own: Preprocessing, scale: float = 1, **options: object) -> v2.Compose:
    """Return the step Resize with another size, or with other `options` of `v2.Resize`.

    It resizes a tensor of whole numbers, not a PIL picture, because PIL always antialiases.
    """
    size, crop = (round(pixels * scale) for pixels in (own.resize_size, own.crop_size))
    options = {"interpolation": own.interpolation, **options}
    return v2.Compose([v2.ToImage(), v2.Resize(size, **options), v2.CenterCrop(crop)])


def _swap_red_and_blue(picture: Image.Image) -> Image.Image:
    return Image.merge("RGB", picture.split()[::-1])


def faulty_preprocessings(
    own: Preprocessing, mean: Sequence[float], std: Sequence[float]
) -> dict[str, v2.Compose]:
    """Return transforms with common faults, by name: each has one wrong step (BGR: OpenCV's channels).

    `own` is the preprocessing of the weights; `mean` and `std` are those of your pictures, from
    `channel_statistics`.
    """
    right = own.steps()
    nearest = resized(own, interpolation=v2.InterpolationMode.NEAREST)
    unscaled = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=False)])
    return {
        "half the size": with_steps(right, Resize=resized(own, 0.5)),
        "1.5 times the size": with_steps(right, Resize=resized(own, 1.5)),
        "nearest neighbour": with_steps(right, Resize=nearest),
        "no antialias": with_steps(right, Resize=resized(own, antialias=False)),
        "0 to 255": with_steps(right, ToTensor=unscaled),
        "not normalised": with_steps(right, Normalize=nn.Identity()),
        "own mean and std": with_steps(right, Normalize=v2.Normalize(mean, std)),
        "BGR": with_steps(right, RGB=v2.Compose([v2.RGB(), _swap_red_and_blue])),
        "grey": with_steps(right, RGB=v2.Compose([v2.Grayscale(), v2.RGB()])),
    }


def linear_head():
    """Return scikit-learn's logistic regression on standardised features.

    Features are standardised, so that a preprocessing cannot win or lose merely because its features are
    larger or smaller numbers: only the information in them counts.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
