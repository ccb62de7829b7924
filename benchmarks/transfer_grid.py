"""Transfer with few and many images, two targets and three starts: the full table of lesson 07.

    python benchmarks/transfer_grid.py [--steps 300] [--seeds 0 1 2]

Every run is one row of `results/transfer_grid.csv`, every epoch one of `results/transfer_epochs.csv`; a run
that is there already is not made again, so the work can be stopped at any time. Both sides get the same
network, images and steps. Each file begins with its date, machine and command, in lines with a #.
"""

import argparse
import itertools

from storing import add_rows, runs_done

from course_utils.evaluation import INIT_STRATEGIES, Run, train_from
from course_utils.settings import Settings

COUNTS = {"clipart": (5, 20, None), "fashion_mnist_sample": (5, 20, 100, None)}


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    command = f"python benchmarks/transfer_grid.py --steps {options.steps}"
    done = runs_done("transfer_grid.csv", "dataset", "asked", "start", "seed")
    targets = [(dataset, count) for dataset, counts in COUNTS.items() for count in counts]
    for seed, (dataset, count), strategy in itertools.product(options.seeds, targets, INIT_STRATEGIES):
        asked = "all" if count is None else str(count)
        if (dataset, asked, strategy.name, seed) in done:
            continue
        settings = Settings(dataset=dataset, images_per_class=count, seed=seed)
        run = train_from(strategy, settings, options.steps)
        row = {name: value for name, value in run._asdict().items() if name != "history"}
        row = {"asked": asked, "steps": options.steps, **row}
        add_rows("transfer_epochs.csv", epochs_of(run), command)
        add_rows("transfer_grid.csv", [row], command)
        print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
