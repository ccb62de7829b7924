"""Tests of figures of measurements and of training: what is drawn are the numbers that were given."""

import numpy as np
import pandas as pd
import pytest
from small_evaluations import CLASSES, an_evaluation

from course_utils import figures
from course_utils.evaluation.metrics import accuracy_interval
from course_utils.training.history import EpochMetrics, History


def test_spreads_describe_the_middle_of_each_sample():
    figure = figures.spreads({"a": np.arange(-100, 101), "b": 2.0 * np.arange(-100, 101)}, "points")
    assert "a: 95 % lie from -95.0 to 95.0; b: 95 % lie from -190.0 to 190.0" in figure.description
    assert figure.axes[1].get_xlabel() == "points"


def test_confusion_writes_the_counts_with_the_truth_in_rows():
    axes = figures.confusion(an_evaluation([0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 2, 0])).axes[0]
    written = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "1", (0, 1): "2", (1, 1): "1", (2, 2): "1", (2, 0): "1"}
    assert "true" in axes.get_ylabel() and "predicted" in axes.get_xlabel()
    assert [text.get_text() for text in axes.get_yticklabels()] == CLASSES


def test_reliability_shows_each_bin_with_its_interval_and_its_images():
    six = an_evaluation([0, 1] * 3, [0] * 6)  # three right, all 90 % sure
    above, below = figures.reliability({"before": six}).axes
    assert above.get_title() == "before\nerror: 40.0 points"
    points, _, (bars,) = above.containers[0]
    assert points.get_xydata() == pytest.approx(np.array([[90, 50]]))
    low, high = bars.get_segments()[0][:, 1]
    assert (low / 100, high / 100) == pytest.approx(accuracy_interval(3, 6))
    assert [bar.get_height() for bar in below.patches] == [6]
    assert below.patches[0].get_x() == pytest.approx(1300 / 15)


def test_learning_curves_show_the_losses_and_mark_the_best_epoch():
    history = History([EpochMetrics(1, 0.5, 0.5, 0.25, 0.5, 0.1), EpochMetrics(2, 2.0, 0.5, 1.0, 0.5, 0.1)])
    figure = figures.learning_curves(history)
    loss, accuracy = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in loss.lines}
    assert lines["training"] == [0.5, 2.0] and lines["validation"] == [0.25, 1.0]
    marked = next(line for line in accuracy.lines if line.get_label() == "best epoch")
    assert set(marked.get_xdata()) == {1}
    assert "falls" not in figure.description


def test_scores_and_results_draw_every_seed_between_0_and_100():
    runs = pd.DataFrame(
        {
            "dataset": ["clipart", "clipart", "fashion_mnist_sample"],
            "candidate": ["a", "a", "b"],
            "logme": [0.1, 0.2, 0.3],
            "test_accuracy": [0.5, 0.6, 0.7],
        }
    )
    figure = figures.scores_and_results(runs, {"logme": "LogME"}, chance=10)
    assert "Drawings, a: LogME 0.15, accuracy 55.0 %" in figure.description
    assert figure.axes[0].lines[1].get_ydata().tolist() == [50, 60]
    assert all(axes.get_ylim() == (0, 100) for axes in figure.axes)
