"""The tuning protocol of every comparison: each method gets the same number of trials, on the same seeds.

`tune` tries three learning rates for each method, a factor of 3 apart, and adds the next rate beyond an end
of the grid for as long as that end is as good as the best rate (within `TIE`). Methods that are settled
earlier get further rates until all grids are equally long. A trial is trained once for each of `SEEDS`, which
no result may use, and its score is the mean validation accuracy. The test images are not looked at.

All methods use AdamW with its default weight decay. It is not tuned: in a few hundred steps it changes the
weights by one or two per cent.

`fold` gives the images of one trial. Three folds take turns, so that every labelled image judges once, by a
network that has seen no image of its group.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.model_selection import StratifiedGroupKFold
from storing import RESULTS, add_rows
from torch.utils.data import Subset

from course_utils.data.loaders import labels_of
from course_utils.data.splits import Splits, groups_of, load_splits
from course_utils.settings import Settings

FACTOR = 3  # between neighbouring learning rates
TIE = 0.005  # of accuracy: two rates that are no further apart are equally good
WEIGHT_DECAY = 0.01  # AdamW's default
SEEDS = (100, 101, 102)
TRIAL = ["method", "lr"]


def rate(middle: float, step: int) -> float:
    """Return the learning rate so many steps of the grid above the middle one."""
    return float(f"{middle * FACTOR**step:.2g}")


def read_trials(table: str) -> pd.DataFrame:
    path = RESULTS / table
    return pd.read_csv(path, comment="#") if path.exists() else pd.DataFrame(columns=[*TRIAL, "seed"])


def score_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each trial: its mean validation accuracy and loss, the best of each method first."""
    scores = trials.groupby(TRIAL, as_index=False)[["val_accuracy", "val_loss"]].mean()
    return scores.sort_values(["method", "val_accuracy", "val_loss"], ascending=[True, False, True])


def tune(
    table: str,
    middles: dict[str, float],
    run: Callable[[str, float, int], list[dict]],
    command: str,
    jobs: int = 2,
) -> None:
    """Try learning rates for each method; add the rows of every run to a table.

    Args:
        table: Name of a CSV file in `results`. Runs that it has are not made again.
        middles: For each method, the middle of its first three learning rates.
        run: From a method, a learning rate and a seed to one row for each dataset, with `val_accuracy` and
            `val_loss`.
        command: What makes the table.
        jobs: The number of processes.
    """
    grids = dict.fromkeys(middles, (-1, 1))  # the lowest and the highest rate, in steps from the middle
    while grids:
        wanted = [
            (method, rate(middles[method], step), seed)
            for method, (low, high) in grids.items()
            for step in range(low, high + 1)
            for seed in SEEDS
        ]
        done = set(read_trials(table)[[*TRIAL, "seed"]].itertuples(index=False, name=None))
        runs = (delayed(_rows)(run, *one) for one in wanted if one not in done)
        for rows in Parallel(jobs, return_as="generator_unordered")(runs):
            add_rows(table, rows, command)
            print(*rows[0].values(), flush=True)
        wider = {}
        longest = max(high - low for low, high in grids.values())
        scores = score_trials(read_trials(table)).set_index(TRIAL).val_accuracy
        for method, (low, high) in grids.items():
            good = scores[method].max() - TIE
            if scores[method, rate(middles[method], high)] >= good:
                wider[method] = (low, high + 1)
            elif scores[method, rate(middles[method], low)] >= good or high - low < longest:
                wider[method] = (low - 1, high)
        grids = {**grids, **wider} if wider else {}
    print(score_trials(read_trials(table)).round(4).to_string(index=False))


def _rows(run: Callable, method: str, lr: float, seed: int) -> list[dict]:
    own = {"method": method, "lr": f"{lr:g}", "seed": seed}  # as text: `add_rows` rounds to four places
    return [{**own, **row} for row in run(method, lr, seed)]


def fold(settings: Settings, seed: int, per_class: int | None, train_transform: Callable | None) -> Splits:
    """Return the images of a trial: one of three folds for validation, the others for training.

    The folds are those of scikit-learn over all labelled images of the settings, without the test images:
    every class is in each, and no group is in two. Of each class, `per_class` images stay for training.
    """
    splits = load_splits(settings.model_copy(update={"seed": 0}), train_transform=train_transform)
    indices = np.sort([*splits.train.indices, *splits.val.indices])
    labels = labels_of(splits.train.dataset)[indices]
    groups = groups_of(splits.train.dataset, settings)
    groups = indices if groups is None else groups[indices]
    folds = StratifiedGroupKFold(len(SEEDS), shuffle=True, random_state=0).split(indices, labels, groups)
    train, val = list(folds)[SEEDS.index(seed)]
    train = draw(labels, train, per_class, seed)
    judged = Subset(splits.val.dataset, indices[val].tolist())
    return Splits(Subset(splits.train.dataset, indices[train].tolist()), judged, judged, splits.classes)


def draw(labels: np.ndarray, indices: Sequence[int], per_class: int | None, seed: int) -> np.ndarray:
    """Return so many random `indices` of each class; None: all."""
    shuffled = np.random.default_rng(seed).permutation(indices)
    by_class = [shuffled[labels[shuffled] == label][:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(by_class))
