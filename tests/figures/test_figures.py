"""Tests of what holds for every figure: it describes itself, names its axes, and leaves pyplot alone."""

import base64
import io
import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from small_evaluations import CLASSES, an_evaluation, some_shifts

from course_utils import figures
from course_utils.training.history import EpochMetrics, History

NOT_MATHEMATICS = r"$\frac{$"  # a class may be called so; matplotlib reads formulas between dollars
DRAWINGS = sorted((Path(figures.__file__).parent / "diagrams").glob("*.svg"))
HISTORY = History([EpochMetrics(1, 1.5, 0.5, 1.25, 0.625, 0.1), EpochMetrics(2, 0.75, 0.5, 0.5, 0.875, 0.1)])
SOME_WRONG = an_evaluation(truth=[0, 0, 0, 1, 2, 2], predicted=[0, 1, 1, 1, 2, 0])
HEAT = torch.linspace(0, 1, 64).reshape(8, 8)
POINTS = np.random.default_rng(0).normal(size=(6, 2))
RANGE = pd.DataFrame({"lr": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], "loss": [2.0, 1.9, 1.0, 0.5, 1.2]})


def images(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in pixels]


def counts(name):
    return pd.DataFrame({"train": [7, 11], "val": [3, 5], "test": [2, 13]}, index=[name, "dog"])


def intervals(name):
    return pd.DataFrame({"accuracy": [0.8, 1.0], "low": [0.7, 0.9], "high": [0.9, 1.0]}, index=[name, "b"])


def runs(name):
    """Runs with 5 images of each class scatter so much that their interval goes beyond 0 and 1."""
    accuracies = {5: [0.1, 0.5, 0.9], 20: [0.74, 0.75, 0.76]}
    rows = [[name, count, "frozen", one] for count, some in accuracies.items() for one in some]
    return pd.DataFrame(rows, columns=["dataset", "images_per_class", "start", "test_accuracy"])


def gains(name):
    accuracies = {5: {"frozen": 0.5, "fine-tuned": 0.4}, 20: {"frozen": 0.5, "fine-tuned": 0.55}}
    rows = [[name, count, 0, *one] for count, some in accuracies.items() for one in some.items()]
    return pd.DataFrame(rows, columns=["dataset", "images_per_class", "seed", "start", "test_accuracy"])


def scored(name):
    rows = [[name, "small", 0.25, 0.5], [name, "large", 0.5, 0.75]]
    return pd.DataFrame(rows, columns=["dataset", "candidate", "logme", "test_accuracy"])


def epochs():
    rows = [["frozen", 0, 0.5, 0.25], ["frozen", 0, 1.0, 0.75], ["from scratch", 0, 8.0, 0.5]]
    return pd.DataFrame(rows, columns=["start", "seed", "seconds", "val_accuracy"])


