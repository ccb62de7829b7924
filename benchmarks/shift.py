"""Does fine-tuning forget? Three ways to train on Drawings, tested clean and under shift (lessons 11, 13).

    python benchmarks/shift.py [--seeds 0 1 2 3 4]

The network, the images and the number of steps are the same, and all use AdamW with its default weight decay.
A seed is another draw of training and validation images, another first head and another order; the test
images are always the same. The photographs are those that ship. Besides the three ways there are networks
on the line between two of them, as in WiSE-FT (Wortsman et al., 2022, arXiv:2109.01903): "line 0.25" has a
quarter of the weights of "head then everything", and three quarters of those of "head".

Each network is some rows of `results/shift.csv`, one for each kind and strength of shift; seeds that are
there are not run again. Learning rates are the best of `results/shift_rates.csv`.
"""

import argparse
import copy
import time

import torch
from storing import add_rows, runs_done
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from tuning import WEIGHT_DECAY, read_trials, score_trials

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.evaluation.preprocessing_ablation import TransformedDataset
from course_utils.evaluation.shift import (
    STRENGTHS,
    WAYS,
    corrupted,
    corruptions,
    same_classes,
    shift_table,
    train_way,
)
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed, shipped_data_folder

EPOCHS = 12
SETTINGS = Settings(dataset="clipart", lr=6e-3, epochs=EPOCHS, weight_decay=WEIGHT_DECAY)  # the head's rate
SHARES = (0.25, 0.5, 0.75)


def in_memory(dataset: Dataset, labels: list[int], classes: list[str]) -> TensorDataset:
    images = TensorDataset(
        torch.stack([dataset[number][0] for number in range(len(dataset))]), torch.tensor(labels)
    )
    images.classes = classes
    return images


def shifted_images(settings: Settings) -> dict[tuple[str, int], TensorDataset]:
    """Return the test images of each kind and strength of shift, the same for every network."""
    pictures = load_splits(settings, transform=nn.Identity())
    own, classes = Preprocessing.from_weights(backbone_weights(settings)), pictures.classes
    labels = [label for _, label in pictures.test]
    steps = {("none", 0): corrupted(own, nn.Identity())}
    for kind, transforms in corruptions(own).items():
        steps |= {(kind, strength): corrupted(own, transforms[strength - 1]) for strength in STRENGTHS}
    set_seed(0)  # of the noise
    images = {
        key: in_memory(TransformedDataset(pictures.test, step), labels, classes)
        for key, step in steps.items()
    }
    found = same_classes(shipped_data_folder() / "photographs", classes, own.transform())
    images["photographs", 0] = in_memory(found, found.targets, classes)
    return images


def between(first: nn.Module, second: nn.Module, share: float) -> nn.Module:
    """Return a network with the weights of the first, and this share of the way to the second."""
    model, ends = copy.deepcopy(first), (first.state_dict(), second.state_dict())
    state = {
        name: torch.lerp(start, ends[1][name], share) if start.is_floating_point() else start
        for name, start in ends[0].items()
    }
    model.load_state_dict(state)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    best = score_trials(read_trials("shift_rates.csv")).groupby("method").lr.first()
    done = runs_done("shift.csv", "seed")
    images = shifted_images(SETTINGS)
    for seed in options.seeds:
        if (seed,) in done:
            continue
        own = SETTINGS.model_copy(update={"seed": seed})
        splits, networks, rows = load_splits(own), {}, []
        for way, phases in WAYS.items():
            started = time.perf_counter()
            model = train_way([*phases[:-1], {**phases[-1], "lr": float(best[way])}], splits, own)
            networks[way] = model, time.perf_counter() - started
        ends = networks["head"][0], networks["head then everything"][0]
        networks |= {f"line {share}": (between(*ends, share), 0.0) for share in SHARES}
        for way, (model, seconds) in networks.items():
            table = shift_table({key: evaluate(model, some) for key, some in images.items()})
            table.insert(0, "way", way)
            table.insert(1, "seed", seed)
            table["images"] = [len(some) for some in images.values()]
            table["seconds"] = seconds
            rows += table.to_dict("records")
            print(way, seed, table.accuracy.round(3).tolist(), round(seconds, 1), flush=True)
        add_rows("shift.csv", rows, "python benchmarks/shift.py")


if __name__ == "__main__":
    main()
