"""Figures for choosing a network show what was found and measured."""

import pandas as pd
from PIL import Image

from course_utils import figures


def test_search_results_name_query_and_finds():
    picture = Image.new("RGB", (8, 8))
    figure = figures.search_results(
        [("pretrained", picture, "birds", [(picture, "birds", 0.9), (picture, "bugs", 0.8)])]
    )
    assert [axes.get_title() for axes in figure.axes] == ["QUERY\nbirds", "birds\n0.90", "bugs ✗\n0.80"]
    assert "pretrained, query birds: birds 0.90, bugs 0.80" in figure.description


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
