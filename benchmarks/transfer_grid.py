"""Transfer with few and many images, two targets and three starts: the full table of lesson 07.

    OMP_NUM_THREADS=1 python benchmarks/transfer_grid.py [--seeds 0 1 2 3 4]

Every run is one row of `results/transfer_grid.csv`, every epoch one of `results/transfer_epochs.csv`; a run
that is there already is not made again, so the work can be stopped at any time. All starts get the same
network and the same images, and the learning rate and weight decay that did best in `transfer_rates.py`.
Training from scratch goes on until its curve is flat; fine-tuning, whose curve is flat sooner, gets half as
many steps.
"""

import argparse
import itertools

from joblib import Parallel, delayed
from storing import add_rows, runs_done
from tuning import chosen

from course_utils.evaluation import INIT_STRATEGIES, InitStrategy, Run, train_from
from course_utils.settings import Settings

COMMAND = "OMP_NUM_THREADS=1 python benchmarks/transfer_grid.py"
# For each target, the images of each class, and the steps of 16 images from scratch.
STEPS = {
    "clipart": {5: 150, 20: 300, None: 600},
    "fashion_mnist_sample": {5: 150, 20: 300, 100: 600, None: 750},
}


def epochs_of(run: Run) -> list[dict]:
    """Return one row for each epoch: the seconds since training began, and the validation accuracy."""
    table = run.history.to_frame()
    before = run.seconds - table.seconds.sum()
    own = {name: getattr(run, name) for name in ("dataset", "images_per_class", "start", "seed")}
    return [
        {**own, "epoch": epoch, "seconds": before + seconds, "val_accuracy": accuracy}
        for epoch, seconds, accuracy in zip(
            table.index, table.seconds.cumsum(), table.val_accuracy, strict=True
        )
    ]


def run_once(strategy: InitStrategy, dataset: str, count: int | None, seed: int) -> tuple[dict, list[dict]]:
    """Train once and test once; return the row of the run, and those of its epochs."""
    lr, decay = chosen("transfer_rates.csv", strategy.name)
    steps = STEPS[dataset][count] // (2 if strategy.name == "fine-tuned" else 1)
    settings = Settings(dataset=dataset, images_per_class=count, batch_size=16, seed=seed)
    run = train_from(strategy._replace(lr=lr, weight_decay=decay), settings, steps)
    row = {"asked": "all" if count is None else str(count), "steps": steps}
    row |= {"lr": f"{lr:g}", "weight_decay": f"{decay:g}"}
    row |= {name: value for name, value in run._asdict().items() if name != "history"}
    return row, epochs_of(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--datasets", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    done = runs_done("transfer_grid.csv", "dataset", "asked", "start", "seed")
    targets = [(dataset, count) for dataset in options.datasets for count in STEPS[dataset]]
    runs = [
        (strategy, dataset, count, seed)
        for seed, (dataset, count), strategy in itertools.product(options.seeds, targets, INIT_STRATEGIES)
        if (dataset, "all" if count is None else str(count), strategy.name, seed) not in done
    ]
    made = Parallel(options.jobs, return_as="generator_unordered")(delayed(run_once)(*run) for run in runs)
    for row, epochs in made:
        add_rows("transfer_epochs.csv", epochs, COMMAND)
        add_rows("transfer_grid.csv", [row], COMMAND)
        print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
