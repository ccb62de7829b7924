"""How good is it, how sure can you be of that, and where is it wrong?

Everything starts from one `Evaluation`: what the network said about each image of a dataset, and what was
right. The figures are made from it without running the network again.
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

from course_utils.data import classes_of, load_rgb
from course_utils.errors import ConfigError, DataError
from course_utils.models import eval_mode
from course_utils.training import batches_with_bar, check_batch_labels, share_among_processes


class Evaluation(NamedTuple):
    """What a network said about every image of a dataset, in the dataset's order."""

    probabilities: torch.Tensor
    """float32, [images, classes], each row sums to 1."""
    labels: torch.Tensor
    """int64, [images]: the right answers."""
    classes: list[str]

    @property
    def predictions(self) -> torch.Tensor:
        """The class with the highest probability (int64, [images])."""
        return self.probabilities.argmax(dim=1)

    @property
    def correct(self) -> int:
        """How many images were named right."""
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """The share of images that were named right, from 0 to 1."""
        return self.correct / len(self.labels)


def evaluate(model: nn.Module, dataset: Dataset, *, num_workers: int = 0) -> Evaluation:
    """Ask the network about every image of a dataset, learning nothing.

    Args:
        model: Used in eval mode on the device where it is, and given back in the mode in which it came.
        dataset: Pairs of an image (float32, [3, height, width]) and a label (int).
        num_workers: Extra processes that read images.

    If several processes were launched, each asks about a part, and all get the whole answer: every one of
    them must call this.

    Raises:
        DataError: If the dataset is empty, its classes have no names, or a label is not that of a class.
    """
    device = next(model.parameters()).device

    def ask(part: Dataset) -> list[torch.Tensor]:
        found = []
        for images, labels in batches_with_bar(part, device, num_workers, "evaluate"):
            found.append((model(images).softmax(dim=1).cpu(), labels))
            check_batch_labels(labels, found[-1][0].shape[1], "evaluate")
        return [torch.cat(tensors) for tensors in zip(*found, strict=True)]

    with eval_mode(model), torch.inference_mode():
        return Evaluation(*share_among_processes(ask, dataset, device), classes_of(dataset))


def predict(
    model: nn.Module, picture: str | Path | bytes | Image.Image, transform: Callable, classes: Sequence[str]
) -> pd.DataFrame:
    """Ask the network about one picture.

    Args:
        model: Used in eval mode on the device where it is, and given back in the mode in which it came.
        picture: A path, the bytes of a picture file, or a PIL picture; of any kind that `load_rgb` reads.
        transform: From a PIL picture to what the network was trained with (float32, [3, height, width]).
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
            "The names do not fit the network.",
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


class Difference(NamedTuple):
    """How much more often one thing was right than another on the same images, and how sure that is."""

    mean: float
    """The difference of the two accuracies, from -1 to 1."""
    low: float
    high: float
    """The ends of its confidence interval."""


def paired_difference(
    first: Sequence[Evaluation],
    second: Sequence[Evaluation],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Return by how much the accuracy of `first` is higher than that of `second`, with an interval.

    Both were asked about the same images, so that an image which both name right, or both wrong, says
    nothing about the difference; two separate intervals would count its luck twice. The interval is a
    percentile bootstrap (Efron, 1979, doi:10.1214/aos/1176344552). Where there are several training runs,
    runs and images are both drawn anew (Owen, 2007, doi:10.1214/07-AOAS122), so that it covers the choice
    of either. Few runs show little of how runs scatter: with three it is rather too narrow in that respect.

    Args:
        first: One `Evaluation` for each training run.
        second: As many, of the same images in the same order; run by run with the same seed.
        resamples: How often runs and images are drawn.
        confidence: The share of intervals that hold the true difference, if all is repeated often.
        seed: The draws follow from it.

    Raises:
        DataError: If the runs are not as many, or their images are not the same in the same order, as far
            as the labels tell.
    """
    if not first or len(first) != len(second):
        raise _not_paired("as many training runs on both sides", f"{len(first)} and {len(second)}")
    labels = first[0].labels
    for run, result in enumerate([*first, *second]):
        if not torch.equal(result.labels, labels):
            side, number = ("first", run) if run < len(first) else ("second", run - len(first))
            raise _not_paired(
                f"the {len(labels)} labels of first[0], in the same order",
                f"{len(result.labels)} other labels, or another order, in {side}[{number}]",
            )
    right = [
        np.stack([(run.predictions == run.labels).numpy() for run in runs]).astype(float)
        for runs in (first, second)
    ]
    difference = right[0] - right[1]  # [runs, images]: -1, 0 or 1
    random, means = np.random.default_rng(seed), []
    for _ in range(resamples):
        runs, images = (random.integers(count, size=count) for count in difference.shape)
        means.append(difference[runs][:, images].mean())
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(float(difference.mean()), float(low), float(high))


def _not_paired(expected: str, found: str) -> DataError:
    return DataError(
        "Two results cannot be compared image by image.",
        where="paired_difference",
        expected=expected,
        found=found,
        do="Evaluate both on the same dataset, without shuffling it, and once for each seed.",
    )


def confusion_matrix(result: Evaluation) -> torch.Tensor:
    """Return how often each true class (row) was given each name (column): int64, [classes, classes]."""
    from torchmetrics.functional import classification  # a second: only where it is needed

    return classification.multiclass_confusion_matrix(
        result.predictions, result.labels, num_classes=len(result.classes)
    )


def per_class(result: Evaluation) -> pd.DataFrame:
    """Return one row for each class: precision, recall and F1 (0 to 1), and the number of images.

    Precision: of the images that were given this name, the share that deserved it. Recall: of the images
    of this class, the share that were given its name. F1: the harmonic mean of the two.
    """
    from torchmetrics.functional import classification

    asked = {"num_classes": len(result.classes), "average": "none"}
    answers = result.predictions, result.labels
    return pd.DataFrame(
        {
            "precision": classification.multiclass_precision(*answers, **asked).numpy(),
            "recall": classification.multiclass_recall(*answers, **asked).numpy(),
            "f1": classification.multiclass_f1_score(*answers, **asked).numpy(),
            "images": torch.bincount(result.labels, minlength=len(result.classes)).numpy(),
        },
        index=pd.Index(result.classes, name="class"),
    )


def most_confident_mistakes(result: Evaluation, count: int) -> pd.DataFrame:
    """Return the wrong answers that the network was surest of, the surest first.

    Returns:
        One row for each mistake: `image` (its index in the dataset), `truth`, `answer` and `confidence`
        (the probability of the answer, 0 to 1). Fewer than `count` rows if there are fewer mistakes.
    """
    confidence, answers = result.probabilities.max(dim=1)
    wrong = (answers != result.labels).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)][:count]
    return pd.DataFrame(
        {
            "image": wrong.numpy(),
            "truth": [result.classes[label] for label in result.labels[wrong]],
            "answer": [result.classes[label] for label in answers[wrong]],
            "confidence": confidence[wrong].numpy(),
        }
    )