def fault_costs(name):
    rows = [[name, "grey", "inference only", 2.0, 1.0, 3.0], [name, "BGR", "inference only", 5.0, -1.0, 9.0]]
    columns = ["dataset", "fault", "way", "cost", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(right_accuracy=0.75)


def runs_of(name):
    rows = [
        (name, "head", 0.5, 0.5),
        (name, "LoRA", 0.6, 0.7),
        ("dog", "head", 0.5, 0.5),
        ("dog", "all", 0.4, 0.4),
    ]
    rows = [(test, way, seed, own[seed]) for test, way, *own in rows for seed in range(2)]
    return pd.DataFrame(rows, columns=["test", "way", "seed", "accuracy"])


def answers(name, probability):
    return pd.DataFrame({"class": [name, "dog"], "probability": [probability, 1 - probability]})


def called(name):
    return SOME_WRONG._replace(classes=[name, "dog", "ship"])


# By name: the figure, with a name in it where it writes names, and what its description must contain.
FIGURES = {
    "image_grid": (lambda name: figures.image_grid(images(7), [name, *"bcdefg"], "7 pets"), ["7 pets"]),
    "class_counts": (
        lambda name: figures.class_counts(counts(name)),
        ["train, val, test", "cat: 7, 3, 2", "dog: 11, 5, 13"],
    ),
    "bars": (
        lambda name: figures.bars(pd.Series({name: 0.5, "b": 1234.0}), "parts"),
        ["parts: cat 0.5, b 1,234"],
    ),
    "confusion": (
        lambda name: figures.confusion(called(name)),
        ["3 classes", "3 of 6", "cat taken for dog, 2 times"],
    ),
    "reliability": (
        lambda name: figures.reliability({name: SOME_WRONG, "after": an_evaluation([0, 1, 2], [0, 1, 2])}),
        ["cat: mean confidence 90.0%, accuracy 50.0%, expected calibration error 40.0 points"],
    ),
    "heatmaps": (
        lambda name: figures.heatmaps(called(name), [0, 1, 5], images(3), 3 * [HEAT]),
        ["3 pictures", "cat predicted as cat (90%); cat predicted as dog (90%); ship predicted as cat (90%)"],
    ),
    "embedding": (
        lambda name: figures.embedding({f"one\n{name}": POINTS, "b": -POINTS}, SOME_WRONG.labels, CLASSES),
        ["6 images of 3 classes", "one cat; b"],
    ),
    "interval_plot": (
        lambda name: figures.interval_plot(intervals(name)),
        ["cat 0.8 (0.7 to 0.9); b 1.0 (0.9 to 1.0)"],
    ),
    "spreads": (
        lambda name: figures.spreads({name: np.arange(-100, 101)}, "points"),
        ["Histograms of the points. cat: 95 % lie from -95.0 to 95.0"],
    ),
    "fine_tuning_gain": (
        lambda name: figures.fine_tuning_gain(gains(name)),
        ["cat, 5 images: -10.0", "cat, 20 images: +5.0"],
    ),
    "gains_over": (
        lambda name: figures.gains_over(runs_of(name), "head"),
        ["over head", "2 seeds", "cat, LoRA +15.0 (-48.5 to +78.5)", "dog, all -10.0 (-10.0 to -10.0)"],
    ),
    "transfer_curves": (
        lambda name: figures.transfer_curves(runs(name)),
        ["cat, 5 images, frozen: 50 % (0 to 100)", "20 images, frozen: 75 % (73 to 77)"],
    ),
    "score_histograms": (
        lambda name: figures.score_histograms(
            {name: {"known": torch.tensor([1.0, 2.0]), "unknown": torch.tensor([0.0, 0.5, 2.0, 0.0])}},
            {name: 1},
        ),
        ["cat: known 100%, unknown 25%"],
    ),
    "costs": (
        lambda name: figures.costs(fault_costs(name), chance=10),
        ["cat, BGR, inference only 5 (-1 to 9)"],
    ),
    "search_results": (
        lambda name: figures.search_results([("query", images(1)[0], name, [(images(1)[0], "dog", 0.5)])]),
        ["1 searches by picture", "QUERY, query cat; dog ✗ 0.50"],
    ),
    "scores_and_results": (
        lambda name: figures.scores_and_results(scored(name), {"logme": "LogME"}, chance=10),
        ["cat, small: LogME 0.25, accuracy 50.0 %"],
    ),
    "before_and_after": (
        lambda name: figures.before_and_after(images(1)[0], answers("hook", 0.75), answers(name, 0.875)),
        ["the old head predicts hook 75%, dog 25%", "the new head predicts cat 88%, dog 12%"],
    ),
}
WITHOUT_NAMES = {
    "learning_curves": (
        lambda: figures.learning_curves(HISTORY),
        ["2 epochs", "1.50", "0.75", "1.25", "0.50", "epoch is 2, with a validation accuracy of 0.875"],
    ),
    "lr_range": (
        lambda: figures.lr_range(RANGE, chosen=0.001),
        ["from 1e-05 to 1e-01", "lowest near a rate of 1e-02", "A line marks 0.001."],
    ),
    "rates_over_steps": (
        lambda: figures.rates_over_steps(pd.DataFrame({"fc": [0.1, 0.2, 0.0], "layer4": [0.05, 0.1, 0.0]})),
        ["rise for 1 steps", "fc 2.0e-01, layer4 1.0e-01"],
    ),
    "recalls_over_epochs": (
        lambda: figures.recalls_over_epochs(some_recalls()),
        ["plain, 5 epochs: 25 and 75", "sampler, 10 epochs: 50 and 50"],
    ),
    "accuracy_over_time": (
        lambda: figures.accuracy_over_time(epochs(), level=0.5),
        ["frozen ends at 75 % after 1.0 s", "marks 50 %"],
    ),
    "shift_curves": (
        lambda: figures.shift_curves(some_shifts()),
        ["noise 2: accuracy 40 % (30 to 50), confidence 65 %"],
    ),
}
ALL = [*FIGURES, *WITHOUT_NAMES]
WITHOUT_AXES = ("heatmaps", "image_grid", "search_results")


def some_recalls():
    rows = [(draw, epochs, way) for draw in (0, 1) for epochs in (5, 10) for way in ("plain", "sampler")]
    table = pd.DataFrame(rows, columns=["draw", "epochs", "way"])
    rare = table.way.map({"plain": 0.2, "sampler": 0.45}) + 0.1 * table.draw
    return table.assign(recall_rare=rare, recall_common=1 - rare)


def pyplot_state():
    return matplotlib.get_backend(), dict(matplotlib.rcParams), plt.get_fignums()


@pytest.fixture(scope="module")
def drawn():
    """Return every figure, drawn once, with its output in a notebook; pyplot must not notice."""
    before = pyplot_state()
    drawn = {name: draw("cat") for name, (draw, _) in FIGURES.items()}
    drawn |= {name: draw() for name, (draw, _) in WITHOUT_NAMES.items()}
    drawn = {name: (figure, figure._repr_mimebundle_()) for name, figure in drawn.items()}
    assert pyplot_state() == before
    return drawn


def test_no_figure_of_the_front_door_is_forgotten_here():
    assert set(figures.__all__) == {*ALL, "diagram"}


@pytest.mark.parametrize("name", ALL)
def test_figure_is_a_png_picture_that_describes_its_main_numbers(drawn, name):
    figure, (data, metadata) = drawn[name]
    for part in (FIGURES | WITHOUT_NAMES)[name][1]:
        assert part in figure.description
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.format == "PNG"
    assert np.asarray(picture.convert("L")).std() > 1  # something is drawn
    assert metadata["image/png"]["alt"] == figure.description
    assert figure.description in data["text/plain"]


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.stem)
def test_diagram_is_the_picture_of_a_drawing_with_its_description(drawing):
    data, metadata = DisplayFormatter().format(figures.diagram(drawing.stem))
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    width, height = re.search(r'width="(\d+)" height="(\d+)"', drawing.read_text(encoding="utf-8")).groups()
    assert picture.size == (int(width), int(height))
    assert metadata["image/png"]["alt"].startswith("Diagram")
    assert data["text/plain"] == f"<Figure: {metadata['image/png']['alt']}>"


