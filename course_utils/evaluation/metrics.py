"""Predictions on a dataset, and metrics with their intervals (lesson 05).

Everything starts from one `Evaluation`: the network's probabilities for each image of a dataset, and the
labels. The figures are made from it without running the network again.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from course_utils.data.image_io import load_rgb
from course_utils.data.loaders import classes_of
from course_utils.errors import ConfigError, DataError
from course_utils.models.freezing import eval_mode
from course_utils.training.features import batches_with_bar, map_over_processes


class Evaluation(NamedTuple):
    """A network's probabilities for every sample of a dataset, in the dataset's order."""

    probabilities: torch.Tensor
    """float32, [images, classes]; each row sums to 1."""
    labels: torch.Tensor
    """int64, [images]: the true classes."""
    classes: list[str]

    @property
    def predictions(self) -> torch.Tensor:
        """The class with the highest probability (int64, [images])."""
        return self.probabilities.argmax(dim=1)

    @property
    def correct(self) -> int:
        """The number of images that were classified correctly."""
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """The share of images that were classified correctly, from 0 to 1."""
        return self.correct / len(self.labels)


def evaluate(model: nn.Module, dataset: Dataset, *, num_workers: int = 0) -> Evaluation:
    """Run a network on every image of a dataset in eval mode, and restore its mode.

    If several processes were launched, each takes a part of the dataset and all get the whole result, so
    every one of them must call this.

    The dataset gives pairs of an image (float32, [3, height, width]) and a label (int); `num_workers` extra
    processes read it.

    Raises:
        DataError: If the dataset is empty.
    """
    device = next(model.parameters()).device

    def predict_part(part: Dataset) -> list[torch.Tensor]:
        batches = []
        for images, labels in batches_with_bar(part, device, num_workers, "evaluate"):
            batches.append((model(images).softmax(dim=1).cpu(), labels))
        return [torch.cat(tensors) for tensors in zip(*batches, strict=True)]

    with eval_mode(model), torch.inference_mode():
        return Evaluation(*map_over_processes(predict_part, dataset, device), classes_of(dataset))


def predict(
    model: nn.Module,
    picture: str | Path | bytes | Image.Image,
    transform: Callable,
    classes: Sequence[str],
) -> pd.DataFrame:
    """Classify one picture in eval mode, and restore the model's mode.

    Args:
        model: On any device.
        picture: A path, the bytes of a picture file, or a PIL picture; of any kind that `load_rgb` reads.
        transform: From a PIL picture to the network's input (float32, [3, height, width]).
        classes: The names of the network's outputs, in order.

    Returns:
        One row for each class, the most probable first: `class` and `probability` (0 to 1).

    Raises:
        DataError: If the picture cannot be decoded.
        ConfigError: If there are more or fewer names than outputs.
    """
    rgb = load_rgb(io.BytesIO(picture) if isinstance(picture, bytes) else picture)
    image = transform(rgb).unsqueeze(0).to(next(model.parameters()).device)
    with eval_mode(model), torch.inference_mode():
        probabilities = model(image).softmax(dim=1)[0].cpu()
    if len(probabilities) != len(classes):
        raise ConfigError(
            "The class names do not match the network.",
            where="classes",
            expected=f"{len(probabilities)} names, one for each output of the network",
            found=f"{len(classes)} names",
            do="Give the classes that the network was trained with; load_model returns them with it.",
        )
    table = pd.DataFrame({"class": list(classes), "probability": probabilities.numpy()})
    return table.sort_values("probability", ascending=False, kind="stable", ignore_index=True)


def accuracy_interval(correct: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of an accuracy, as two shares from 0 to 1.

    If you drew test images again and again, about 95 of 100 such intervals would hold the accuracy over
    all images there are (Wilson, 1927, doi:10.2307/2276774). It says nothing about another training run.
    """
    from scipy.stats import binomtest  # half a second: only where it is needed

    interval = binomtest(correct, images).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference(
    first: Sequence[Evaluation], second: Sequence[Evaluation]
) -> tuple[float, float, float]:
    """Return the accuracy of `first` minus that of `second`, and its 95 % interval.

    Both saw the same images, so an image that both classify correctly, or both wrongly, says nothing about
    the difference; two separate intervals would count its chance twice. The interval is Student's. Its
    variance is that of images plus, if there are several training runs, that of runs. A few runs give only a
    rough variance, which Satterthwaite's degrees of freedom (1946, doi:10.2307/3002019) allow for.

    Both have one `Evaluation` for each training run, with the seeds in the same order.

    Raises:
        DataError: If the numbers of runs differ, or their images are not the same in the same order, as far
            as the labels tell.
    """
    runs = [*first, *second]
    same = all(torch.equal(run.labels, runs[0].labels) for run in runs)
    if not (runs and same and len(first) == len(second)):
        raise DataError(
            "Two results cannot be compared image by image.",
            where="paired_difference",
            expected="equally many training runs on both sides, each with the same labels in the same order",
            found=f"{len(first)} and {len(second)} runs, with {'the same' if same else 'different'} labels",
            do="Evaluate both on the same dataset, without shuffling it, and once for each seed.",
        )
    correct = [torch.stack([run.predictions == run.labels for run in own]).int() for own in (first, second)]
    difference = (correct[0] - correct[1]).double().numpy()  # [runs, images]: -1, 0 or 1
    means = [own for own in (difference.mean(axis=0), difference.mean(axis=1)) if len(own) > 1]
    variances = np.array([own.var(ddof=1) / len(own) for own in means])
    mean, variance = float(difference.mean()), variances.sum()
    if not variance > 0:
        return mean, mean, mean
    from scipy import stats  # half a second: only where it is needed

    freedom = variance**2 / sum(variances**2 / [len(own) - 1 for own in means])
    half = float(stats.t.ppf(0.975, freedom) * np.sqrt(variance))
    return mean, mean - half, mean + half


def confusion_matrix(result: Evaluation) -> torch.Tensor:
    """Return how often each true class (row) was predicted as each (column): int64, [classes, classes]."""
    from torchmetrics.functional import classification  # a second: only where it is needed

    return classification.multiclass_confusion_matrix(
        result.predictions, result.labels, num_classes=len(result.classes)
    )


def per_class(result: Evaluation) -> pd.DataFrame:
    """Return one row for each class: precision, recall and F1 (0 to 1), and the number of images.

    Precision: of the images that were predicted to be of this class, the share that are. Recall: of the
    images of this class, the share that were predicted to be. F1: the harmonic mean of the two.
    """
    from sklearn.metrics import precision_recall_fscore_support  # a second: only where it is needed

    pair, numbers = (result.labels.numpy(), result.predictions.numpy()), range(len(result.classes))
    columns = precision_recall_fscore_support(*pair, labels=numbers, zero_division=0)
    table = dict(zip(("precision", "recall", "f1", "images"), columns, strict=True))
    return pd.DataFrame(table, index=pd.Index(result.classes, name="class"))


def most_confident_mistakes(result: Evaluation, count: int) -> pd.DataFrame:
    """Return the mistakes with the highest confidence, the highest first: at most `count` rows.

    The columns are `image` (its index in the dataset), `truth`, `answer` (the predicted class) and
    `confidence` (its probability, 0 to 1).
    """
    confidence, predictions = result.probabilities.max(dim=1)
    wrong = (predictions != result.labels).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)][:count]
    return pd.DataFrame(
        {
            "image": wrong.numpy(),
            "truth": [result.classes[label] for label in result.labels[wrong]],
            "answer": [result.classes[label] for label in predictions[wrong]],
            "confidence": confidence[wrong].numpy(),
        }
    )
