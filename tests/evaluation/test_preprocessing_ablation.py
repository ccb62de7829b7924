"""Each faulty preprocessing has the fault that it is named after; costs are right less wrong."""

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset
from torchvision.models import ResNet50_Weights
from torchvision.transforms import v2

from course_utils import figures
from course_utils.data.backbone_inputs import backbone_transform
from course_utils.data.weights import ResNet18_64px_Weights
from course_utils.evaluation.metrics import Evaluation, paired_difference
from course_utils.evaluation.preprocessing_ablation import (
    WAYS,
    TransformedDataset,
    alters_images,
    channel_statistics,
    costs_table,
    draw_training_images,
    evaluate_heads,
    faulty_preprocessings,
    right_steps,
    with_steps,
)
from course_utils.teaching.lessons import lesson_notebooks

OWN = ResNet18_64px_Weights.DEFAULT.transforms()
MEAN, STD = [0.5, 0.25, 0.125], [0.5, 0.25, 1.0]


def a_picture(seed=0, size=(100, 80), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def right():
    return with_steps(right_steps(OWN))


@pytest.fixture
def faulty():
    return faulty_preprocessings(OWN, MEAN, STD)


def in_grey_levels(image, mean=OWN.mean, std=OWN.std):
    """Undo the normalisation: back to values from 0 to 1."""
    return v2.functional.normalize(
        image, [-m / s for m, s in zip(mean, std, strict=True)], 1 / torch.tensor(std)
    )


@pytest.mark.parametrize("weights", [ResNet18_64px_Weights.DEFAULT, ResNet50_Weights.IMAGENET1K_V2], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_right_steps_one_after_the_other_are_the_weights_own_preprocessing(weights, mode):
    picture = a_picture(size=(300, 240), mode=mode)
    steps = with_steps(right_steps(weights.transforms()))
    assert list(right_steps(weights.transforms())) == ["RGB", "Resize", "ToTensor", "Normalize"]
    torch.testing.assert_close(steps(picture), backbone_transform(weights)(picture), rtol=0, atol=1e-5)


def test_every_fault_gives_a_float_image_with_three_channels_that_differs_from_the_right_one(faulty, right):
    for name, preprocess in faulty.items():
        image = preprocess(a_picture())
        assert image.dtype == torch.float32 and image.shape[0] == 3, name
        assert alters_images(preprocess, right, [(a_picture(), 0)]), name


def test_bgr_is_the_right_image_with_red_and_blue_exchanged_before_it_is_normalised(faulty, right):
    expected = in_grey_levels(right(a_picture())).flip(0)
    torch.testing.assert_close(in_grey_levels(faulty["BGR"](a_picture())), expected, rtol=0, atol=1e-5)


def test_0_to_255_is_255_times_as_bright(faulty, right):
    image = in_grey_levels(faulty["0 to 255"](a_picture()))
    assert image.max() > 150
    torch.testing.assert_close(image / 255, in_grey_levels(right(a_picture())), rtol=0, atol=1e-5)


def test_not_normalised_holds_the_plain_values_from_0_to_1(faulty, right):
    image = faulty["not normalised"](a_picture())
    assert image.min() >= 0 and image.max() <= 1
    torch.testing.assert_close(image, in_grey_levels(right(a_picture())), rtol=0, atol=1e-5)


def test_own_mean_and_std_are_those_that_were_given(faulty, right):
    image = in_grey_levels(faulty["own mean and std"](a_picture()), MEAN, STD)
    torch.testing.assert_close(image, in_grey_levels(right(a_picture())), rtol=0, atol=1e-5)


def test_grey_has_three_equal_channels_of_the_usual_brightness(faulty):
    image = in_grey_levels(faulty["grey"](a_picture()))
    torch.testing.assert_close(image[0], image[2], rtol=0, atol=1e-5)
    expected = v2.Compose([v2.Grayscale(), v2.Resize(64), v2.CenterCrop(64), v2.PILToTensor()])(a_picture())
    torch.testing.assert_close(image[:1], expected / 255, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "pixels"), [("half the size", 32), ("1.5 times the size", 96)])
def test_wrong_size_is_the_named_one(faulty, name, pixels):
    image = faulty[name](a_picture(size=(64, 64)))
    assert image.shape == (3, pixels, pixels)
    expected = v2.Compose([v2.Resize((pixels, pixels)), v2.PILToTensor()])(a_picture(size=(64, 64)))
    torch.testing.assert_close(in_grey_levels(image), expected / 255, rtol=0, atol=1.5 / 255)


def test_nearest_neighbour_invents_no_colour_and_no_antialias_blurs_less(faulty, right):
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (256, 128)), mode="L").convert("RGB")
    nearest = in_grey_levels(faulty["nearest neighbour"](stripes)).unique()
    assert ((nearest.abs() < 0.01) | ((nearest - 1).abs() < 0.01)).all()
    noise = a_picture(size=(256, 256))
    assert faulty["no antialias"](noise).std() > 1.5 * right(noise).std()


def test_colour_faults_and_antialiasing_cannot_be_measured_on_small_grey_pictures(faulty, right):
    small = [(a_picture(seed, size=(28, 28), mode="L"), 0) for seed in range(3)]
    changed = {name for name, preprocess in faulty.items() if alters_images(preprocess, right, small)}
    assert set(faulty) - changed == {"BGR", "grey", "no antialias"}
    # One picture in colour is enough.
    assert alters_images(faulty["BGR"], right, [*small, (a_picture(), 0)])


