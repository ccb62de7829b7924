"""Does a head that was trained on drawings know photographs? (lesson 11)

    python benchmarks/photographs.py [--seeds 0 1 2 3 4] [--epochs 12]

The head is trained on the frozen network that ships, with lesson 07's learning rate. Each seed is tested on
the test drawings of the photographs' classes and on the photographs that ship; all ten classes are possible
answers. The table is `results/photographs.csv`: for each seed, each class and all of them, the accuracy and
its Wilson interval. "mean" is the mean over seeds, for which the interval takes the mean number of images
that were correct: seeds share their images.
"""

import argparse

import torch
from storing import write_table

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import accuracy_interval, evaluate
from course_utils.evaluation.shift import WAYS, same_classes, train_way
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, shipped_data_folder

HEAD_LR = 6e-3  # lesson 07's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    settings = Settings(dataset="clipart", lr=HEAD_LR, epochs=options.epochs)
    folder = shipped_data_folder() / "photographs"
    transform = Preprocessing.from_weights(backbone_weights(settings)).transform()
    correct = {}
    for seed in options.seeds:
        own = settings.model_copy(update={"seed": seed})
        splits = load_splits(own)
        style = same_classes(folder, splits.classes, transform)
        model, names = train_way(WAYS["head"], splits, own), splits.classes
        for images, dataset in (("drawings", splits.test), ("photographs", style)):
            result = evaluate(model, dataset)
            for label in sorted(set(style.targets)):
                right = (result.predictions == label)[result.labels == label]
                correct.setdefault((images, names[label]), []).append(right)
    rows = []
    for images in ("drawings", "photographs"):
        of_class = {name: torch.stack(runs) for (kind, name), runs in correct.items() if kind == images}
        for name, right in {"all": torch.cat(list(of_class.values()), dim=1), **of_class}.items():
            counts, number = right.sum(dim=1).tolist(), right.shape[1]
            by_seed = dict(zip(options.seeds, counts, strict=True))
            for seed, count in {**by_seed, "mean": sum(counts) / len(counts)}.items():
                low, high = accuracy_interval(round(count), number)
                row = {"images": images, "class": name, "seed": seed, "number": number}
                rows.append({**row, "accuracy": count / number, "low": low, "high": high})
    write_table("photographs.csv", rows)


if __name__ == "__main__":
    main()
