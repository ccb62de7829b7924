"""Transfer with few and many images, two targets and three starts: the full table of lesson 07.

    python benchmarks/transfer_grid.py [--seeds 0 1 2 3 4]
    python benchmarks/transfer_grid.py --longer

Every run is one row of `results/transfer_grid.csv`, every epoch one of `results/transfer_epochs.csv`; a run
that is there already is not made again, so the work can be stopped at any time. All starts get the same
network, images and steps. The second command asks whether training from scratch was stopped too early: it
trains twice as long on all drawings (`results/transfer_longer.csv`). Each file begins with its date, machine
and command, in lines with a #.
"""

import argparse
import itertools

from storing import add_rows, runs_done

from course_utils.evaluation.comparison import INIT_STRATEGIES, Run, train_from
from course_utils.settings import Settings

STEPS = 300
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
    parser.add_argument("--longer", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    command, table = "python benchmarks/transfer_grid.py", "transfer_grid.csv"
    steps, starts = STEPS, INIT_STRATEGIES
    targets = [(dataset, count) for dataset, counts in COUNTS.items() for count in counts]
    if options.longer:
        command, table = f"{command} --longer", "transfer_longer.csv"
        steps, starts, targets = 2 * STEPS, starts[:1], [("clipart", None)]
    done = runs_done(table, "dataset", "asked", "start", "seed")
    for seed, (dataset, count), strategy in itertools.product(options.seeds, targets, starts):
        asked = "all" if count is None else str(count)
        if (dataset, asked, strategy.name, seed) in done:
            continue
        settings = Settings(dataset=dataset, images_per_class=count, seed=seed)
        run = train_from(strategy, settings, steps)
        row = {name: value for name, value in run._asdict().items() if name != "history"}
        row = {"asked": asked, "steps": steps, **row}
        if not options.longer:
            add_rows("transfer_epochs.csv", epochs_of(run), command)
        add_rows(table, [row], command)
        print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
