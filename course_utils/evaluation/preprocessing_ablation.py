"""The cost of faulty preprocessing: pictures not prepared as the pretrained weights were trained (lesson 08).

The weights' own preprocessing is taken apart into named steps, one step at a time is exchanged for a wrong
one, and the accuracy that this costs is measured; `benchmarks/preprocessing.py` does so with all images. A
fault can be made while the head is trained *and* when it is used, or only when it is used.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import v2

from course_utils.data.loaders import classes_of
from course_utils.data.preprocessing import Preprocessing
from course_utils.evaluation.metrics import Evaluation, paired_difference

FAULT_SCOPES = ("trained and used", "used only")
"""Where a fault is: in training and in use, or only in the use of a head that was trained correctly."""


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
    """Return the steps as one transform, with the given ones in place of the right ones."""
    return v2.Compose(list({**right, **exchanged}.values()))


def resized(own: Preprocessing, scale: float = 1, **options: object) -> v2.Compose:
    """Return the step Resize with another size, or with other `options` of `v2.Resize`.

    It resizes a tensor of whole numbers, not a PIL picture, because PIL cannot leave antialiasing out.
    """
    size, crop = (round(pixels * scale) for pixels in (own.resize_size, own.crop_size))
    options = {"interpolation": own.interpolation, **options}
    return v2.Compose([v2.ToImage(), v2.Resize(size, **options), v2.CenterCrop(crop)])


def _swap_red_and_blue(picture: Image.Image) -> Image.Image:
    return Image.merge("RGB", picture.split()[::-1])


def faulty_preprocessings(
    own: Preprocessing, mean: Sequence[float], std: Sequence[float]
) -> dict[str, v2.Compose]:
    """Return the common faults by name, each with one wrong step; BGR is the order of OpenCV's channels.

    `own` is that of the weights; `mean` and `std` are those of your pictures, from `channel_statistics`.
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


def channel_statistics(pictures: Dataset, own: Preprocessing) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of red, green and blue (0 to 1) at the size of the network."""
    images = TransformedDataset(pictures, with_steps(own.steps(), Normalize=nn.Identity()))
    mean, mean_square = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for image, _ in images:
        mean += image.double().mean(dim=(1, 2)) / len(images)
        mean_square += image.double().square().mean(dim=(1, 2)) / len(images)
    return mean.tolist(), (mean_square - mean**2).sqrt().tolist()


def alters_images(preprocess: Callable, right: Callable, pictures: Iterable) -> bool:
    """Return whether a preprocessing differs from the right one on any of the pictures.

    A difference of less than one grey level in 255, from another way to round, does not count.
    """
    tolerance = 1.1 / 255 / min(right.transforms[-1].std)
    for picture, _ in pictures:
        wrong, image = preprocess(picture), right(picture)
        if wrong.shape != image.shape or (wrong - image).abs().max() > tolerance:
            return True
    return False


def linear_head():
    """Return scikit-learn's logistic regression on standardised features.

    Standardised, so that a preprocessing cannot win or lose merely because its features are larger or
    smaller numbers: what counts is the information in them.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))


def predict_proba(head, features: TensorDataset, classes: Sequence[str]) -> Evaluation:
    """Evaluate a head of scikit-learn on extracted features."""
    inputs, labels = features.tensors
    probabilities = torch.from_numpy(head.predict_proba(inputs.numpy())).float()
    return Evaluation(probabilities, labels, list(classes))


def evaluate_heads(
    features: Mapping[str, tuple[TensorDataset, TensorDataset]], classes: Sequence[str], seeds: Iterable[int]
) -> dict[tuple[str, str], list[Evaluation]]:
    """Train a head on the features of every preprocessing, once for each seed, and evaluate all of them.

    Args:
        features: By name of the preprocessing, the features of the labelled and of the test images; one of
            the names is "right".
        classes: The names of the labels.
        seeds: Each draws other training images: four fifths of each class of the labelled ones.

    Returns:
        For each pair of a name and one of `FAULT_SCOPES`, one `Evaluation` for each seed.
    """
    from sklearn.model_selection import train_test_split

    results = {(name, scope): [] for name in features for scope in FAULT_SCOPES}
    labels = features["right"][0].tensors[1].numpy()
    for seed in seeds:
        drawn, _ = train_test_split(range(len(labels)), train_size=0.8, stratify=labels, random_state=seed)
        heads = {
            name: linear_head().fit(*(tensor.numpy()[sorted(drawn)] for tensor in labelled.tensors))
            for name, (labelled, _) in features.items()
        }
        for name, (_, test) in features.items():
            for scope, head in zip(FAULT_SCOPES, (heads[name], heads["right"]), strict=True):
                results[name, scope].append(predict_proba(head, test, classes))
    return results


def costs_table(results: Mapping[tuple[str, str], Sequence[Evaluation]]) -> pd.DataFrame:
    """Return the cost of each fault: right less wrong, in points of accuracy, with 95 % intervals.

    `results` is what `evaluate_heads` returns. There is one row for each fault and scope, with the columns
    fault, way (the scope), accuracy (mean of the runs, 0 to 1), cost, low and high.
    """
    rows = []
    for (fault, scope), runs in results.items():
        if fault != "right":
            cost = [100 * value for value in paired_difference(results["right", scope], runs)]
            rows.append([fault, scope, np.mean([run.accuracy for run in runs]), *cost])
    return pd.DataFrame(rows, columns=["fault", "way", "accuracy", "cost", "low", "high"])
