"""How long does a head train on the features of 50,000 images, and is it as good as the best linear head?

    python benchmarks/head_training.py [--images 50000] [--width 2048] [--batch-size 64] [--runs 5]

The features are drawn at random: ten classes, each a cloud around a centre of its own, as wide as those of a
ResNet-50 and so near to each other that nobody can tell all of them apart. Five epochs. The yardstick is
scikit-learn's logistic regression on the same features. Validation features choose, for either, among three
values: the learning rate, and the strength of regularisation. Both are then measured on 10,000 others.
"""

import argparse
import time

import torch
from alternating import spread
from sklearn.linear_model import LogisticRegression
from storing import write_table
from torch import nn
from torch.utils.data import TensorDataset

from course_utils.evaluation.metrics import evaluate
from course_utils.settings import Settings, set_seed
from course_utils.training.history import History
from course_utils.training.loop import fit

CLASSES = 10
RATES, STRENGTHS = (0.0003, 0.001, 0.003), (1e-4, 1e-3, 1e-2)
OTHERS = 10_000  # features for validation, and as many for the test


class Features(TensorDataset):
    """Features and labels that were computed before, with the names of the classes."""

    classes = tuple(str(number) for number in range(CLASSES))


class Head(nn.Module):
    """A network that is nothing but a head."""

    def __init__(self, width: int):
        super().__init__()
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc(features)


def clouds(images: int, width: int) -> Features:
    random = torch.Generator().manual_seed(images)
    centres = torch.randn(CLASSES, width, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(images) % CLASSES
    features = torch.randn(images, width, generator=random) + 0.055 * centres[labels]
    return Features(features.relu_(), labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    train, val, test = (clouds(n, options.width) for n in (options.images, OTHERS, OTHERS + 1))

    def trained(lr: float, seed: int) -> tuple[Head, History]:
        set_seed(seed)
        head = Head(options.width)
        settings = Settings(epochs=5, batch_size=options.batch_size, lr=lr, seed=seed, device="cpu")
        return head, fit(head, train, val, settings)

    lr = max(RATES, key=lambda rate: trained(rate, seed=options.runs)[1].best.val_accuracy)
    seconds, accuracies = [], []
    for run in range(options.runs):
        head, history = trained(lr, run)
        seconds.append(sum(epoch.seconds for epoch in history.epochs))
        accuracies.append(100 * evaluate(head, test).accuracy)
    fits, started = {}, time.perf_counter()
    for strength in STRENGTHS:
        classifier = LogisticRegression(C=strength, max_iter=200)
        classifier.fit(*(tensor.numpy() for tensor in train.tensors))
        fits[classifier.score(*(tensor.numpy() for tensor in val.tensors))] = classifier
    regression = (time.perf_counter() - started) / len(STRENGTHS)
    best = fits[max(fits)].score(*(tensor.numpy() for tensor in test.tensors))
    row = {
        "images": options.images,
        "width": options.width,
        "batch size": options.batch_size,
        "lr": lr,
        **spread("head, seconds", seconds),
        **spread("head, accuracy", accuracies),
        "logistic regression, seconds": regression,
        "logistic regression, accuracy": 100 * best,
        "threads": torch.get_num_threads(),
        "runs": options.runs,
    }
    write_table("head_training.csv", [row])


if __name__ == "__main__":
    main()
