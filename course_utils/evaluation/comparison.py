"""Does transfer pay? The same network, images and number of steps, from three different starts.

Lesson 07 asks this, and `benchmarks/transfer_grid.py` asks it of every number of images. Two runs that are
compared differ in their start, and in the learning rate that suits it: each start's rate was chosen by
itself, on validation images and with a seed that no reported run uses (`benchmarks/transfer_rates.py`).
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

from course_utils.data import backbone_transform, backbone_weights, build_backbone, load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.models import freeze, load_backbone, replace_head
from course_utils.settings import Settings, set_seed
from course_utils.training import History, fit


def from_scratch(settings: Settings, num_classes: int) -> nn.Module:
    """Return the network of the settings with random weights, all of it trainable."""
    model = build_backbone(settings.backbone)
    replace_head(model, num_classes)
    return model


def frozen(settings: Settings, num_classes: int) -> nn.Module:
    """Return the pretrained network of the settings with a new head, which alone is trainable."""
    model = fine_tuned(settings, num_classes)
    freeze(model)
    return model


def fine_tuned(settings: Settings, num_classes: int) -> nn.Module:
    """Return the pretrained network of the settings with a new head, all of it trainable."""
    model = load_backbone(backbone_weights(settings))
    replace_head(model, num_classes)
    return model


class InitStrategy(NamedTuple):
    """Where training begins, and how large its steps are."""

    name: str
    prepare: Callable[[Settings, int], nn.Module]
    lr: float
    layer_lr_decay: float = 1.0
    augmented: bool = True
    """Whether training images are mirrored and shifted. A frozen backbone sees each image only once."""


INIT_STRATEGIES = (
    InitStrategy("from scratch", from_scratch, lr=3e-4),
    InitStrategy("frozen", frozen, lr=6e-3, augmented=False),
    InitStrategy("fine-tuned", fine_tuned, lr=1e-3, layer_lr_decay=0.7),
)


class Run(NamedTuple):
    """What one training run gave."""

    start: str
    dataset: str
    images_per_class: int
    """How many labelled images of each class there were, those for validation among them."""
    seed: int
    test_accuracy: float
    seconds: float
    """Of training, with everything that it needs: a frozen network's features, too."""
    history: History


def augment(settings: Settings) -> v2.Transform:
    """Return the preprocessing of the settings, and after it a random mirror image and a shift.

    The shift is up to a tenth of the picture. What it uncovers mirrors the picture at its edge, so that it
    looks like more of the same: white beside a drawing on white, grass beside a photograph of grass.
    """
    transform = backbone_transform(backbone_weights(settings), settings.image_size)
    return v2.Compose([transform, v2.RandomHorizontalFlip(), v2.Lambda(_shifted)])


def _shifted(image: torch.Tensor) -> torch.Tensor:
    size = image.shape[-2:]
    return v2.RandomCrop(size, padding=[size[1] // 10, size[0] // 10], padding_mode="reflect")(image)


def settings_for(start: InitStrategy, settings: Settings, samples: int, steps: int) -> Settings:
    """Return the settings with the rates of a start, and epochs for at least so many steps over `samples`."""
    batches = math.ceil(samples / settings.batch_size)
    own = {"lr": start.lr, "layer_lr_decay": start.layer_lr_decay, "epochs": math.ceil(steps / batches)}
    return settings.model_copy(update=own)


def train_from(start: InitStrategy, settings: Settings, steps: int, test_images: int | None = None) -> Run:
    """Train for (at least) so many steps, and measure on the test images once, at the end.

    Args:
        start: One of `INIT_STRATEGIES`.
        settings: `lr`, `layer_lr_decay` and `epochs` are replaced: by the start's, and by the steps.
        steps: Batches that the network learns from; a last epoch that has begun is finished.
        test_images: How many to measure on, spread evenly over the test set. None: all.
    """
    splits = load_splits(settings, train_transform=augment(settings) if start.augmented else None)
    settings = settings_for(start, settings, len(splits.train), steps)
    set_seed(settings.seed)
    model = start.prepare(settings, len(splits.classes))
    started = time.perf_counter()
    # Seconds are compared: features that an earlier run has kept would be unfair.
    history = fit(model, splits.train, splits.val, settings, cache_features=False)
    seconds = time.perf_counter() - started
    images = (len(splits.train) + len(splits.val)) // len(splits.classes)
    every = max(1, len(splits.test) // (test_images or len(splits.test)))
    accuracy = evaluate(model, Subset(splits.test, range(0, len(splits.test), every))).accuracy
    return Run(start.name, settings.dataset, images, settings.seed, accuracy, seconds, history)


def seconds_until(run: Run, val_accuracy: float) -> float:
    """Return after how many seconds of training the validation accuracy was first reached, or infinity.

    What came before the first epoch (the features of a frozen network) is counted.
    """
    epochs = run.history.to_frame()
    before = run.seconds - epochs.seconds.sum()
    reached = np.flatnonzero(epochs.val_accuracy >= val_accuracy)
    return before + epochs.seconds.iloc[: reached[0] + 1].sum() if len(reached) else math.inf


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of some runs and the limits of its Student-t interval (Student, 1908).

    With three runs the interval is 2.5 times their standard deviation to either side: few runs prove
    little. It assumes that runs scatter as a normal distribution does.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), -math.inf, math.inf
    from scipy import stats  # half a second: only where it is needed

    spread = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(values.mean() - spread), float(values.mean() + spread)


def aggregate_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each dataset, number of images and start: the mean accuracy and its interval.

    Args:
        runs: One row for each run, with the columns dataset, start, images_per_class and test_accuracy.

    Returns:
        The columns dataset, images_per_class, start, accuracy, low, high (0 to 1) and seeds.
    """
    rows = []
    for keys, group in runs.groupby(["dataset", "images_per_class", "start"], sort=False):
        accuracy, low, high = mean_interval(group.test_accuracy)
        rows.append([*keys, accuracy, low, high, len(group)])
    columns = ["dataset", "images_per_class", "start", "accuracy", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)
