"""What weighting does for rare classes, for lesson 09.

    python benchmarks/imbalance.py [--draws 10]

Each draw makes five of the ten classes of Drawings rare: it keeps three training drawings of each, at random,
and all drawings of the other classes. Linear heads learn from cached features of the shipped ResNet-18, with
AdamW at a learning rate of 0.005 and batches of 32, for 5, 10, 30 and 100 epochs:

- `plain`: nothing is done;
- `weighted loss`: the loss of each drawing is divided by the size of its class;
- `sampler`: a `WeightedRandomSampler` draws each drawing with a probability in the same proportion;
- `adjusted logits`: the plain head; the logarithm of each class's frequency in training is subtracted from
  its logit (Menon and others, 2021, arXiv:2007.07314);
- `all drawings`: the plain head, with all drawings of all classes.

Recalls are those of the test drawings, averaged over the five rare and the five common classes.
`balanced_accuracy` is the mean recall of all classes, and `accuracy_at_training_frequencies` is the mean of
the recalls, each weighted by its class's share of the drawn training set. The table is
`results/imbalance.csv`.
"""

import argparse
from collections.abc import Iterator

import torch
from storing import add_rows
from torch import nn
from torch.utils.data import RandomSampler, WeightedRandomSampler

from course_utils.data.splits import load_splits
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.features import extract_features

KEPT, RARE, BATCH, LR = 3, 5, 32, 0.005
EPOCHS = (5, 10, 30, 100)


def draw_of(labels: torch.Tensor, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the indices of the drawings that are kept, and for each class whether it is rare."""
    random = torch.Generator().manual_seed(seed)
    rare = torch.zeros(classes, dtype=torch.bool)
    rare[torch.randperm(classes, generator=random)[:RARE]] = True
    order = torch.randperm(len(labels), generator=random)
    kept = [order[labels[order] == label][: KEPT if rare[label] else None] for label in range(classes)]
    return torch.cat(kept), rare


def heads_of(data: tuple, way: str, classes: int, seed: int) -> Iterator[tuple[int, nn.Linear]]:
    """Train a head, and yield it after each number of epochs in `EPOCHS`."""
    features, labels = data
    torch.manual_seed(seed)
    head = nn.Linear(features.shape[1], classes)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LR)
    weights = len(labels) / (classes * torch.bincount(labels, minlength=classes))
    criterion = nn.CrossEntropyLoss(weights if way == "weighted loss" else None)
    sampler = RandomSampler(range(len(labels)))
    if way == "sampler":
        sampler = WeightedRandomSampler(weights[labels], len(labels))
    for epoch in range(1, EPOCHS[-1] + 1):
        for batch in torch.tensor(list(sampler)).split(BATCH):
            optimizer.zero_grad()
            criterion(head(features[batch]), labels[batch]).backward()
            optimizer.step()
        if epoch in EPOCHS:
            yield epoch, head


def rows_of(train: tuple, test: tuple, classes: int, seed: int) -> Iterator[dict]:
    kept, rare = draw_of(train[1], classes, seed)
    drawn = (train[0][kept], train[1][kept])
    frequencies = torch.bincount(drawn[1], minlength=classes) / len(kept)
    for way in ("plain", "weighted loss", "sampler", "all drawings"):
        for epochs, head in heads_of(train if way == "all drawings" else drawn, way, classes, seed):
            with torch.inference_mode():
                logits = {way: head(test[0])}
            if way == "plain":
                logits["adjusted logits"] = logits["plain"] - frequencies.log()
            for name, own in logits.items():
                right = own.argmax(dim=1) == test[1]
                recalls = torch.stack([right[test[1] == label].float().mean() for label in range(classes)])
                yield {
                    "draw": seed,
                    "epochs": epochs,
                    "way": name,
                    "recall_rare": recalls[rare].mean().item(),
                    "recall_common": recalls[~rare].mean().item(),
                    "balanced_accuracy": recalls.mean().item(),
                    "accuracy_at_training_frequencies": (recalls * frequencies).sum().item(),
                }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    draws = parser.parse_args().draws
    settings = Settings(dataset="clipart")
    set_seed(settings.seed)
    splits, model = load_splits(settings), load_backbone(backbone_weights(settings))
    train, test = (extract_features(model, part).tensors for part in (splits.train, splits.test))
    rows = [row for seed in range(draws) for row in rows_of(train, test, len(splits.classes), seed)]
    add_rows("imbalance.csv", rows, f"python benchmarks/imbalance.py --draws {draws}")


if __name__ == "__main__":
    main()
