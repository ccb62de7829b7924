"""Does fine-tuning forget? Three ways to train on drawings, tested on drawings and under shift (lesson 12).

    python benchmarks/shift.py --photographs PATH [--seeds 0 1 2 3 4] [--epochs 12]
    python benchmarks/shift.py --rates

The network, the images and the number of steps are the same. A seed is another draw of training and
validation images, another first head and another order; the test images are always the same. PATH has
CIFAR-10's test images as files in a folder for each class; those of birds, mammals and vehicles are the
photographs. Each run is some rows of `results/shift.csv`, one for each kind and strength of shift; runs that
are there are not made again.

`--rates` tries learning rates for everything at once and after the head, on seeds that no reported run uses
and on validation images alone: `results/shift_rates.csv`.
"""

import argparse
import itertools
import time
from pathlib import Path

import torch
from storing import add_rows, runs_done
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from course_utils.data.folders import FolderOfClasses
from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.evaluation.preprocessing_ablation import TransformedDataset
from course_utils.evaluation.shift import STRENGTHS, WAYS, corrupted, corruptions, shift_table, train_way
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed

KNOWN_AS = {
    "bird": "birds",
    **dict.fromkeys(("airplane", "automobile", "ship", "truck"), "vehicles"),
    **dict.fromkeys(("cat", "deer", "dog", "horse"), "mammals"),
}
EVERY = 10  # every tenth photograph
HEAD_LR = 6e-3  # lesson 07's
RATES, RATE_SEEDS = (1e-4, 3e-4, 1e-3), (100, 101, 102)


def in_memory(dataset: Dataset, labels: list[int], classes: list[str]) -> TensorDataset:
    images = TensorDataset(
        torch.stack([dataset[number][0] for number in range(len(dataset))]), torch.tensor(labels)
    )
    images.classes = classes
    return images


def shifted_images(settings: Settings, photographs: Path) -> dict[tuple[str, int], TensorDataset]:
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
    transform = Preprocessing.from_weights(backbone_weights(settings)).transform()
    found = FolderOfClasses(photographs, transform, classes=set(KNOWN_AS))
    found.samples = found.samples[::EVERY]
    labels = [classes.index(KNOWN_AS[found.classes[label]]) for _, label in found.samples]
    images["photographs", 0] = in_memory(found, labels, classes)
    return images


def measure(options: argparse.Namespace) -> None:
    command = f"python benchmarks/shift.py --photographs PATH --epochs {options.epochs}"
    done = runs_done("shift.csv", "way", "seed")
    settings = Settings(dataset="clipart", lr=HEAD_LR, epochs=options.epochs)
    images = shifted_images(settings, options.photographs)
    for seed, (way, phases) in itertools.product(options.seeds, WAYS.items()):
        if (way, seed) in done:
            continue
        own = settings.model_copy(update={"seed": seed})
        splits, started = load_splits(own), time.perf_counter()
        model = train_way(phases, splits, own)
        seconds = time.perf_counter() - started
        table = shift_table({key: evaluate(model, some) for key, some in images.items()})
        table.insert(0, "way", way)
        table.insert(1, "seed", seed)
        table["images"] = [len(some) for some in images.values()]
        table["seconds"] = seconds
        add_rows("shift.csv", table.to_dict("records"), command)
        print(way, seed, table.accuracy.round(3).tolist(), round(seconds, 1), flush=True)


def try_rates(options: argparse.Namespace) -> None:
    command = f"python benchmarks/shift.py --rates --epochs {options.epochs}"
    done = runs_done("shift_rates.csv", "way", "lr", "seed")
    for seed, way, lr in itertools.product(RATE_SEEDS, ("everything", "head then everything"), RATES):
        if (way, lr, seed) in done:
            continue
        settings = Settings(dataset="clipart", lr=HEAD_LR, epochs=options.epochs, seed=seed)
        splits = load_splits(settings)
        phases = [*WAYS[way][:-1], {**WAYS[way][-1], "lr": lr}]
        model = train_way(phases, splits, settings)
        result = evaluate(model, splits.val)
        loss = float(nn.functional.nll_loss(result.probabilities.log(), result.labels))
        row = {
            "way": way,
            "lr": f"{lr:g}",  # as text: `add_rows` rounds numbers to four places
            "seed": seed,
            "val_loss": loss,
            "val_accuracy": result.accuracy,
        }
        add_rows("shift_rates.csv", [row], command)
        print(*row.values(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--rates", action="store_true")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    if options.rates:
        try_rates(options)
    elif options.photographs:
        measure(options)
    else:
        parser.error("give --photographs or --rates")


if __name__ == "__main__":
    main()