@pytest.mark.parametrize("name", [name for name in ALL if name not in WITHOUT_AXES])
def test_every_axis_with_numbers_is_labelled(drawn, name):
    panels = [axes for axes in drawn[name][0].axes if axes.axison]
    assert panels
    for axes in panels:
        colorbar = axes.get_label() == "<colorbar>"
        row = axes.get_shared_y_axes().get_siblings(axes)  # names at the left of a row of panels are enough
        names = [text.get_text().strip("−-.0123456789") for one in row for text in one.get_yticklabels()]
        assert axes.get_ylabel() or (any(names) and not colorbar)
        shared = axes.get_shared_x_axes().get_siblings(axes)  # one label under a column of panels is enough
        assert colorbar or any(one.get_xlabel() for one in shared)


@pytest.mark.parametrize("name", FIGURES)
def test_a_name_with_dollars_is_written_and_not_read_as_mathematics(name):
    figure = FIGURES[name][0](NOT_MATHEMATICS)
    figure.savefig(io.BytesIO())
    written = [text for text in figure.findobj(matplotlib.text.Text) if "frac" in text.get_text()]
    assert written and not any(text.get_parse_math() for text in written)


def test_transfer_curves_stay_between_0_and_100_and_draw_every_run():
    (axes,) = figures.transfer_curves(runs("cat")).axes
    low, high = axes.get_ylim()
    assert (low, high) == (0, 100)
    drawn = [line.get_ydata() for line in axes.lines if line.get_marker() == "."]
    assert sorted(np.concatenate(drawn)) == pytest.approx([10, 50, 74, 75, 76, 90])
    (bars,) = (c for c in axes.collections if hasattr(c, "get_segments") and c.get_segments())
    ends = np.concatenate([segment[:, 1] for segment in bars.get_segments()])
    assert ends.min() >= 0 and ends.max() <= 100
