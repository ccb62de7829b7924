"""Without any label: classes by their names, beside one and five labels of each class, for lessons 12 and 14.

    python benchmarks/zero_labels.py [--photographs PATH] [--draws 20]

Images: the old head's categories matched with the names of the classes (`match_names`). Texts: the text
encoder compares a sentence with the names of the four domains that it may come from. With labels:
scikit-learn's logistic regression on the same backbone's features of 1 and 5 labelled samples of each class,
means of random draws. PATH has CIFAR-10 as files, in `train/<class>/` and `test/<class>/`. The table is
`results/zero_labels.csv`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from storing import add_rows
from torch.utils.data import Subset

from course_utils.data.splits import load_splits
from course_utils.evaluation.comparison import mean_interval
from course_utils.evaluation.metrics import accuracy_interval, evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.text.corpora import read_rated_sentences
from course_utils.text.names import embed_texts, match_names
from course_utils.training.features import extract_features

SHOTS = (1, 5)
TEST_IMAGES = 1000  # at most, spread evenly
SPLITS = ("train", "test")
DOMAIN_NAMES = {
    "films": "a review of a film",
    "products": "a review of a product",
    "editorials": "a newspaper editorial",
    "tweets": "a tweet",
}
"""How the domains are called where nothing but their names is known; written once, and not tuned."""


def with_labels(train: tuple, test: tuple, draws: int) -> list[tuple[int, float, float, float]]:
    """Return, for each number of labels, the mean accuracy over random draws and its 95 % interval."""
    features, labels = train
    rows = []
    for shots in SHOTS:
        scores = []
        for draw in range(draws):
            rng = np.random.default_rng(draw)
            own = [rng.choice(np.flatnonzero(labels == label), shots, False) for label in np.unique(labels)]
            chosen = np.concatenate(own)
            probe = LogisticRegression(max_iter=1000).fit(features[chosen], labels[chosen])
            scores.append(probe.score(*test))
        rows.append((shots, *mean_interval(scores)))
    return rows


def results_of(name: str, classes: int, matches: torch.Tensor, test: tuple, few: list[tuple]) -> list[dict]:
    """Return the rows of one task: chance, no label, few labels."""
    correct = int((matches.argmax(dim=1).numpy() == test[1]).sum())
    rows = [
        ("chance", 0, 1 / classes, None, None),
        ("names", 0, correct / len(test[1]), *accuracy_interval(correct, len(test[1]))),
    ]
    rows += [("labels", *row) for row in few]
    keys = ("way", "labels_per_class", "accuracy", "low", "high")
    return [
        {"task": name, "classes": classes, "test_samples": len(test[1]), **dict(zip(keys, row, strict=True))}
        for row in rows
    ]


def images(name: str, settings: Settings, draws: int) -> list[dict]:
    """Return the rows of a task with images."""
    splits, weights = load_splits(settings), backbone_weights(settings)
    every = max(1, len(splits.test) // TEST_IMAGES)
    test = Subset(splits.test, range(0, len(splits.test), every))
    network = load_backbone(weights)
    categories = embed_texts(weights.meta["categories"], settings)
    names = embed_texts([one.replace("_", " ") for one in splits.classes], settings)
    matches = match_names(evaluate(network, test).probabilities, categories, names)
    features = [
        tuple(part.numpy() for part in extract_features(network, own).tensors) for own in (splits.train, test)
    ]
    return results_of(name, len(splits.classes), matches, features[1], with_labels(*features, draws))


def domains(settings: Settings, draws: int) -> list[dict]:
    """Return the rows of the question which of the four domains a rated sentence comes from."""
    table = read_rated_sentences()
    names, vectors = list(DOMAIN_NAMES), embed_texts(table.text.to_list(), settings)
    labels = table.domain.map(names.index).to_numpy()
    train, test = ((vectors[own].numpy(), labels[own]) for own in (table.split == split for split in SPLITS))
    matches = torch.from_numpy(test[0]) @ embed_texts(list(DOMAIN_NAMES.values()), settings).T
    return results_of("domain of a sentence", len(names), matches, test, with_labels(train, test, draws))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    settings = Settings(dataset="clipart")
    rows = images("drawings", settings, options.draws)
    if options.photographs:
        own = Settings(dataset=f"folder:{options.photographs}", skip_bad_images=True)
        rows += images("photographs (CIFAR-10)", own, options.draws)
    rows += domains(settings, options.draws)
    for row in rows:
        print(*row.values())
    command = "python benchmarks/zero_labels.py" + " --photographs PATH" * bool(options.photographs)
    add_rows("zero_labels.csv", rows, f"{command} --draws {options.draws}")


if __name__ == "__main__":
    main()
