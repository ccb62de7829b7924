"""The cost of each faulty preprocessing: lesson 08 with every training image, five runs and larger sizes.

    python benchmarks/preprocessing.py [--dataset clipart] [--faults BGR grey] [--test-images 2000]

For each fault, a head is trained and used on faulty pictures, and one that was trained correctly is used on
them. The cost is the accuracy on test images with the right preprocessing minus that with the faulty one, in
points, with Student's 95 % interval from test images and training runs (`paired_difference`). Each run
draws four fifths of the labelled images.

Rows are written to benchmarks/results/preprocessing.csv, in the place of those of the same dataset, fault and
way. With --faults it can be run in pieces. For CIFAR-10 as JPEG files, give --dataset folder:PATH.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from storing import replace_rows, this_run
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import Evaluation, paired_difference
from course_utils.evaluation.preprocessing_ablation import (
    TransformedDataset,
    faulty_preprocessings,
    linear_head,
    resized,
    with_steps,
)
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training.features import extract_features

FAULT_SCOPES = ("training and inference", "inference only")
"""Where a fault is made: a head trained on correct pictures may still be used on faulty ones."""


def channel_statistics(pictures: Dataset, own: Preprocessing) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of red, green and blue (0 to 1) at the size of the network."""
    images = TransformedDataset(pictures, with_steps(own.steps(), Normalize=nn.Identity()))
    mean, mean_square = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for image, _ in images:
        mean += image.double().mean(dim=(1, 2)) / len(images)
        mean_square += image.double().square().mean(dim=(1, 2)) / len(images)
    return mean.tolist(), (mean_square - mean**2).sqrt().tolist()


def alters_images(preprocess: Callable, right: Callable, pictures: Iterable) -> bool:
    """Return whether a preprocessing differs from the right one on any of the pictures.

    A difference of less than one grey level in 255, from another way to round, does not count.
    """
    tolerance = 1.1 / 255 / min(right.transforms[-1].std)
    for picture, _ in pictures:
        wrong, image = preprocess(picture), right(picture)
        if wrong.shape != image.shape or (wrong - image).abs().max() > tolerance:
            return True
    return False


def evaluate_heads(
    features: Mapping[str, tuple[TensorDataset, TensorDataset]], classes: Sequence[str], seeds: Iterable[int]
) -> dict[tuple[str, str], list[Evaluation]]:
    """Train a head on the features of every preprocessing, once for each seed, and evaluate all of them.

    Args:
        features: By name of the preprocessing, the features of the labelled and of the test images; one of
            the names is "right".
        classes: The names of the labels.
        seeds: Each draws other training images: four fifths of each class of the labelled ones.

    Returns:
        For each pair of a name and one of `FAULT_SCOPES`, one `Evaluation` for each seed.
    """
    from sklearn.model_selection import train_test_split

    results = {(name, scope): [] for name in features for scope in FAULT_SCOPES}
    labels = features["right"][0].tensors[1].numpy()
    for seed in seeds:
        drawn, _ = train_test_split(range(len(labels)), train_size=0.8, stratify=labels, random_state=seed)
        heads = {
            name: linear_head().fit(*(tensor.numpy()[sorted(drawn)] for tensor in labelled.tensors))
            for name, (labelled, _) in features.items()
        }
        for name, (_, test) in features.items():
            for scope, head in zip(FAULT_SCOPES, (heads[name], heads["right"]), strict=True):
                probabilities = torch.from_numpy(head.predict_proba(test.tensors[0].numpy())).float()
                results[name, scope].append(Evaluation(probabilities, test.tensors[1], list(classes)))
    return results


def costs_table(results: Mapping[tuple[str, str], Sequence[Evaluation]]) -> pd.DataFrame:
    """Return the cost of each fault: right less wrong, in points of accuracy, with 95 % intervals.

    `results` is what `evaluate_heads` returns. There is one row for each fault and scope, with the columns
    fault, way (the scope), accuracy (mean of the runs, 0 to 1), cost, low and high.
    """
    rows = []
    for (fault, scope), runs in results.items():
        if fault != "right":
            cost = [100 * value for value in paired_difference(results["right", scope], runs)]
            rows.append([fault, scope, np.mean([run.accuracy for run in runs]), *cost])
    return pd.DataFrame(rows, columns=["fault", "way", "accuracy", "cost", "low", "high"])


def measure(settings: Settings, wanted: list[str], seeds: list[int], test_images: int | None) -> pd.DataFrame:
    """Return the costs of the wanted faults (all of them if the list is empty) on one dataset."""
    splits = load_splits(settings, transform=nn.Identity())
    labelled = ConcatDataset([splits.train, splits.val])
    test = thinned(splits.test, test_images)
    weights = backbone_weights(settings)
    model, own = load_backbone(weights), Preprocessing.from_weights(weights, settings.image_size)
    right = with_steps(own.steps())
    faults = faulty_preprocessings(own, *channel_statistics(labelled, own))
    for name, times in (("twice the size", 2), ("224 pixels", 224 / own.crop_size)):
        faults[name] = with_steps(own.steps(), Resize=resized(own, times))
    features = {}
    for name, preprocess in {"right": right, **faults}.items():
        if name != "right" and wanted and name not in wanted:
            continue
        if name != "right" and not alters_images(preprocess, right, labelled):
            print(f"{name}: the pictures are the same", flush=True)
            continue
        features[name] = tuple(
            extract_features(model, TransformedDataset(part, preprocess), label=name)
            for part in (labelled, test)
        )
    results = evaluate_heads(features, splits.classes, seeds)
    table = costs_table(results)
    table["right_accuracy"] = np.mean([run.accuracy for run in results["right", FAULT_SCOPES[0]]])
    return table.assign(runs=len(seeds), labelled_images=len(labelled), test_images=len(test))


def thinned(dataset: Dataset, images: int | None) -> Dataset:
    """Return (about) so many images, evenly spread over the dataset. None: all of them."""
    step = 1 if images is None else max(1, len(dataset) // images)
    return Subset(dataset, range(0, len(dataset), step))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dataset", default="default")
    parser.add_argument("--images-per-class", type=int)
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--faults", nargs="+", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    settings = Settings(dataset=options.dataset, images_per_class=options.images_per_class)
    table = measure(settings, options.faults, options.seeds, options.test_images)
    print(table.round(2).to_string(index=False))
    table.insert(0, "dataset", Path(settings.dataset).name)  # of a folder its name: where it lies is yours
    table = table.round(4).assign(**this_run())
    replace_rows("preprocessing.csv", table, ["dataset", "fault", "way"])


if __name__ == "__main__":
    main()
