"""Learning rates for each way to initialise the network of lesson 07.

    python benchmarks/transfer_rates.py [--dataset clipart] [--images-per-class 20] [--steps 100]

Each start is tried with several rates, on one seed that no reported run uses, and judged on validation
images. The rates in `course_utils/evaluation/comparison.py` were chosen by this table,
`results/transfer_rates.csv`, which every run adds to.
"""

import argparse

from storing import add_rows

from course_utils.evaluation import INIT_STRATEGIES, train_from
from course_utils.settings import Settings

COMMAND = "python benchmarks/transfer_rates.py, and the same with --dataset fashion_mnist_sample"
SEED = 100
RATES = {"from scratch": (3e-4, 1e-3, 3e-3), "frozen": (2e-3, 6e-3, 2e-2), "fine-tuned": (1e-4, 3e-4, 1e-3)}
DECAYS = {"from scratch": (1.0,), "frozen": (1.0,), "fine-tuned": (1.0, 0.7)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dataset", default="clipart")
    parser.add_argument("--images-per-class", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    settings = Settings(dataset=options.dataset, images_per_class=options.images_per_class, seed=SEED)
    for strategy in INIT_STRATEGIES:
        for decay in DECAYS[strategy.name]:
            for lr in RATES[strategy.name]:
                run = train_from(strategy._replace(lr=lr, layer_lr_decay=decay), settings, options.steps)
                best = run.history.best
                row = {"dataset": options.dataset, "start": strategy.name, "lr": lr, "layer_lr_decay": decay}
                row |= {"val_loss": best.val_loss, "val_accuracy": best.val_accuracy, "seconds": run.seconds}
                add_rows("transfer_rates.csv", [row], COMMAND)
                print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
