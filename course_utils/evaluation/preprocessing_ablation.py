"""What does it cost if pictures are not prepared as the pretrained weights were trained?

Lesson 08 takes the weights' own preprocessing apart into named steps, exchanges one step at a time for a
wrong one, and measures the accuracy that this costs; `benchmarks/preprocessing.py` does so with all images.
A fault can be made in two ways: while the head is trained *and* when it is used, or only when it is used.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import v2

from course_utils.data import ImageClassification
from course_utils.evaluation.metrics import Evaluation, paired_difference

WAYS = ("trained and used", "used only")
"""Where the fault is: in training and in use, or in use alone, of a head that was trained rightly."""


class TransformedDataset(Dataset):
    """Pictures of another dataset, each put through a preprocessing when it is asked for.

    Args:
        pictures: Pairs of a PIL picture and a label (int), from `load_splits` with `nn.Identity()`.
        preprocess: From a PIL picture to a tensor (float32, [3, height, width]).
    """

    def __init__(self, pictures: Dataset, preprocess: Callable):
        self.pictures, self.preprocess = pictures, preprocess

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        picture, label = self.pictures[index]
        return self.preprocess(picture), label


def right_steps(own: ImageClassification) -> dict[str, Callable]:
    """Return the four steps of torchvision's preprocessing for classifiers, by name.

    Args:
        own: The weights' own preprocessing, `weights.transforms()`.

    Returns:
        RGB, Resize, ToTensor and Normalize. One after the other they give exactly what `own` gives.
    """
    resize = v2.Resize(own.resize_size, interpolation=own.interpolation, antialias=own.antialias)
    return {
        "RGB": v2.RGB(),
        "Resize": v2.Compose([resize, v2.CenterCrop(own.crop_size)]),
        "ToTensor": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
        "Normalize": v2.Normalize(mean=own.mean, std=own.std),
    }


def with_steps(right: Mapping[str, Callable], **exchanged: Callable) -> v2.Compose:
    """Return the steps as one transform, those that are named here in place of the right ones."""
    return v2.Compose(list({**right, **exchanged}.values()))


def swap_red_and_blue(picture: Image.Image) -> Image.Image:
    """Return an RGB picture with its channels in the order in which OpenCV reads them: blue, green, red."""
    return Image.merge("RGB", picture.split()[::-1])


def resized(own: ImageClassification, times: float = 1, **options: object) -> v2.Compose:
    """Return the step Resize with another size, or with other `options` of `v2.Resize`.

    It resizes a tensor of whole numbers, not a PIL picture, because PIL cannot leave antialiasing out.
    """
    size, crop = (round(pixels[0] * times) for pixels in (own.resize_size, own.crop_size))
    options = {"interpolation": own.interpolation, **options}
    return v2.Compose([v2.ToImage(), v2.Resize(size, **options), v2.CenterCrop(crop)])


def faulty_preprocessings(
    own: ImageClassification, mean: Sequence[float], std: Sequence[float]
) -> dict[str, v2.Compose]:
    """Return the common faults by name, each with one wrong step.

    Args:
        own: The weights' own preprocessing, `weights.transforms()`.
        mean: The mean of red, green and blue of your own pictures (0 to 1).
        std: Their standard deviation.
    """
    right = right_steps(own)
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
        "BGR": with_steps(right, RGB=v2.Compose([v2.RGB(), swap_red_and_blue])),
        "grey": with_steps(right, RGB=v2.Compose([v2.Grayscale(), v2.RGB()])),
    }


def channel_statistics(pictures: Dataset, own: ImageClassification) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of red, green and blue (0 to 1) at the size of the network."""
    prepared = TransformedDataset(pictures, with_steps(right_steps(own), Normalize=nn.Identity()))
    sums, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for image, _ in prepared:
        sums += image.double().mean(dim=(1, 2)) / len(prepared)
        squares += image.double().square().mean(dim=(1, 2)) / len(prepared)
    return sums.tolist(), (squares - sums**2).sqrt().tolist()


def alters_images(preprocess: Callable, right: Callable, pictures: Iterable) -> bool:
    """Return whether a preprocessing gives another image than the right one for any of the pictures.

    A difference of less than one grey level in 255, from another way to round, does not count.
    """
    smallest = 1.1 / 255 / min(right.transforms[-1].std)
    for picture, _ in pictures:
        wrong, image = preprocess(picture), right(picture)
        if wrong.shape != image.shape or (wrong - image).abs().max() > smallest:
            return True
    return False


def linear_head(regularisation: float = 0.01):
    """Return scikit-learn's logistic regression on standardised features.

    Standardised, so that a preprocessing cannot win or lose merely because its features are larger or
    smaller numbers: what counts is what can be read from them.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=2000))


def predict_proba(head, features: TensorDataset, classes: Sequence[str]) -> Evaluation:
    """Ask a head of scikit-learn about ready features."""
    inputs, labels = features.tensors
    probabilities = torch.from_numpy(head.predict_proba(inputs.numpy())).float()
    return Evaluation(probabilities, labels, list(classes))


def draw_training_images(labels: np.ndarray, seed: int, share: float = 0.8) -> np.ndarray:
    """Return the numbers of a share of the labelled images, every class in proportion, drawn by the seed."""
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(labels))
    drawn, _ = train_test_split(everything, train_size=share, stratify=labels, random_state=seed)
    return np.sort(drawn)


def evaluate_heads(
    features: Mapping[str, tuple[TensorDataset, TensorDataset]], classes: Sequence[str], seeds: Iterable[int]
) -> dict[tuple[str, str], list[Evaluation]]:
    """Train a head on the features of every preprocessing, once for each seed, and ask all about test images.

    Args:
        features: By name of the preprocessing, the features of the labelled and of the test images; one of
            the names is "right".
        classes: The names of the labels.
        seeds: Each draws other training images: four fifths of the labelled ones.

    Returns:
        For each pair of a name and a way (see `WAYS`), one `Evaluation` for each seed.
    """
    results = {(name, way): [] for name in features for way in WAYS}
    for seed in seeds:
        drawn = draw_training_images(features["right"][0].tensors[1].numpy(), seed)
        heads = {
            name: linear_head().fit(*(tensor.numpy()[drawn] for tensor in labelled.tensors))
            for name, (labelled, _) in features.items()
        }
        for name, (_, test) in features.items():
            results[name, WAYS[0]].append(predict_proba(heads[name], test, classes))
            results[name, WAYS[1]].append(predict_proba(heads["right"], test, classes))
    return results


def costs_table(results: Mapping[tuple[str, str], Sequence[Evaluation]]) -> pd.DataFrame:
    """Return what each fault costs: right less wrong, in points of accuracy, with 95 % intervals.

    Args:
        results: What `evaluate_heads` returns.

    Returns:
        One row for each fault and way: fault, way, accuracy (mean of the runs, 0 to 1), cost, low, high.
    """
    rows = []
    for (fault, way), runs in results.items():
        if fault != "right":
            cost = [100 * value for value in paired_difference(results["right", way], runs)]
            rows.append([fault, way, np.mean([run.accuracy for run in runs]), *cost])
    return pd.DataFrame(rows, columns=["fault", "way", "accuracy", "cost", "low", "high"])
