"""The tuning protocol of every comparison: each method gets the same number of trials, on the same seeds.

`tune` tries three learning rates for each method, a factor of 3 apart, and adds the next rate beyond an end
of the grid for as long as the best one lies there. Methods that are settled earlier get further rates until
all grids are equally long. Then it tries the other weight decays at the best rate. A trial is trained once
for each of `SEEDS`, which no result may use, and its score is the mean validation accuracy. The test images
are not looked at.

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

from course_utils.data import Splits, groups_of, labels_of, load_splits
from course_utils.settings import Settings

FACTOR = 3  # between neighbouring learning rates
WEIGHT_DECAYS = (0.01, 0.0, 0.1)  # AdamW's default is tried at all rates, the others at the best rate
SEEDS = (100, 101, 102)
TRIAL = ["method", "lr", "weight_decay"]


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


def chosen(table: str, method: str) -> tuple[float, float]:
    """Return the learning rate and the weight decay of the method's best trial."""
    best = score_trials(read_trials(table)).query("method == @method").iloc[0]
    return float(best.lr), float(best.weight_decay)


def tune(
    table: str,
    middles: dict[str, float],
    run: Callable[[str, float, float, int], list[dict]],
    command: str,
    jobs: int = 2,
) -> None:
    """Try learning rates and weight decays for each method; add the rows of every run to a table.

    Args:
        table: Name of a CSV file in `results`. Runs that it has are not made again.
        middles: For each method, the middle of its first three learning rates.
        run: From a method, a learning rate, a weight decay and a seed to one row for each dataset, with
            `val_accuracy` and `val_loss`.
        command: What makes the table.
        jobs: The number of processes.
    """

    def try_all(trials: list[tuple]) -> None:
        done = set(read_trials(table)[[*TRIAL, "seed"]].itertuples(index=False, name=None))
        runs = [(*trial, seed) for trial in trials for seed in SEEDS if (*trial, seed) not in done]
        made = Parallel(jobs, return_as="generator_unordered")(delayed(_rows)(run, *one) for one in runs)
        for rows in made:
            add_rows(table, rows, command)
            print(*rows[0].values(), flush=True)

    def best_step(method: str) -> int:
        scores = score_trials(read_trials(table))
        best = scores[(scores.method == method) & (scores.weight_decay == default)].iloc[0]
        return next(step for step in range(-20, 20) if rate(middles[method], step) == best.lr)

    default = WEIGHT_DECAYS[0]
    grids = dict.fromkeys(middles, (-1, 1))
    while True:
        steps = {method: range(low, high + 1) for method, (low, high) in grids.items()}
        try_all([(name, rate(middles[name], step), default) for name in steps for step in steps[name]])
        longest = max(map(len, steps.values()))
        wider = {}
        for method, (low, high) in grids.items():
            best = best_step(method)
            if best == low or (best != high and high - low + 1 < longest and best - low <= high - best):
                wider[method] = (low - 1, high)
            elif best == high or high - low + 1 < longest:
                wider[method] = (low, high + 1)
        if not wider:
            break
        grids |= wider
    best = {method: rate(middles[method], best_step(method)) for method in middles}
    try_all([(method, lr, decay) for method, lr in best.items() for decay in WEIGHT_DECAYS[1:]])
    print(score_trials(read_trials(table)).round(4).to_string(index=False))


def _rows(run: Callable, method: str, lr: float, decay: float, seed: int) -> list[dict]:
    # As text: `add_rows` rounds numbers to four places.
    own = {"method": method, "lr": f"{lr:g}", "weight_decay": f"{decay:g}", "seed": seed}
    return [{**own, **row} for row in run(method, lr, decay, seed)]


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
