"""Every picture says in words what it shows, names its axes, and leaves pyplot alone."""

import base64
import io

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18, resnet50

from course_utils import figures
from course_utils.evaluation.metrics import Evaluation, most_confident_mistakes
from course_utils.text.attributions import AttributedText
from course_utils.training.history import EpochMetrics, History

CLASSES = ["cat", "dog", "ship"]


def a_picture(number=0, mode="RGB"):
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def an_evaluation(truth, answers):
    probabilities = torch.full((len(answers), 3), 0.05)
    probabilities[torch.arange(len(answers)), answers] = 0.9
    return Evaluation(probabilities, torch.tensor(truth), CLASSES)


def a_history(train_losses=(1.5, 0.75), val_losses=(1.25, 0.5), val_accuracies=(0.625, 0.875)):
    rows = zip(train_losses, val_losses, val_accuracies, strict=True)
    return History(
        [EpochMetrics(n, train, 0.5, val, acc, 0.1) for n, (train, val, acc) in enumerate(rows, 1)]
    )


SOME_WRONG = an_evaluation(truth=[0, 0, 0, 1, 2, 2], answers=[0, 1, 1, 1, 2, 0])
COUNTS = pd.DataFrame({"train": [7, 11], "val": [3, 5], "test": [2, 13]}, index=["cat", "dog"])
HEAT = torch.linspace(0, 1, 64).reshape(8, 8)
PLACES = np.random.default_rng(0).normal(size=(6, 2))
INTERVALS = pd.DataFrame({"accuracy": [0.8, 1.0], "low": [0.7, 0.9], "high": [0.9, 1.0]}, index=["a", "b"])

SUMMARY = pd.DataFrame(
    [["pets", 5, "frozen", 0.5, 0.4, 0.6, 3], ["pets", 20, "frozen", 0.75, 0.7, 0.8, 3]],
    columns=["dataset", "images_per_class", "start", "accuracy", "low", "high", "seeds"],
)
OVER_TIME = pd.DataFrame(
    [
        ["pets", "frozen", 0, 0.5, 0.25],
        ["pets", "frozen", 0, 1.0, 0.75],
        ["pets", "from scratch", 0, 8.0, 0.5],
    ],
    columns=["dataset", "start", "seed", "seconds", "val_accuracy"],
)
GROWTH = pd.DataFrame(
    [["folder", 1000, 2.0, 500.0], ["folder", 4000, 8.0, 510.0], ["tar files", 1000, 1.0, 480.0]],
    columns=["from", "files", "seconds, median", "memory at most, MB"],
)
COSTS = pd.DataFrame(
    [["clothes", "no scale", "used only", 2.0, 1.0, 3.0], ["clothes", "BGR", "used only", 5.0, -1.0, 9.0]],
    columns=["dataset", "fault", "way", "cost", "low", "high"],
)

RANGE = pd.DataFrame({"lr": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], "loss": [2.0, 1.9, 1.0, 0.5, 1.2]})

