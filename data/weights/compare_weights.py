"""Is one file of weights ahead of another, by more than chance?

    python compare_weights.py OLD.safetensors NEW.safetensors [--cifar10 FOLDER]

A linear head learns on the frozen features of each file, with the same images, seeds and steps. Printed: the
accuracy of each in per cent, and the difference with a 95 % interval from a bootstrap (10,000 samples).

Drawings are tested in folds by author, five times, and the bootstrap draws whole author groups. On the other
data sets five heads are tested on the same images, and the bootstrap draws images. The interval leaves out
the chance in the making of the weights themselves.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from measure_weights import features_of, load_cifar10_folders, make_extractor
from safetensors.torch import load_file
from sklearn.model_selection import StratifiedGroupKFold

from course_utils.data.splits import groups_of, load_splits
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training.features import extract_features

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from author_split import train_head

SEEDS = range(5)
STEPS = 100


def is_correct(features, labels, test_features, test_labels, seed):
    """Train a head; return which test images it classifies correctly (bool, [images])."""
    head = train_head(features, labels, STEPS, seed)
    return (head(test_features).argmax(1) == test_labels).numpy()


def course_features(dataset, weights):
    """Features and labels of all three parts of a data set of the course, and its settings and splits."""
    settings = Settings(dataset=dataset)
    splits, network = load_splits(settings), load_backbone(backbone_weights(settings))
    network.load_state_dict(load_file(weights))
    return [extract_features(network, part).tensors for part in splits[:3]], settings, splits


def drawings(weights):
    """The share of five repeats in which each drawing is classified correctly, and its author group."""
    parts, settings, splits = course_features("clipart", weights)
    features, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    groups = np.concatenate([groups_of(part, settings) for part in splits[:3]])
    correct = np.zeros(len(labels))
    for seed in SEEDS:
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for train, test in folds.split(features, labels, groups):
            own = is_correct(features[train], labels[train], features[test], labels[test], seed)
            correct[test] += own / len(SEEDS)
    return correct, groups


def clothes(weights):
    """The share of five heads that classify each test image correctly; no groups."""
    (train, _, test), _, _ = course_features("fashion_mnist_sample", weights)
    return np.mean([is_correct(*train, *test, seed) for seed in SEEDS], axis=0), None


def cifar10(weights, folder):
    """The same for CIFAR-10: each head has its own 100 training images a class; 1,000 test images."""
    images, labels, test_images, test_labels = load_cifar10_folders(folder)
    extract = make_extractor(str(weights))
    features, test = (
        torch.tensor(features_of(images, extract)),
        torch.tensor(features_of(test_images, extract)),
    )
    labels, test_labels = torch.tensor(labels), torch.tensor(test_labels)
    correct = []
    for seed in SEEDS:
        draw = np.random.default_rng(seed)
        own = np.concatenate([draw.permutation(np.flatnonzero(labels == c))[:100] for c in range(10)])
        correct.append(is_correct(features[own], labels[own], test, test_labels, seed))
    return np.mean(correct, axis=0), None


def difference_interval(old, new, groups):
    """95 % of the mean difference (float, [images]); groups, or single images, are drawn with replacement."""
    names = np.arange(len(old)) if groups is None else groups
    _, place = np.unique(names, return_inverse=True)
    sums, counts = np.bincount(place, new - old), np.bincount(place)
    drawn = np.random.default_rng(0).integers(len(counts), size=(10_000, len(counts)))
    return np.percentile(100 * sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--cifar10", type=Path, help="folder with train/<class>/ and test/<class>/")
    options = parser.parse_args()
    targets = {"Drawings": drawings, "Clothes": clothes}
    if options.cifar10:
        targets["CIFAR-10"] = lambda weights: cifar10(weights, options.cifar10)
    for name, measure in targets.items():
        (old, groups), (new, _) = measure(options.old), measure(options.new)
        low, high = difference_interval(old, new, groups)
        print(
            f"{name:10} old {100 * old.mean():.1f}  new {100 * new.mean():.1f}  "
            f"difference {100 * (new - old).mean():+.1f} ({low:+.1f} to {high:+.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
