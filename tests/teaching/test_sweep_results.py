"""What comes out of a sweep is shown with its interval."""

import pandas as pd
import pytest

from course_teaching.sweep_results import draw_means, means_over_seeds, results_frame


@pytest.fixture
def swept():
    """A table of sweep results with one run of a setting, two of another, and three of a third."""
    rows = [["ok", None, 0, 0.25], ["ok", 0.1, 0, 0.5], ["ok", 0.1, 1, 0.7], ["failed", 0.1, 2, None]]
    rows += [["ok", 0.2, seed, 0.9 + seed / 20] for seed in range(3)]
    return pd.DataFrame(rows, columns=["status", "lr", "seed", "accuracy"])


def test_means_are_taken_over_seeds_with_an_interval_from_three_runs_on(swept):
    means = means_over_seeds(swept.rename(columns={"accuracy": "loss"}), "loss", ["lr", "seed"])
    assert list(means.index) == ["lr None", "lr 0.1", "lr 0.2"]
    assert list(means["mean"]) == pytest.approx([0.25, 0.6, 0.95])
    assert list(means.runs) == [1, 2, 3]
    assert means.low.isna().tolist() == means.high.isna().tolist() == [True, True, False]
    half = 4.30265 * 0.05 / 3**0.5
    assert [means.low.iloc[2], means.high.iloc[2]] == pytest.approx([0.95 - half, 0.95 + half])
    assert list(means_over_seeds(swept, "accuracy", ["seed"]).index) == ["all runs"]


def test_picture_of_two_seeds_shows_the_runs_and_no_accuracy_below_0_or_above_1(swept):
    means = means_over_seeds(swept, "accuracy", ["lr", "seed"])
    assert means.high.iloc[2] == 1
    figure = draw_means(means, "accuracy")
    axes = figure.axes[0]
    figure.draw_without_rendering()
    low, high = axes.dataLim.intervalx
    assert low >= 0 and high <= 1
    assert axes.lines[-1].get_xdata().tolist() == pytest.approx([0.25, 0.5, 0.7, 0.9, 0.95, 1.0])
    assert "at least 3 runs" in axes.get_xlabel() and "at least 3 runs" in figure.description
    settings = "lr None: 0.25 (1 run); lr 0.1: 0.6 (2 runs); lr 0.2: 0.95 (0.8258 to 1, 3 runs)"
    assert settings in figure.description


def test_only_the_highest_of_very_many_settings_are_drawn():
    means = pd.DataFrame({"mean": range(100), "low": None, "high": None}, dtype=float)
    means = means.assign(runs=1, each=[[value] for value in means["mean"]])
    figure = draw_means(means, "accuracy")
    assert "The 40 highest of 100" in figure.description
    assert figure.get_size_inches()[1] < 20


def test_results_have_columns_of_their_own_also_if_a_lesson_records_the_name_of_a_parameter():
    result = {"name": "a", "status": "ok", "seconds": 1.0, "error": None}
    result |= {"parameters": {"seed": 3}, "metrics": {"seed": 7.0, "loss": 2.0}}
    table = results_frame([result], ["seed"])
    assert table.to_dict("records")[0] == {
        **{"name": "a", "status": "ok", "seconds": 1.0},
        **{"seed": 3, "seed_recorded": 7.0, "loss": 2.0, "error": None},
    }
