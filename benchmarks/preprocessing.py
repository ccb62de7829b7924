"""The cost of each faulty preprocessing: lesson 08 with every training image, five runs and larger sizes.

    python benchmarks/preprocessing.py [--dataset clipart] [--faults BGR grey] [--test-images 2000]

For each fault, a head is trained and used on faulty pictures, and one that was trained correctly is used on
them. The cost is the accuracy on test images with the right preprocessing minus that with the faulty one, in
points, with Student's 95 % interval from test images and training runs (`paired_difference`). Each run
draws four fifths of the labelled images. (Rows of November 25 and 26, 2026, have a bootstrap's interval.)

Rows are written to benchmarks/results/preprocessing.csv, in the place of those of the same dataset, fault and
way. With --faults it can be run in pieces. For CIFAR-10 as JPEG files, give --dataset folder:PATH.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from storing import replace_rows, this_run
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.evaluation.preprocessing_ablation import (
    FAULT_SCOPES,
    TransformedDataset,
    alters_images,
    channel_statistics,
    costs_table,
    evaluate_heads,
    faulty_preprocessings,
    resized,
    with_steps,
)
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training.features import extract_features


def measure(settings: Settings, wanted: list[str], seeds: list[int], test_images: int | None) -> pd.DataFrame:
    """Return the costs of the wanted faults (all of them if the list is empty) on one dataset."""
    splits = load_splits(settings, transform=nn.Identity())
    labelled = ConcatDataset([splits.train, splits.val])
    test = thinned(splits.test, test_images)
    weights = backbone_weights(settings)
    model, own = load_backbone(weights), Preprocessing.from_weights(weights, settings.image_size)
    right = with_steps(own.steps())
    faults = faulty_preprocessings(own, *channel_statistics(labelled, own))
    for name, times in (("twice the size", 2), ("224 pixels", 224 / own.crop_size[0])):
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
