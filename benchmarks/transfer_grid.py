"""Does transfer pay? Three starts, two targets, few and many images: the full table of lesson 07.

    python benchmarks/transfer_grid.py [--steps 300] [--seeds 0 1 2]

Every run is one row of `results/transfer_grid.csv`, every epoch one of `results/transfer_epochs.csv`; a run
that is there already is not made again, so the work can be stopped at any time. Both sides get the same
network, images and steps. The first lines of each file, which begin with #, say when, where and how.
"""

import argparse
import datetime
import os
import platform
from pathlib import Path

import pandas as pd
import torch

from course_utils.evaluation import INIT_STRATEGIES, Run, train_from
from course_utils.settings import Settings

RESULTS = Path(__file__).parent / "results"
COUNTS = {"clipart": (5, 20, None), "fashion_mnist_sample": (5, 20, 100, None)}


def add_rows(name: str, rows: list[dict], command: str) -> None:
    """Append rows to a table of results; begin it with what a reader must know."""
    path = RESULTS / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        about = [f"made: {datetime.date.today()}", f"machine: {this_machine()}", f"command: {command}"]
        path.write_text("".join(f"# {line}\n" for line in about) + ",".join(rows[0]) + "\n")
    pd.DataFrame(rows).round(4).to_csv(path, mode="a", header=False, index=False)


def this_machine() -> str:
    """Return what a reader must know of the machine: cores, processor, system and version of torch."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    return f"{os.cpu_count()} cores, {processor}, {platform.system()}, torch {torch.__version__}"


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
    path = RESULTS / "transfer_grid.csv"
    done = (
        pd.read_csv(path, comment="#", dtype={"asked": str})
        if path.exists()
        else pd.DataFrame(columns=["dataset"])
    )
    known = set() if done.empty else set(zip(done.dataset, done.asked, done.start, done.seed, strict=True))
    for seed in options.seeds:
        for dataset, counts in COUNTS.items():
            for count in counts:
                for start in INIT_STRATEGIES:
                    asked = "all" if count is None else str(count)
                    if (dataset, asked, start.name, seed) in known:
                        continue
                    settings = Settings(dataset=dataset, images_per_class=count, seed=seed)
                    run = train_from(start, settings, options.steps)
                    row = {name: value for name, value in run._asdict().items() if name != "history"}
                    row = {"asked": asked, "steps": options.steps, **row}
                    add_rows("transfer_epochs.csv", epochs_of(run), command)
                    add_rows("transfer_grid.csv", [row], command)
                    print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
