"""Distribution shift: pictures that differ from those that a network was trained on (lesson 11).

Corruptions of five kinds in three strengths, after Hendrycks and Dietterich (2019, arXiv:1903.12261);
pictures of the same classes in another style; three ways to train, which might differ in robustness; and a
detector of pictures that show none of the classes.
"""

import io
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from course_utils.data.folders import FolderOfClasses
from course_utils.data.groups import image_groups
from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import Splits
from course_utils.errors import DataError
from course_utils.evaluation.calibration import calibration_interval
from course_utils.evaluation.metrics import Evaluation, accuracy_interval
from course_utils.evaluation.preprocessing_ablation import with_steps
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.loop import fit

STRENGTHS = (1, 2, 3)

WAYS = {
    "head": [{}],
    "everything": [{"lr": 1e-3, "layer_lr_decay": 0.7}],
    "head then everything": [{}, {"lr": 1e-3, "layer_lr_decay": 0.7}],
}
"""The phases of each way to train, each with the settings that it replaces. The learning rates are as good as
the best of `benchmarks/results/shift_rates.csv`.
"""


def corruptions(own: Preprocessing) -> dict[str, list[Callable]]:
    """Return corruptions by name: a list of three transforms, the mildest first.

    Each takes an image (float32, [3, height, width], 0 to 1) and returns one like it: it belongs between
    resizing and normalising. `own` is the preprocessing of the weights; the blur grows with its image size.
    """
    scale = own.crop_size / 64
    return {
        "noise": [v2.GaussianNoise(sigma=sigma) for sigma in (0.05, 0.1, 0.2)],
        "blur": [_blur(scale * sigma) for sigma in (0.7, 1.2, 2.0)],
        "contrast": [v2.ColorJitter(contrast=(factor, factor)) for factor in (0.6, 0.35, 0.15)],
        "JPEG": [JPEG(quality) for quality in (40, 15, 5)],
        "colour": [v2.ColorJitter(saturation=(factor, factor)) for factor in (0.5, 0.2, 0.0)],
    }


def _blur(sigma: float) -> v2.Transform:
    return v2.GaussianBlur(2 * round(2 * sigma) + 1, (sigma, sigma))


class JPEG(v2.Transform):
    """Save an image as a JPEG file of this quality (1 to 100), and read it back.

    Pillow does it, because torchvision 0.29 deprecates `v2.JPEG` and its own encoder. The pixels are the
    same.
    """

    def __init__(self, quality: int):
        super().__init__()
        self.quality = quality

    def transform(self, image: torch.Tensor, params: dict) -> torch.Tensor:
        """Take and return float32, [3, height, width], 0 to 1."""
        file = io.BytesIO()
        F.to_pil_image(F.to_dtype(image, torch.uint8, scale=True)).save(file, "JPEG", quality=self.quality)
        return F.to_dtype(F.pil_to_tensor(Image.open(file)), torch.float32, scale=True)


def corrupted(own: Preprocessing, corruption: Callable) -> v2.Compose:
    """Return the preprocessing `own`, with a corruption between resizing and normalising."""
    steps = own.steps()
    return with_steps(steps, ToTensor=v2.Compose([steps["ToTensor"], corruption]))


def same_classes(folder: str | Path, classes: list[str], transform: Callable) -> Dataset:
    """Return the pictures of a folder in another style, with the labels of known classes.

    Args:
        folder: Has a folder of pictures for each of some classes, with the class's name; others are not read.
        classes: The names of the known classes, in the order of their labels.
        transform: A function of a PIL picture that returns the dataset's image.

    Returns:
        The dataset, with `groups` ([images]): who made each picture, by a table `photographs.csv` in the
        folder with the columns `file` and `author`; without one, each picture is a group of its own.

    Raises:
        DataError: If no class of the folder is known.
    """
    labels = {unicodedata.normalize("NFC", name): label for label, name in enumerate(classes)}
    dataset = FolderOfClasses(Path(folder).expanduser().resolve(), transform, classes=set(labels))
    if not dataset.samples:
        raise DataError(
            "There is no picture of a known class.",
            where=dataset.root,
            expected=f"a folder of pictures for some of: {', '.join(classes)}",
            found="none of these, or no picture in them",
            do="Give each class folder the name that its class has in your dataset.",
        )
    own = [labels[unicodedata.normalize("NFC", name)] for name in dataset.classes]
    dataset.samples = [(path, own[label]) for path, label in dataset.samples]
    dataset.imgs, dataset.targets = dataset.samples, [label for _, label in dataset.samples]
    dataset.classes, root = list(classes), Path(dataset.root)
    if (table := root / "photographs.csv").exists():
        dataset.groups = image_groups(dataset, root, f"{table}:author")
    else:
        dataset.groups = np.arange(len(dataset))
    return dataset


