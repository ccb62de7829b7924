"""How good is it, how sure can you be of that, and where is it wrong?

Everything starts from one `Evaluation`: what the network said about each image of a dataset, and what was
right. The figures are made from it without running the network again.
"""

from typing import NamedTuple

import pandas as pd
import torch
from scipy.stats import binomtest
from torch import nn
from torch.utils.data import Dataset
from torchmetrics.functional import classification
from tqdm.auto import tqdm

from course_utils.data import classes_of, make_loader
from course_utils.features import EXTRACTION_BATCH, eval_mode


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

    Raises:
        DataError: If the dataset is empty or its classes have no names.
    """
    device = next(model.parameters()).device
    probabilities, labels = [], []
    with eval_mode(model), torch.inference_mode():
        loader = make_loader(dataset, EXTRACTION_BATCH, num_workers=num_workers)
        for images, batch_labels in tqdm(loader, desc="evaluate", unit="batch", leave=False):
            probabilities.append(model(images.to(device)).softmax(dim=1).cpu())
            labels.append(torch.as_tensor(batch_labels))
    return Evaluation(torch.cat(probabilities), torch.cat(labels), classes_of(dataset))


def accuracy_interval(correct: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of an accuracy, as two shares from 0 to 1.

    If you drew test images again and again, about 95 of 100 such intervals would hold the accuracy over
    all images there are (Wilson, 1927, doi:10.2307/2276774). It says nothing about another training run.
    """
    interval = binomtest(correct, images).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def confusion_matrix(result: Evaluation) -> torch.Tensor:
    """Return how often each true class (row) was given each name (column): int64, [classes, classes]."""
    return classification.multiclass_confusion_matrix(
        result.predictions, result.labels, num_classes=len(result.classes)
    )


def per_class(result: Evaluation) -> pd.DataFrame:
    """Return one row for each class: precision, recall and F1 (0 to 1), and the number of images.

    Precision: of the images that were given this name, the share that deserved it. Recall: of the images
    of this class, the share that were given its name. F1: the harmonic mean of the two.
    """
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
