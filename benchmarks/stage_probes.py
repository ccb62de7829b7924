"""Which stage transfers? A linear probe on each stage of a ResNet-18, for lessons 02 and 12.

    python benchmarks/stage_probes.py [--seeds 0 1 2]

A probe is scikit-learn's logistic regression on the channel means of a stage's output, standardised.
Pretrained weights are compared with random ones, on both targets that ship. A seed is another draw of
labelled images, and other random weights. Each probe is one row of `results/stage_probes.csv`.
"""

import argparse
import itertools

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from storing import add_rows
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.feature_extraction import create_feature_extractor

from course_utils.data.splits import load_splits
from course_utils.models.backbones import build_backbone, load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed

TARGETS = {"fashion_mnist_sample": 100, "clipart": 20}  # labelled images of each class
STAGES = ("layer1", "layer2", "layer3", "layer4")
PROBES = (*((stage,) for stage in STAGES), ("layer3", "layer4"))
STRENGTH = 0.01  # scikit-learn's C; chosen for the backbone's features before, see the weights' card


def stage_features(network: nn.Module, dataset: Dataset) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return the channel means of every stage ([images, channels] each), and the labels."""
    watcher = create_feature_extractor(network.eval(), list(STAGES))
    found, labels = {stage: [] for stage in STAGES}, []
    for images, own in DataLoader(dataset, batch_size=64):
        with torch.inference_mode():
            for stage, maps in watcher(images).items():
                found[stage].append(maps.mean(dim=(2, 3)))
        labels.append(own)
    return {stage: torch.cat(parts) for stage, parts in found.items()}, torch.cat(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    rows = []
    for (dataset, count), seed in itertools.product(TARGETS.items(), options.seeds):
        settings = Settings(dataset=dataset, images_per_class=count, seed=seed)
        splits = load_splits(settings)
        set_seed(seed)
        networks = {
            "pretrained": load_backbone(backbone_weights(settings)),
            "random": build_backbone(settings.backbone),
        }
        for weights, network in networks.items():
            (train, labels), (test, truth) = (
                stage_features(network, part) for part in (splits.train, splits.test)
            )
            for stages in PROBES:
                probe = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
                probe.fit(torch.cat([train[stage] for stage in stages], dim=1), labels)
                accuracy = probe.score(torch.cat([test[stage] for stage in stages], dim=1), truth)
                rows.append(
                    {
                        "dataset": dataset,
                        "images_per_class": count,
                        "seed": seed,
                        "weights": weights,
                        "stages": " + ".join(stages),
                        "test_accuracy": accuracy,
                        "test_images": len(truth),
                    }
                )
                print(*rows[-1].values(), flush=True)
    add_rows("stage_probes.csv", rows, "python benchmarks/stage_probes.py")


if __name__ == "__main__":
    main()
