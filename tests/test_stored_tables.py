"""Do the stored tables follow the tuning protocol of `benchmarks/tuning.py`?

Each comparison has a table of trials, which chose the settings, and a table of results.
"""

import sys

import numpy as np
import pandas as pd
import pytest

from course_utils.data.loaders import labels_of
from course_utils.data.splits import groups_of
from course_utils.evaluation.comparison import INIT_STRATEGIES
from course_utils.evaluation.shift import WAYS
from course_utils.settings import REPOSITORY_FOLDER, Settings
from course_utils.text.comparison import INIT_STRATEGIES as TEXT_STRATEGIES

sys.path.insert(0, str(REPOSITORY_FOLDER / "benchmarks"))
from tuning import SEEDS, TIE, TRIAL, fold, read_trials, score_trials, tune

COMPARISONS = {  # the table of trials: the table of results, and its column with the methods
    "transfer_rates.csv": ("transfer_grid.csv", "start"),
    "shift_rates.csv": ("shift.csv", "way"),
    "text_rates.csv": ("text_grid.csv", "start"),
    "adapting_rates_films.csv": ("adapting.csv", "way"),
    "adapting_rates_clipart.csv": ("adapting.csv", "way"),
}


def results(name):
    return pd.read_csv(REPOSITORY_FOLDER / "benchmarks" / "results" / name, comment="#")


def faults_of(trials: pd.DataFrame) -> list[str]:
    """Return what in a table of trials breaks the protocol."""
    faults = []
    seeds = trials.groupby(TRIAL).seed.agg(lambda own: tuple(sorted(set(own))))
    faults += [f"{trial} has the seeds {own}" for trial, own in seeds.items() if own != SEEDS]
    counts = seeds.groupby("method").size()
    if counts.nunique() > 1:
        faults.append(f"unequal trials: {counts.to_dict()}")
    for method, own in score_trials(trials).groupby("method", sort=False):
        own = own.sort_values("lr")
        rates, good = own.lr.to_numpy(), own.val_accuracy.max() - TIE
        for end in (own.iloc[0], own.iloc[-1]):
            if end.val_accuracy >= good:
                faults.append(f"{method}: {end.lr:g}, an edge of {rates.tolist()}, is as good as the best")
        if (rates[1:] / rates[:-1] > 3.5).any():  # 3, and what rounding to two digits adds
            faults.append(f"{method}: there is a gap in {rates.tolist()}")
    return faults


@pytest.mark.parametrize("table", COMPARISONS)
def test_every_method_gets_the_same_trials_and_its_best_rate_is_inside_the_grid(table):
    assert faults_of(read_trials(table)) == []


@pytest.mark.parametrize("table", COMPARISONS)
def test_results_use_other_seeds(table):
    name, column = COMPARISONS[table]
    found = results(name)
    assert not set(found.seed) & set(SEEDS)
    compared = [column, *(name for name in ("dataset", "target", "asked") if name in found)]
    assert found.groupby(compared).seed.nunique().min() >= 3


def tried(table):
    """Return the mean validation accuracy of each method and learning rate."""
    return score_trials(read_trials(table)).set_index(TRIAL).val_accuracy


USED = [
    *(("transfer_rates.csv", start.name, start.lr) for start in INIT_STRATEGIES),
    *(("text_rates.csv", start.name, start.lr) for start in TEXT_STRATEGIES),
    *(("shift_rates.csv", way, phases[-1]["lr"]) for way, phases in WAYS.items() if phases[-1]),
]


@pytest.mark.parametrize("table, method, lr", USED)
def test_the_rates_of_the_lessons_are_as_good_as_the_best_trial(table, method, lr):
    own = tried(table)[method]
    nearest = min(own.index, key=lambda rate: abs(np.log(rate / lr)))
    assert nearest == pytest.approx(lr, rel=0.15)
    assert own[nearest] >= own.max() - TIE


@pytest.mark.parametrize(
    "change, fault",
    [
        (lambda rows: rows[rows.lr != 0.01], "an edge"),
        (lambda rows: rows[(rows.method != "b") | (rows.lr != 0.001)], "unequal trials"),
        (lambda rows: rows[(rows.seed != 102) | (rows.lr != 0.01)], "has the seeds"),
        (lambda rows: rows.replace({"lr": {0.001: 0.0001}}), "gap"),
    ],
)
def test_faults_of_trials_are_found(change, fault):
    rows = pd.DataFrame(
        [
            [method, lr, seed, 0.5 + 0.1 * (lr == 0.003), 1.0]  # both are best at 0.003
            for method in "ab"
            for lr in (0.001, 0.003, 0.01)
            for seed in SEEDS
        ],
        columns=[*TRIAL, "seed", "val_accuracy", "val_loss"],
    )
    assert faults_of(rows) == []
    assert any(fault in found for found in faults_of(change(rows)))


def test_tune_extends_the_grid_until_the_best_rate_is_inside(tmp_path, monkeypatch):
    import storing
    import tuning

    for module in (storing, tuning):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    optima = {"far": 3e-5, "near": 1e-3}

    def run(method, lr, seed):
        score = 1 - abs(np.log10(lr / optima[method])) / 10
        return [{"dataset": "toy", "val_accuracy": score, "val_loss": 1 - score}]

    tune("toy.csv", dict.fromkeys(optima, 1e-3), run, "a command", jobs=1)
    trials = read_trials("toy.csv")
    assert faults_of(trials) == []
    best = score_trials(trials).groupby("method").lr.first()
    assert best["near"] == 1e-3
    assert best["far"] == 3.7e-5
    runs = len(trials)
    tune("toy.csv", dict.fromkeys(optima, 1e-3), run, "a command", jobs=1)
    assert len(read_trials("toy.csv")) == runs  # none is made again


@pytest.mark.parametrize("dataset, count", [("clipart", None), ("fashion_mnist_sample", 30)])
def test_folds_judge_each_labelled_image_once_and_keep_groups_whole(dataset, count):
    settings, judged = Settings(dataset=dataset, images_per_class=count), []
    for seed in SEEDS:
        splits = fold(settings, seed, per_class=20, train_transform=None)
        assert np.bincount(labels_of(splits.val), minlength=10).min() >= 2
        assert np.bincount(labels_of(splits.train), minlength=10).max() <= 20
        assert not set(splits.train.indices) & set(splits.val.indices)
        if dataset == "clipart":
            assert not set(groups_of(splits.train, settings)) & set(groups_of(splits.val, settings))
        judged += splits.val.indices
    assert len(judged) == len(set(judged)) == (389 if dataset == "clipart" else 300)