# Name: how the figure is drawn, and what its description must contain.
DRAWN = {
    "image_grid": (
        lambda: figures.image_grid([a_picture(n) for n in range(7)], list("abcdefg"), "7 pets"),
        ["7 pets"],
    ),
    "class_counts": (
        lambda: figures.class_counts(COUNTS),
        ["train, val, test", "cat: 7, 3, 2", "dog: 11, 5, 13"],
    ),
    "value_histogram": (
        lambda: figures.value_histogram({"raw": torch.rand(4, 3, 8, 8)}, "from 0 to 1"),
        ["from 0 to 1"],
    ),
    "bars": (
        lambda: figures.bars(pd.Series({"a": 0.5, "b": 1234.0}), "parts", "a 0.5, b 1234"),
        ["a 0.5, b 1234"],
    ),
    "learning_curves": (
        lambda: figures.learning_curves(a_history()),
        ["2 epochs", "1.50", "0.75", "1.25", "0.50", "epoch is 2, with a validation accuracy of 0.875"],
    ),
    "confusion": (
        lambda: figures.confusion(SOME_WRONG),
        ["3 classes", "3 of 6", "cat taken for dog, 2 times"],
    ),
    "reliability": (
        lambda: figures.reliability({"before": SOME_WRONG, "after": an_evaluation([0, 1, 2], [0, 1, 2])}),
        ["before: mean confidence 0.900, accuracy 0.500, expected calibration error 0.400"],
    ),
    "heatmaps": (
        lambda: figures.heatmaps(SOME_WRONG, [0, 1, 5], [a_picture(n) for n in range(3)], 3 * [HEAT]),
        ["3 pictures", "cat called cat (90%); cat called dog (90%); ship called cat (90%)"],
    ),
    "embedding": (
        lambda: figures.embedding({"one\nway": PLACES, "another": -PLACES}, SOME_WRONG.labels, CLASSES),
        ["6 images of 3 classes", "one way; another"],
    ),
    "mistakes": (
        lambda: figures.mistakes(most_confident_mistakes(SOME_WRONG, 2), [a_picture(1), a_picture(2)]),
        ["2 most confident", "cat taken for dog (90%)"],
    ),
    "accuracies": (lambda: figures.interval_plot(INTERVALS, "a 0.8, b 1.0"), ["a 0.8, b 1.0"]),
    "loss_curves": (
        lambda: figures.loss_curves({"thawed": a_history(), "kept": a_history()}),
        ["thawed: ", "kept: "],
    ),
    "lr_range": (lambda: figures.lr_range(RANGE), ["from 1e-05 to 1e-01", "lowest near a rate of 1e-02"]),
    "rates_over_steps": (
        lambda: figures.rates_over_steps(pd.DataFrame({"fc": [0.1, 0.2, 0.0], "layer4": [0.05, 0.1, 0.0]})),
        ["rise for 1 steps", "fc 2.0e-01, layer4 1.0e-01"],
    ),
    "transfer_curves": (
        lambda: figures.transfer_curves(SUMMARY),
        ["pets, 5 images, frozen: 50 % (40 to 60)", "20 images, frozen: 75 % (70 to 80)"],
    ),
    "accuracy_over_time": (
        lambda: figures.accuracy_over_time(OVER_TIME, level=0.5),
        ["frozen ends at 75 % after 1.0 s", "marks 50 %"],
    ),
    "growth": (lambda: figures.growth(GROWTH), ["folder, 1,000 files: 2.0 s, 500 MB"]),
    "costs": (lambda: figures.costs(COSTS, "BGR costs 5.0"), ["BGR costs 5.0"]),
    "token_heatmap": (
        lambda: figures.token_heatmap([AttributedText("answered positive", ["not", "bad"], [-0.5, 0.25])]),
        ["answered positive: most for it bad (+0.25), least not (-0.50)"],
    ),
    "residual_block": (
        lambda: figures.residual_block(resnet18().layer1[0]),
        ["3×3 convolution, 64 channels"],
    ),
}

ALL_FIGURES = pytest.mark.parametrize("name", DRAWN)
WITHOUT_AXES = ("heatmaps", "image_grid", "mistakes", "residual_block", "token_heatmap")


@pytest.fixture(scope="module")
def drawn():
    """Return every figure of the course, drawn once."""
    return {name: draw() for name, (draw, _) in DRAWN.items()}


def test_no_figure_of_the_room_is_forgotten_here():
    assert set(figures.__all__) - {"DescribedFigure"} == set(DRAWN)


@ALL_FIGURES
def test_figure_describes_itself_with_its_main_numbers(drawn, name):
    assert isinstance(drawn[name], figures.DescribedFigure)
    for part in DRAWN[name][1]:
        assert part in drawn[name].description


