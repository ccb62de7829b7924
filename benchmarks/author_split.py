"""How much do known authors add to the accuracy on Drawings? (lesson 11)

    python benchmarks/author_split.py [--repeats 10]

All 543 drawings are divided into five folds, by rows or by author, and a head on the frozen network that
ships is trained on four and tested on the fifth, as in the lesson. Leaving out an author of a hundred
drawings also leaves out half of some classes. So a third way, "matched", tests the folds of the author split
with heads that had as many drawings of each class, drawn at random from all authors. Its lead over the
author split is due to known authors alone.

`results/author_split.csv` has a row for each author: the number of drawings, and the share of these that
each split classified correctly, averaged over the repeats.
"""

import argparse

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from storing import write_table
from torch import nn

from course_utils.data.splits import groups_of, load_splits
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training.features import extract_features

LR, STEPS, FOLDS = 0.002, 50, 5  # those of the lesson


def train_head(features: torch.Tensor, labels: torch.Tensor, steps: int = STEPS, seed: int = 0) -> nn.Linear:
    """Train a linear head with AdamW; each step takes all images."""
    torch.manual_seed(seed)
    head = nn.Linear(features.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LR)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(head(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head


def is_correct(
    features: torch.Tensor, labels: torch.Tensor, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    head = train_head(features[train], labels[train])
    return (head(features[test]).argmax(dim=1) == labels[test]).numpy()


def matched_train(labels: np.ndarray, train: np.ndarray, rest: np.ndarray, rng) -> np.ndarray:
    """Draw from `rest` as many indices of each class as `train` has."""
    wanted = np.bincount(labels[train])
    return np.concatenate([rng.permutation(rest[labels[rest] == c])[:n] for c, n in enumerate(wanted)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    settings = Settings(dataset="clipart")
    splits, network = load_splits(settings), load_backbone(backbone_weights(settings))
    parts = [extract_features(network, part).tensors for part in splits[:3]]
    features, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    groups = np.concatenate([groups_of(part, settings) for part in splits[:3]])
    correct = {name: np.zeros(len(labels)) for name in ("row_split", "matched", "author_split")}
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels):
            correct["row_split"][test] += is_correct(features, labels, train, test)
        by_author = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        for train, test in by_author.split(features, labels, groups):
            correct["author_split"][test] += is_correct(features, labels, train, test)
            for part in np.array_split(rng.permutation(test), FOLDS):
                rest = np.setdiff1d(np.arange(len(labels)), part)
                own = matched_train(labels.numpy(), train, rest, rng)
                correct["matched"][part] += is_correct(features, labels, own, part)
    rows = []
    for author in np.unique(groups):
        own = groups == author
        shares = {name: counts[own].mean() / repeats for name, counts in correct.items()}
        rows.append({"author": author, "drawings": int(own.sum()), **shares})
    write_table("author_split.csv", sorted(rows, key=lambda row: -row["drawings"]))


if __name__ == "__main__":
    main()