def test_one_grey_level_from_another_way_to_round_is_no_change(right):
    level = 1 / 255 / torch.tensor(OWN.std).reshape(3, 1, 1)
    pictures = [(a_picture(), 0)]
    assert not alters_images(lambda picture: right(picture) + level, right, pictures)
    assert alters_images(lambda picture: right(picture) + 2 * level, right, pictures)


def test_channel_statistics_are_those_of_all_pixels():
    pictures = [(a_picture(seed, size=(64, 64)), 0) for seed in range(5)]
    mean, std = channel_statistics(pictures, OWN)
    pixels = torch.stack([v2.functional.pil_to_tensor(picture) for picture, _ in pictures]).double() / 255
    assert mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), abs=1e-6)
    assert std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist(), abs=1e-6)


def test_prepared_pictures_keep_their_order_and_labels(right):
    pictures = [(a_picture(seed), seed) for seed in range(3)]
    prepared = TransformedDataset(pictures, right)
    assert len(prepared) == 3
    assert [prepared[number][1] for number in range(3)] == [0, 1, 2]
    assert torch.equal(prepared[2][0], right(a_picture(2)))


def test_training_images_are_four_fifths_of_each_class_and_others_for_another_seed():
    labels = np.repeat([0, 1], [10, 30])
    drawn = [draw_training_images(labels, seed) for seed in (0, 0, 1)]
    assert np.bincount(labels[drawn[0]]).tolist() == [8, 24]
    assert len(set(drawn[0])) == 32
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()


@pytest.fixture
def results():
    """Answers on features of which a fault mirrors every number: harmless in training, fatal in use."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(40)
    centres = torch.eye(3)[labels] * 6

    def part(sign):
        return TensorDataset(sign * (centres + torch.randn(120, 3, generator=draw)), labels)

    features = {"right": (part(1), part(1)), "mirrored": (part(-1), part(-1))}
    return evaluate_heads(features, ["a", "b", "c"], seeds=(0, 1))


def test_a_fault_in_both_places_is_learned_away_and_one_in_use_alone_is_not(results):
    assert set(results) == {(name, way) for name in ("right", "mirrored") for way in WAYS}
    assert all(len(runs) == 2 and len(runs[0].labels) == 120 for runs in results.values())
    accuracy = {pair: np.mean([run.accuracy for run in runs]) for pair, runs in results.items()}
    assert accuracy["mirrored", "trained and used"] > 0.9
    assert accuracy["mirrored", "used only"] < 0.5


def test_costs_are_right_less_wrong_in_points_with_the_interval_around_them(results):
    table = costs_table(results).set_index(["fault", "way"])
    assert list(table.index) == [("mirrored", way) for way in WAYS]
    for pair, row in table.iterrows():
        right = np.mean([run.accuracy for run in results["right", pair[1]]])
        assert row.accuracy == pytest.approx(np.mean([run.accuracy for run in results[pair]]))
        assert row.cost == pytest.approx(100 * (right - row.accuracy))
        assert row.low <= row.cost <= row.high
    assert table.loc[("mirrored", "used only"), "low"] > 30
    assert table.loc[("mirrored", "trained and used"), "low"] < 5


def test_costs_figure_has_a_bar_and_an_interval_for_each_way_and_says_where_nothing_was_measured():
    table = pd.DataFrame(
        [
            ["clothes", "no scale", "used only", 2.0, 1.0, 3.0],
            ["drawings", "no scale", "used only", -1.0, -4.0, 2.0],
            ["drawings", "BGR", "used only", 5.0, 0.0, 9.0],
            ["drawings", "BGR", "trained and used", 1.0, -2.0, 4.0],
        ],
        columns=["dataset", "fault", "way", "cost", "low", "high"],
    )
    figure = figures.costs(table, "Costs.")
    clothes, drawings = figure.axes
    assert [axes.get_title() for axes in (clothes, drawings)] == ["clothes", "drawings"]
    bars = {c.get_label(): c for c in drawings.containers if c.get_label() in WAYS}
    widths = {way: [bar.get_width() for bar in container] for way, container in bars.items()}
    assert widths == {"used only": [-1, 5], "trained and used": [1]}
    ends = [segment[:, 0].tolist() for lines in drawings.collections for segment in lines.get_segments()]
    assert sorted(ends) == [[-4, 2], [-2, 4], [0, 9]]
    assert [text.get_text() for text in clothes.texts] == ["not measured"]
    assert not drawings.texts
    assert clothes.yaxis_inverted() and drawings.yaxis_inverted()
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(WAYS)


@pytest.fixture(scope="module")
def lesson():
    """What lesson 08 has defined by the time it has made every fault, and its `paired_difference`."""
    notebook = nbformat.read(lesson_notebooks(["08"])[0], as_version=4)
    defined = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            made = "own_faults" in defined and "BGR" in defined["own_faults"]["clipart"]
            if not made or "def paired_difference" in cell.source:
                exec(cell.source, defined)
    return defined


def test_lesson_08_teaches_the_preprocessings_that_the_package_has(lesson, right):
    picture, own = a_picture(size=(150, 150)), lesson["own"]
    assert torch.equal(lesson["right"](picture), right(picture))
    for label, taught in lesson["own_faults"].items():
        packed = faulty_preprocessings(own, *channel_statistics(lesson["pictures"][label], own))
        assert list(taught) == list(packed)
        for name in taught:
            assert torch.equal(taught[name](picture), packed[name](picture)), name


def test_lesson_08_teaches_the_paired_difference_that_the_package_has(lesson):
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (60,), generator=draw)
    first, second = (
        [Evaluation(torch.rand(60, 3, generator=draw), labels, ["a", "b", "c"]) for _ in range(2)]
        for _ in range(2)
    )
    assert lesson["paired_difference"](first, second) == pytest.approx(paired_difference(first, second))