@ALL_FIGURES
def test_notebook_is_given_a_png_picture_with_its_alternative_text(drawn, name):
    data, metadata = drawn[name]._repr_mimebundle_()
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    picture.load()
    assert picture.format == "PNG"
    assert np.asarray(picture.convert("L")).std() > 1  # something is drawn
    assert metadata["image/png"]["alt"] == drawn[name].description
    assert drawn[name].description in data["text/plain"]


@pytest.mark.parametrize("name", [name for name in DRAWN if name not in WITHOUT_AXES])
def test_every_axis_with_numbers_says_what_they_are(drawn, name):
    panels = [axes for axes in drawn[name].axes if axes.axison]
    assert panels
    for axes in panels:
        if axes.get_label() == "<colorbar>":
            assert axes.get_ylabel()
            continue
        assert axes.get_xlabel()
        names_in_words = any(text.get_text().strip("−-.0123456789") for text in axes.get_yticklabels())
        assert axes.get_ylabel() or names_in_words


NOT_MATHEMATICS = r"$\frac{$"  # a class may be called so; matplotlib reads formulas between dollars
ODD = an_evaluation([0, 1, 2], [1, 1, 2])._replace(classes=[NOT_MATHEMATICS, "5$", "dog"])
ODD_TABLE = INTERVALS.set_axis([NOT_MATHEMATICS, "b"])
ODD_GRID = SUMMARY.assign(dataset=NOT_MATHEMATICS)

ODD_NAMES = {
    "image_grid": lambda: figures.image_grid([a_picture()], [NOT_MATHEMATICS], "One."),
    "class_counts": lambda: figures.class_counts(COUNTS.set_axis([NOT_MATHEMATICS, "dog"])),
    "bars": lambda: figures.bars(pd.Series({NOT_MATHEMATICS: 1.0}), "images", "One."),
    "confusion": lambda: figures.confusion(ODD),
    "reliability": lambda: figures.reliability({NOT_MATHEMATICS: ODD}),
    "heatmaps": lambda: figures.heatmaps(ODD, [0], [a_picture()], [HEAT]),
    "embedding": lambda: figures.embedding({NOT_MATHEMATICS: PLACES[:3]}, ODD.labels, ODD.classes),
    "mistakes": lambda: figures.mistakes(most_confident_mistakes(ODD, 2), [a_picture()]),
    "accuracies": lambda: figures.interval_plot(ODD_TABLE, "One."),
    "loss_curves": lambda: figures.loss_curves({NOT_MATHEMATICS: a_history()}),
    "transfer_curves": lambda: figures.transfer_curves(ODD_GRID),
    "costs": lambda: figures.costs(COSTS.assign(dataset=NOT_MATHEMATICS), "One."),
    "token_heatmap": lambda: figures.token_heatmap(
        [AttributedText(NOT_MATHEMATICS, [NOT_MATHEMATICS, "$", "b"], [-0.5, 0.25, 0.1])]
    ),
}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_with_dollars_is_written_and_not_read_as_mathematics(name):
    figure = ODD_NAMES[name]()
    figure.savefig(io.BytesIO())
    written = [text for text in figure.findobj(matplotlib.text.Text) if "frac" in text.get_text()]
    assert written
    for text in written:
        shown, mathematics = text._preprocess_math(text.get_text())
        assert NOT_MATHEMATICS in shown and not mathematics


def test_description_is_one_line():
    assert figures.DescribedFigure("  one\n   line ").description == "one line"


def test_figure_can_be_saved_outside_a_notebook(drawn, tmp_path):
    drawn["confusion"].savefig(tmp_path / "confusion.png")
    assert Image.open(tmp_path / "confusion.png").format == "PNG"


