"""Tests of figures of measurements and of training: what is drawn are the numbers that were given."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from small_evaluations import CLASSES, an_evaluation, some_shifts
from torchvision.models import resnet50

from course_utils import figures
from course_utils.evaluation.metrics import accuracy_interval
from course_utils.training.history import EpochMetrics, History


def test_bars_carry_their_values():
    axes = figures.bars(pd.Series({"a": 0.5, "b": 1234.0}), "parts", "a 0.5, b 1234").axes[0]
    assert {text.get_text() for text in axes.texts} == {"0.5", "1,234"}


def test_untrained_heads_are_drawn_beside_chance():
    table = pd.DataFrame({"loss": [1.4, 1.3], "accuracy": [0.2, 0.35]}, index=["head 0", "head 1"])
    figure = figures.untrained_heads(table, num_classes=4)
    chances = [axes.lines[0].get_xdata()[0] for axes in figure.axes]
    assert chances == pytest.approx([np.log(4), 25])
    assert figure.axes[1].lines[1].get_xdata().tolist() == pytest.approx([20, 35])
    assert "20.0 to 35.0 %" in figure.description


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


def test_confusion_without_a_mistake_names_none():
    description = figures.confusion(an_evaluation([0, 1, 2], [0, 1, 2])).description
    assert "3 of 3" in description and "taken for" not in description


def test_confusion_of_many_classes_shows_the_30_with_the_most_mistakes():
    classes = [f"class {label}" for label in range(102)]
    truth = list(range(102)) * 2 + [70, 70, 90]
    predicted = list(range(102)) * 2 + [80, 81, 91]
    figure = figures.confusion(an_evaluation(truth, predicted, classes=classes))
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(names) == 30 and {f"class {label}" for label in (70, 80, 81, 90, 91)} < set(names)
    assert figure.axes[0].get_title() == "The 30 of 102 classes with the most mistakes."
    written = {
        (text.get_position()[1], text.get_position()[0]): text.get_text() for text in figure.axes[0].texts
    }
    assert written[names.index("class 70"), names.index("class 80")] == "1"
    assert "102 classes: 204 of 207" in figure.description and "The 30 of 102" in figure.description


@pytest.mark.parametrize(("lows", "marked"), [([-3.0, 1.0], [[0, 0]]), ([0.5, 1.0], []), ([-9.0, -7.0], [])])
def test_intervals_have_a_line_at_0_only_where_they_lie_on_both_sides_of_it(lows, marked):
    table = pd.DataFrame(
        {"low": lows, "accuracy": np.add(lows, 2), "high": np.add(lows, 4)}, index=["a", "b"]
    )
    axes = figures.interval_plot(table, "a and b").axes[0]
    assert [line.get_xdata() for line in axes.lines if list(line.get_ydata()) == [0, 1]] == marked
    (bars,) = (one for one in axes.collections if len(one.get_segments()) == 2)
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == table[
        ["low", "high"]
    ].to_numpy().tolist()


def test_reliability_shows_each_bin_with_its_interval_and_its_images():
    six = an_evaluation([0, 1] * 3, [0] * 6)  # three right, all 90 % sure
    above, below = figures.reliability({"before": six}).axes
    assert above.get_title() == "before\nECE 0.400"
    points, _, (bars,) = above.containers[0]
    assert points.get_xydata() == pytest.approx(np.array([[0.9, 0.5]]))
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx(accuracy_interval(3, 6))
    assert [bar.get_height() for bar in below.patches] == [6]
    assert below.patches[0].get_x() == pytest.approx(13 / 15)


def test_embedding_puts_each_class_where_its_images_are():
    points, labels = np.array([[0.0, 1], [2, 3], [4, 5]]), torch.tensor([0, 0, 1])
    figure = figures.embedding({"one\nway": points, "another": -points}, labels, ["cat", "dog"])
    first, second = figure.axes
    assert [axes.get_title() for axes in (first, second)] == ["one\nway", "another"]
    for label, drawn in enumerate(first.collections):
        assert np.array_equal(drawn.get_offsets(), points[labels.numpy() == label])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog"]


def test_no_two_of_many_classes_look_the_same():
    names = [str(number) for number in range(50)]
    axes = figures.embedding({"map": np.zeros((50, 2))}, torch.arange(50), names).axes[0]
    looks = {
        (tuple(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes())
        for points in axes.collections
    }
    assert len(looks) == 50


# Full protanopia, deuteranopia and tritanopia, for linear RGB: Machado, Oliveira and Fernandes (2009).
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.072175],
    [0.0193339, 0.119192, 0.9503041],
]


def in_lab(colour, vision):
    """Return what a kind of colour vision sees of a colour, in CIELAB: a step of about 2 can just be seen."""
    values = np.array(to_rgb(colour))
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = np.array(TO_XYZ) @ np.clip(np.array(VISIONS[vision]) @ linear, 0, 1) / (0.95047, 1, 1.08883)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISIONS)
def test_ten_classes_have_colours_that_everybody_can_tell_apart_and_ten_shapes(vision):
    names = [str(number) for number in range(10)]
    drawn = figures.embedding({"map": np.zeros((10, 2))}, torch.arange(10), names).axes[0].collections
    colours = [in_lab(points.get_facecolor()[0][:3], vision) for points in drawn]
    assert min(np.linalg.norm(one - other) for one, other in combinations(colours, 2)) > 15
    assert len({points.get_paths()[0].vertices.tobytes() for points in drawn}) == 10


def test_costs_have_a_bar_and_an_interval_for_each_way_or_were_not_measured():
    rows = [
        ["clothes", "no scale", "used only", 2.0, 1.0, 3.0],
        ["drawings", "no scale", "used only", -1.0, -4.0, 2.0],
        ["drawings", "BGR", "used only", 5.0, 0.0, 9.0],
        ["drawings", "BGR", "trained and used", 1.0, -2.0, 4.0],
    ]
    columns = ["dataset", "fault", "way", "cost", "low", "high"]
    figure = figures.costs(pd.DataFrame(rows, columns=columns), "Costs.")
    clothes, drawings = figure.axes
    assert [axes.get_title() for axes in (clothes, drawings)] == ["clothes", "drawings"]
    bars = [container for container in drawings.containers if (container.get_label() or "_")[0] != "_"]
    widths = {container.get_label(): [bar.get_width() for bar in container] for container in bars}
    assert widths == {"used only": [-1, 5], "trained and used": [1]}
    ends = [segment[:, 0].tolist() for lines in drawings.collections for segment in lines.get_segments()]
    assert sorted(ends) == [[-4, 2], [-2, 4], [0, 9]]
    assert [text.get_text() for text in clothes.texts] == ["not measured"]
    assert not drawings.texts
    assert clothes.yaxis_inverted() and drawings.yaxis_inverted()
    assert clothes.get_xlim() == drawings.get_xlim()
    assert drawings.get_xlim()[1] >= 9
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(widths)


def test_shift_curves_begin_at_no_shift_and_show_each_interval():
    figure = figures.shift_curves(some_shifts())
    above, below = figure.axes
    assert above.get_title() == "noise"
    lines = {tuple(line.get_ydata()) for line in above.lines}
    assert {(0.8, 0.6, 0.4), (0.75, 0.7, 0.65)} <= lines
    ends = [segment[:, 1].tolist() for bars in below.collections for segment in bars.get_segments()]
    assert np.allclose(ends, [[0, 0.1], [0.05, 0.2], [0.2, 0.3]])
    assert "photographs" not in figure.description


def test_roc_goes_from_corner_to_corner_and_names_the_area():
    figure = figures.roc({"good": (torch.tensor([2.0, 3]), torch.tensor([0.0, 1]))})
    (curve, chance) = figure.axes[0].lines
    assert curve.get_xydata()[0].tolist() == [0, 0] and curve.get_xydata()[-1].tolist() == [1, 1]
    assert [0, 1] in curve.get_xydata().tolist()
    assert chance.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert curve.get_label() == "good: 1.00" and "good: area 1.00" in figure.description


def five_histories():
    losses = range(1, 6)
    return {f"run {loss}": History([EpochMetrics(1, 1.0, 0.5, loss, 0.5, 0.1)]) for loss in losses}


def five_detectors():
    return {f"detector {n}": (torch.tensor([2.0, 3]), torch.tensor([0.0, n])) for n in range(5)}


def five_kinds():
    rows = [[f"kind {n}", files, n + 1.0, 9] for n in range(5) for files in (10, 100)]
    return pd.DataFrame(rows, columns=["from", "files", "seconds, median", "memory at most, MB"])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.loss_curves(five_histories()),
        lambda: figures.rates_over_steps(pd.DataFrame({f"stage {n}": [0.1, 0.2, 0.1] for n in range(5)})),
        lambda: figures.roc(five_detectors()),
        lambda: figures.growth(five_kinds()),
    ],
    ids=["loss_curves", "rates_over_steps", "roc", "growth"],
)
def test_line_charts_draw_five_lines_of_which_no_two_look_the_same(draw):
    lines = [
        line for line in draw().axes[0].lines if line.get_label().startswith(("run", "st", "det", "kind"))
    ]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(lines) == len(looks) == 5


def test_learning_curves_show_the_losses_and_mark_the_best_epoch():
    history = History([EpochMetrics(1, 0.5, 0.5, 0.25, 0.5, 0.1), EpochMetrics(2, 2.0, 0.5, 1.0, 0.5, 0.1)])
    figure = figures.learning_curves(history)
    loss, accuracy = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in loss.lines}
    assert lines["training"] == [0.5, 2.0] and lines["validation"] == [0.25, 1.0]
    marked = next(line for line in accuracy.lines if line.get_label() == "best epoch")
    assert set(marked.get_xdata()) == {1}
    assert "falls" not in figure.description


def test_residual_block_of_a_bottleneck_has_its_three_convolutions():
    description = figures.residual_block(resnet50().layer1[0]).description
    parts = ["1×1 convolution, 64 channels", "3×3 convolution, 64 channels", "1×1 convolution, 256 channels"]
    assert "; ".join(parts) in description
