"""How many settings must be tried? Random search for the three starts of lesson 07, on two targets.

    python benchmarks/settings_search.py [--settings 20] [--seeds 0 1 2]

Every start is trained with the same randomly drawn settings: learning rate (log-uniform), number of steps,
and augmentation (which a frozen backbone, whose features are computed once, does without). Each setting is
judged by validation images alone: half of the labelled images, so that one image weighs little. Each run is
one row of `results/settings_search.csv`; runs that are there already are not made again.
"""

import argparse
import itertools

import numpy as np
from storing import add_rows, runs_done

from course_utils.evaluation.comparison import INIT_STRATEGIES, train_from
from course_utils.settings import Settings

DATASETS = ("clipart", "fashion_mnist_sample")
LABELLED = 30  # images of each class: half for training, half for validation
RATES = (1e-4, 3e-2)
STEPS = (10, 20, 40)  # 2 to 8 epochs
TABLE = "settings_search.csv"


def draw_settings(count: int) -> list[dict]:
    """Return random settings: `lr`, `steps` and `augmented`."""
    rng = np.random.default_rng(0)
    low, high = np.log(RATES)
    return [
        {
            "lr": float(f"{np.exp(rng.uniform(low, high)):.2g}"),
            "steps": int(rng.choice(STEPS)),
            "augmented": bool(rng.integers(2)),
        }
        for _ in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--settings", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    options = parser.parse_args()
    command = f"python benchmarks/settings_search.py --settings {options.settings}"
    done = runs_done(TABLE, "dataset", "start", "setting", "seed")
    tried = list(enumerate(draw_settings(options.settings)))
    for seed, dataset, (number, own) in itertools.product(options.seeds, options.datasets, tried):
        for strategy in INIT_STRATEGIES:
            if (dataset, strategy.name, number, seed) in done:
                continue
            settings = Settings(dataset=dataset, images_per_class=LABELLED, val_fraction=0.5, seed=seed)
            augmented = own["augmented"] and strategy.name != "frozen"
            start = strategy._replace(lr=own["lr"], layer_lr_decay=1.0, augmented=augmented)
            # One test image: the search must not look at them, and `train_from` wants at least one.
            run = train_from(start, settings, own["steps"], test_images=1)
            row = {
                "dataset": dataset,
                "start": strategy.name,
                "setting": number,
                "seed": seed,
                "lr": f"{own['lr']:g}",  # as text: `add_rows` rounds numbers to four places
                "steps": own["steps"],
                "augmented": augmented,
                "val_accuracy": run.history.best.val_accuracy,
                "seconds": run.seconds,
            }
            add_rows(TABLE, [row], command)
            print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