def train_way(phases: list[dict], splits: Splits, settings: Settings) -> nn.Module:
    """Return the pretrained network of the settings, trained with a new head in one of the `WAYS`.

    "head then everything" is LP-FT (Kumar et al., 2022, arXiv:2202.10054). Each of its two phases has half of
    the epochs, so that all ways take the same number of steps.

    Args:
        phases: The settings that each phase replaces; one with `layer_lr_decay` trains everything, others the
            head.
        splits: `train` and `val` are used.
        settings: `epochs` is for all phases together, and `lr` is the learning rate of the head's phase.
    """
    set_seed(settings.seed)
    model = load_backbone(backbone_weights(settings))
    replace_head(model, len(splits.classes))
    for phase in phases:
        if "layer_lr_decay" in phase:
            model.requires_grad_(True)
        else:
            freeze(model)
        epochs = max(1, settings.epochs // len(phases))
        fit(model, splits.train, splits.val, settings.model_copy(update={"epochs": epochs, **phase}))
    return model


def shift_table(results: Mapping[tuple[str, int], Evaluation], bins: int = 5) -> pd.DataFrame:
    """Return accuracy, confidence and calibration error of each shift and strength.

    Args:
        results: By kind of shift and strength; strength 0 is no shift.
        bins: The bins of the calibration error. With few images, many bins measure chance.

    Returns:
        The columns shift, strength, accuracy, low, high (Wilson's interval), confidence (mean), error,
        error_low and error_high (its interval), all of them from 0 to 1.
    """
    rows = []
    for (shift, strength), result in results.items():
        interval = accuracy_interval(result.correct, len(result.labels))
        confidence = float(result.probabilities.max(dim=1).values.mean())
        error = calibration_interval(result, bins)
        rows.append([shift, strength, result.accuracy, *interval, confidence, *error])
    columns = ["shift", "strength", "accuracy", "low", "high", "confidence"]
    return pd.DataFrame(rows, columns=[*columns, "error", "error_low", "error_high"])


def feature_distance(train: TensorDataset) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a detector: minus the squared Mahalanobis distance to the nearest class (Lee et al., 2018,
    arXiv:1807.03888). Its scores are higher for pictures that resemble the training pictures.

    Each class is the mean of its features; all share one covariance, which is shrunk towards a multiple of
    the identity matrix (Ledoit and Wolf, 2004, doi:10.1016/S0047-259X(03)00096-4), because there are fewer
    images than it has entries.

    Args:
        train: Features of the training images (float32, [images, features]) and their labels.

    Returns:
        A function from features to scores (float64, [images]).
    """
    from sklearn.covariance import LedoitWolf  # slow to import: only where it is needed

    features, labels = (tensor.numpy() for tensor in train.tensors)
    _, own_class = np.unique(labels, return_inverse=True)
    means = np.stack([features[own_class == number].mean(axis=0) for number in range(own_class.max() + 1)])
    covariance = LedoitWolf(assume_centered=True).fit(features - means[own_class])
    # After this change of axes, the distance is the usual one.
    axes = torch.from_numpy(np.linalg.cholesky(covariance.precision_.astype(np.float64)))
    centres = torch.from_numpy(means).double() @ axes
    return lambda found: -torch.cdist(found.double() @ axes, centres).square().min(dim=1).values