@pytest.mark.parametrize(
    "image",
    [
        a_picture(),
        a_picture(mode="L"),
        torch.randn(3, 8, 8),
        torch.randn(1, 8, 8),
        torch.randn(8, 8),
        torch.zeros(3, 8, 8),
        torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8),
        torch.randn(3, 8, 8, requires_grad=True),
    ],
    ids=["PIL", "grey PIL", "tensor", "one channel", "matrix", "all equal", "bytes", "with gradient"],
)
def test_grid_takes_pictures_and_tensors(image):
    figure = figures.image_grid([image, image], ["one", "two"], "Twice the same.")
    figure._repr_mimebundle_()
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]


def test_grid_shows_a_picture_as_it_is_and_stretches_a_tensor():
    picture, tensor = a_picture(), torch.tensor([[-2.0, 0.0], [1.0, 2.0]])
    figure = figures.image_grid([picture, tensor], ["picture", "tensor"], "Two.")
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(shown[0], np.asarray(picture))
    assert shown[1].tolist() == [[0, 0.5], [0.75, 1]]


def test_grid_needs_a_title_for_every_picture():
    with pytest.raises(ValueError, match="zip"):
        figures.image_grid([a_picture(), a_picture()], ["one"], "Two pictures, one title.")


def test_class_counts_are_stacked_to_the_number_of_images_of_the_class(drawn):
    axes = drawn["class_counts"].axes[0]
    ends = [container[1].get_x() + container[1].get_width() for container in axes.containers]
    assert ends == [11, 11 + 5, 11 + 5 + 13]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "val", "test"]


def test_bars_carry_their_values(drawn):
    written = {text.get_text() for text in drawn["bars"].axes[0].texts}
    assert written == {"0.5", "1,234"}


def test_learning_curves_show_the_losses_and_mark_the_best_epoch(drawn):
    loss, accuracy = drawn["learning_curves"].axes
    lines = {line.get_label(): list(line.get_ydata()) for line in loss.lines}
    assert lines["training"] == [1.5, 0.75]
    assert lines["validation"] == [1.25, 0.5]
    marked = next(line for line in accuracy.lines if line.get_label() == "best epoch")
    assert set(marked.get_xdata()) == {2}


def test_learning_curves_do_not_say_that_a_rising_loss_falls():
    history = a_history(train_losses=(0.5, 2.0), val_losses=(0.5, 2.0))
    assert "falls" not in figures.learning_curves(history).description


def test_confusion_writes_the_counts_with_the_truth_in_rows(drawn):
    axes = drawn["confusion"].axes[0]
    written = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "1", (0, 1): "2", (1, 1): "1", (2, 2): "1", (2, 0): "1"}
    assert "true" in axes.get_ylabel() and "answer" in axes.get_xlabel()
    assert [text.get_text() for text in axes.get_yticklabels()] == CLASSES


def test_confusion_without_a_mistake_names_none():
    description = figures.confusion(an_evaluation(truth=[0, 1, 2], answers=[0, 1, 2])).description
    assert "3 of 3" in description
    assert "taken for" not in description


def test_mistakes_carry_truth_answer_and_confidence(drawn):
    titles = [axes.get_title() for axes in drawn["mistakes"].axes]
    assert titles == ["cat\nsaid: dog\n90% sure"] * 2


def test_mistakes_of_a_network_without_any_are_a_figure_too():
    perfect = an_evaluation(truth=[0, 1, 2], answers=[0, 1, 2])
    figure = figures.mistakes(most_confident_mistakes(perfect, 5), [])
    figure._repr_mimebundle_()
    assert figure.description


def test_residual_block_of_a_bottleneck_has_its_three_convolutions():
    description = figures.residual_block(resnet50().layer1[0]).description
    assert (
        "1×1 convolution, 64 channels; 3×3 convolution, 64 channels; 1×1 convolution, 256 channels"
        in description
    )


def test_pyplot_is_not_touched():
    before = (matplotlib.get_backend(), dict(matplotlib.rcParams), plt.get_fignums())
    for draw, _ in DRAWN.values():
        draw()._repr_mimebundle_()
    assert (matplotlib.get_backend(), dict(matplotlib.rcParams), plt.get_fignums()) == before
