"""Fair comparisons of three ways to initialise a network (lesson 07).

Compared runs have the same network, images and number of steps. They differ in how the network is
initialised, and in the learning rate that suits this. Each rate is as good as the best of its trials. Every
way to initialise has the same number of trials, on validation images and with seeds that no reported run uses
(`benchmarks/transfer_rates.py`).
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Subset
from torchvision.transforms import v2

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import Splits, load_splits
from course_utils.evaluation.metrics import Evaluation, evaluate
from course_utils.models.backbones import build_backbone, load_backbone
from course_utils.models.freezing import freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.history import History
from course_utils.training.loop import fit


def from_scratch(settings: Settings, num_classes: int) -> nn.Module:
    """Return the network of the settings with random weights, all of it trainable."""
    model = build_backbone(settings.backbone)
    replace_head(model, num_classes)
    return model


def frozen(settings: Settings, num_classes: int) -> nn.Module:
    """Return the pretrained network of the settings with a new head; only the head is trainable."""
    model = fine_tuned(settings, num_classes)
    freeze(model)
    return model


def fine_tuned(settings: Settings, num_classes: int) -> nn.Module:
    """Return the pretrained network of the settings with a new head, all of it trainable."""
    model = load_backbone(backbone_weights(settings))
    replace_head(model, num_classes)
    return model


class InitStrategy(NamedTuple):
    """How a network is initialised, and the learning rates and the weight decay that suit it."""

    name: str
    build: Callable[[Settings, int], nn.Module]
    lr: float
    layer_lr_decay: float = 1.0
    weight_decay: float = 0.0
    augmented: bool = True
    """Whether training images are mirrored and shifted. A frozen backbone sees each image only once."""


INIT_STRATEGIES = (
    InitStrategy("from scratch", from_scratch, lr=3e-4),
    InitStrategy("frozen", frozen, lr=6e-3, augmented=False),
    InitStrategy("fine-tuned", fine_tuned, lr=1e-3, layer_lr_decay=0.7),
)


class Run(NamedTuple):
    """The result of one training run."""

    start: str
    """The name of the `InitStrategy`."""
    dataset: str
    images_per_class: int
    """The number of labelled images of each class, including those for validation."""
    seed: int
    test_accuracy: float
    seconds: float
    """Of training, including the extraction of a frozen network's features."""
    history: History


def augment(settings: Settings) -> v2.Transform:
    """Return the preprocessing of the settings, followed by a random mirror image and a shift.

    The shift is up to a tenth of the picture. The uncovered strip is filled with the mirrored edge, so that
    it looks like more of the same: white beside a drawing on white, grass beside a photograph of grass.
    """
    transform = Preprocessing.from_weights(backbone_weights(settings), settings.image_size).transform()
    return v2.Compose([transform, v2.RandomHorizontalFlip(), v2.Lambda(_shift)])


def _shift(image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[-2:]
    return v2.RandomCrop((height, width), [width // 10, height // 10], padding_mode="reflect")(image)


def train_from(strategy: InitStrategy, settings: Settings, steps: int, test_images: int | None = None) -> Run:
    """Train on images for at least `steps` steps, and evaluate on the test images once, at the end.

    The strategy replaces the settings' `lr`, `layer_lr_decay` and `weight_decay`; the steps (batches) replace
    `epochs`, and the last epoch is always finished. `test_images` is the number of test images to use, spread
    evenly over the test set; None: all.
    """
    splits = load_splits(settings, train_transform=augment(settings) if strategy.augmented else None)
    every = max(1, len(splits.test) // (test_images or len(splits.test)))
    splits = splits._replace(test=Subset(splits.test, range(0, len(splits.test), every)))
    return train_and_test(strategy, splits, settings, steps, settings.dataset)[0]


def train_and_test(
    strategy: InitStrategy, splits: Splits, settings: Settings, steps: int, dataset: str
) -> tuple[Run, Evaluation]:
    """Train on any splits, as `train_from` does; return the run and the evaluation on the test samples."""
    epochs = math.ceil(steps / math.ceil(len(splits.train) / settings.batch_size))
    own = {name: getattr(strategy, name) for name in ("lr", "layer_lr_decay", "weight_decay")}
    settings = settings.model_copy(update={**own, "epochs": epochs})
    set_seed(settings.seed)
    model = strategy.build(settings, len(splits.classes))
    started = time.perf_counter()
    history = fit(model, splits.train, splits.val, settings)
    seconds = time.perf_counter() - started
    result = evaluate(model, splits.test)
    labelled = (len(splits.train) + len(splits.val)) // len(splits.classes)
    return Run(strategy.name, dataset, labelled, settings.seed, result.accuracy, seconds, history), result


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of some runs and the ends of its 95 % Student-t interval (Student, 1908).

    With three runs the interval is 2.5 times their standard deviation to either side: few runs prove little.
    It assumes that runs are normally distributed.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, -math.inf, math.inf
    from scipy import stats  # half a second: only where it is needed

    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def aggregate_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each dataset, number of images and start: the mean accuracy and its interval.

    `runs` has a row for each `Run`. The columns are dataset, images_per_class, start, accuracy, low, high
    (0 to 1) and seeds.
    """
    groups = runs.groupby(["dataset", "images_per_class", "start"], sort=False).test_accuracy
    rows = [[*keys, *mean_interval(values), len(values)] for keys, values in groups]
    columns = ["dataset", "images_per_class", "start", "accuracy", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)
