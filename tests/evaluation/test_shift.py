"""Tests of corruptions, pictures in another style, three ways to train, and pictures of no known class."""

import pytest
import torch
from small_evaluations import CLASSES, an_evaluation
from small_pictures import photograph
from torch import nn
from torch.utils.data import TensorDataset

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.errors import DataError
from course_utils.evaluation import shift
from course_utils.evaluation.metrics import accuracy_interval
from course_utils.models.weights import ResNet18_64px_Weights
from course_utils.settings import Settings

OWN = Preprocessing.from_weights(ResNet18_64px_Weights.DEFAULT)
KINDS = shift.corruptions(OWN)


PICTURE = photograph((100, 80))  # with soft edges and colours, so that every corruption changes it


def as_pixels(corruption, own=OWN):
    """Return the picture as the network is given it, but not normalised."""
    image = shift.corrupted(own, corruption)(PICTURE)
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (own.mean, own.std))
    return image * std + mean


def test_no_corruption_is_the_preprocessing_of_the_weights():
    image = shift.corrupted(OWN, nn.Identity())(PICTURE)
    expected = Preprocessing.from_weights(ResNet18_64px_Weights.DEFAULT).transform()(PICTURE)
    torch.testing.assert_close(image, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_grows_with_its_strength_and_leaves_a_picture(kind):
    clean = as_pixels(nn.Identity())
    corrupted = [as_pixels(corruption) for corruption in KINDS[kind]]
    distances = [float((image - clean).square().mean()) for image in corrupted]
    assert len(distances) == len(shift.STRENGTHS)
    assert 0 < distances[0] < distances[1] < distances[2]
    for image in corrupted:
        assert image.shape == clean.shape and image.min() > -1e-5 and image.max() < 1 + 1e-5


def test_what_a_corruption_takes_is_what_its_name_says():
    strongest = {kind: as_pixels(by_strength[2]) for kind, by_strength in KINDS.items()}
    clean = as_pixels(nn.Identity())
    assert (strongest["colour"].std(dim=0) < 1e-5).all()  # grey: three channels that are the same
    assert float(strongest["contrast"].std()) < 0.2 * float(clean.std())
    noise = (strongest["noise"] - clean)[:, 16:48, 16:48]
    assert 0.1 < float(noise.std()) < 0.21 and abs(float(noise.mean())) < 0.05


@pytest.fixture
def photographs(tmp_path):
    for name, count in {"ship": 2, "cat": 1, "house": 3}.items():
        (tmp_path / name).mkdir()
        for number in range(count):
            photograph((20 + number, 20)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_pictures_in_another_style_have_the_labels_of_the_known_classes(photographs):
    style = shift.same_classes(photographs, CLASSES, nn.Identity())  # cat, dog, ship
    assert style.classes == CLASSES
    assert [label for _, label in style] == style.targets == [0, 2, 2]
    assert len(set(style.groups)) == 3  # each is a group of its own


def test_pictures_in_another_style_are_grouped_by_the_authors_of_the_table(photographs):
    rows = "file,author\nship/1.png,Ada\nship/0.png,Ben\ncat/0.png,Ada\n"
    (photographs / "photographs.csv").write_text(rows)
    style = shift.same_classes(photographs, CLASSES, nn.Identity())
    assert list(style.groups) == ["Ada", "Ben", "Ada"]


@pytest.mark.parametrize(
    ("classes", "words"), [(["fox"], "no picture of a known class"), (["ship"], "does not exist")]
)
def test_a_folder_without_a_known_class_is_named(photographs, classes, words):
    folder = photographs if classes == ["fox"] else photographs / "nowhere"
    with pytest.raises(DataError, match=words):
        shift.same_classes(folder, classes, nn.Identity())


def test_the_table_has_what_the_results_say():
    results = {
        ("none", 0): an_evaluation([0, 0, 1, 2], [0, 0, 1, 2], 0.9),
        ("noise", 3): an_evaluation([0, 0, 1, 2], [0, 1, 0, 0], 0.75),
    }
    table = shift.shift_table(results)
    assert table[["shift", "strength"]].to_numpy().tolist() == [["none", 0], ["noise", 3]]
    assert table.accuracy.tolist() == [1, 0.25]
    assert table.confidence.tolist() == pytest.approx([0.9, 0.75])
    assert table.error.tolist() == pytest.approx([0.1, 0.5])
    assert tuple(table.loc[1, ["low", "high"]]) == pytest.approx(accuracy_interval(1, 4))


@pytest.fixture
def phases_seen(monkeypatch):
    """What `fit` is asked for, in order: what is trainable, epochs, learning rate, decay."""
    seen = []

    def fit(model, train, val, settings):
        trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        part = "head" if trainable == ["fc.weight", "fc.bias"] else len(trainable)
        seen.append((part, settings.epochs, settings.lr, settings.layer_lr_decay))

    monkeypatch.setattr(shift, "fit", fit)
    return seen


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("head", [("head", 6, 0.01, 1.0)]),
        ("everything", [(62, 6, 1e-3, 0.7)]),
        ("head then everything", [("head", 3, 0.01, 1.0), (62, 3, 1e-3, 0.7)]),
    ],
)
def test_every_way_has_the_same_number_of_epochs_and_its_own_rate(phases_seen, way, expected):
    settings = Settings(images_per_class=5, epochs=6, lr=0.01)
    splits = load_splits(settings)
    model = shift.train_way(shift.WAYS[way], splits, settings)
    assert phases_seen == expected
    assert model.fc.out_features == len(splits.classes)


def test_the_second_phase_goes_on_where_the_first_has_ended():
    settings = Settings(images_per_class=3, epochs=2, batch_size=16)
    splits = load_splits(settings)
    nothing = [{}, {"lr": 1e-9, "layer_lr_decay": 0.7}]  # so small a rate that only the head's phase shows
    both, head = (shift.train_way(phases, splits, settings) for phases in (nothing, [{}]))
    once = shift.train_way([{}], splits, settings.model_copy(update={"epochs": 1}))
    torch.testing.assert_close(both.fc.weight, once.fc.weight, rtol=0, atol=1e-6)
    assert not torch.equal(both.fc.weight, head.fc.weight)


def two_classes(images=400, seed=0):
    """Return features of two classes that scatter ten times as far in one direction as in the other."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 2
    centres = torch.tensor([[0.0, 0.0], [0.0, 8.0]])
    return TensorDataset(
        centres[labels] + torch.randn(images, 2, generator=random) * torch.tensor([10.0, 1.0]), labels
    )


def test_feature_distance_is_measured_in_how_far_a_class_scatters():
    distance = shift.feature_distance(two_classes())
    along, across = distance(torch.tensor([[10.0, 0.0], [0.0, -10.0]]))
    assert float(along) == pytest.approx(-1, abs=0.4)  # one standard deviation away, squared
    assert float(across) < 30 * float(along)


def test_feature_distance_works_with_more_features_than_images_and_labels_that_leave_a_gap():
    random = torch.Generator().manual_seed(0)
    train = TensorDataset(torch.randn(20, 50, generator=random), torch.tensor([0, 3] * 10))
    scores = shift.feature_distance(train)(torch.randn(5, 50, generator=random))
    assert scores.shape == (5,) and scores.isfinite().all() and (scores < 0).all()
