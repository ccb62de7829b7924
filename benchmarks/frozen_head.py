"""How good is a new head on the frozen backbone, trained as in lesson 04, beside the best linear head?

    python benchmarks/frozen_head.py [--dataset folder:PATH] [--images-per-class 300] [--seeds 0 1 2]
        [--label-smoothing 0.1]

For each seed, the head is trained with `fit` as in lesson 04, and scikit-learn's logistic regression on the
same features of the same training images is the yardstick. Both are measured on the test images, in per cent.
A seed chooses the split, the first numbers of the head and the order of the images.

Rows are written to benchmarks/results/frozen_head.csv, in the place of those of the same settings.
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.linear_model import LogisticRegression
from storing import replace_rows

from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.features import extract_features
from course_utils.training.loop import fit

ASKED = ["dataset", "images_per_class", "label_smoothing", "seed"]


def compare(settings: Settings) -> dict[str, float]:
    """Return both accuracies on the test images, and their difference, in per cent and points."""
    splits = load_splits(settings)
    model = load_backbone(backbone_weights(settings))
    train, test = (extract_features(model, part) for part in (splits.train, splits.test))
    yardstick = LogisticRegression(max_iter=5000).fit(*(tensor.numpy() for tensor in train.tensors))
    best = 100 * yardstick.score(*(tensor.numpy() for tensor in test.tensors))
    set_seed(settings.seed)
    replace_head(model, len(splits.classes))
    freeze(model)
    fit(model, splits.train, splits.val, settings)
    head = 100 * evaluate(model, splits.test).accuracy
    return {"head": head, "logistic regression": best, "difference": head - best, "images": len(splits.train)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dataset", default="default")
    parser.add_argument("--images-per-class", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        settings = Settings(
            dataset=options.dataset,
            images_per_class=options.images_per_class,
            label_smoothing=options.label_smoothing,
            seed=seed,
        )
        # Of a folder its name: where it lies is yours.
        asked = {**settings.model_dump(include=set(ASKED)), "dataset": Path(settings.dataset).name}
        rows.append({**asked, **compare(settings)})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.drop(columns=ASKED).mean().round(1).to_string())
    replace_rows("frozen_head.csv", table.round(2), ASKED)


if __name__ == "__main__":
    main()
