"""How good is the network, how sure can you be, and where is it wrong?"""

import math

import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from torch import nn
from torch.utils.data import Dataset

from course_utils.errors import DataError
from course_utils.evaluation.metrics import (
    Evaluation,
    accuracy_interval,
    confusion_matrix,
    evaluate,
    most_confident_mistakes,
    paired_difference,
    per_class,
)
from course_utils.training import features

CLASSES = ["cat", "dog", "ship"]


class Pictures(Dataset):
    """Random pictures of three classes."""

    def __init__(self, count, classes=CLASSES):
        self.images = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        self.targets = [number % 3 for number in range(count)]
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


class SmallNet(nn.Module):
    """A network with all that acts differently in train mode, BatchNorm and dropout."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 3)

    def forward(self, images):
        return self.fc(self.dropout(self.norm(self.conv(images)).relu().mean(dim=(2, 3))))


class WrongAtTheEnd(nn.Module):
    """Says the right class of `Pictures`, but for the last image of 33, which it reads from a corner."""

    def __init__(self, dataset):
        super().__init__()
        self.fc = nn.Linear(1, 3)  # only so that the network has a device
        answers = torch.tensor(dataset.targets)
        answers[-1] = (answers[-1] + 1) % 3
        self.answers = {
            float(image[0, 0, 0]): int(a) for image, a in zip(dataset.images, answers, strict=True)
        }

    def forward(self, images):
        answers = torch.tensor([self.answers[float(image[0, 0, 0])] for image in images])
        return nn.functional.one_hot(answers, 3).float()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmallNet()


def an_evaluation(truth, answers, confidences=None, classes=CLASSES):
    """Return an `Evaluation` with these answers, each given with its confidence (default 0.9)."""
    truth, answers = torch.tensor(truth), torch.tensor(answers)
    sure = torch.tensor(confidences or [0.9] * len(answers))
    rest = (1 - sure) / (len(classes) - 1)
    probabilities = rest.unsqueeze(1).repeat(1, len(classes))
    probabilities[torch.arange(len(answers)), answers] = sure
    return Evaluation(probabilities, truth, classes)


@pytest.mark.parametrize("batch_size", [1, 4, 32, 64])
def test_accuracy_is_the_share_of_all_samples_whatever_the_batch_size(monkeypatch, batch_size):
    monkeypatch.setattr(features, "EXTRACTION_BATCH", batch_size)
    dataset = Pictures(33)
    result = evaluate(WrongAtTheEnd(dataset), dataset)
    assert result.correct == 32
    assert result.accuracy == 32 / 33


def test_evaluation_holds_every_image_in_the_order_of_the_dataset(model):
    dataset = Pictures(150)
    result = evaluate(model, dataset)
    assert result.probabilities.shape == (150, 3)
    assert result.labels.tolist() == dataset.targets
    assert result.labels.dtype == torch.int64
    assert result.classes == CLASSES
    with torch.no_grad():
        torch.testing.assert_close(result.probabilities, model.eval()(dataset.images).softmax(dim=1))


def test_probabilities_of_every_image_sum_to_one(model):
    probabilities = evaluate(model, Pictures(33)).probabilities
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(33))


def test_probabilities_do_not_depend_on_the_batch_size(monkeypatch, model):
    results = []
    for batch_size in (2, 64):
        monkeypatch.setattr(features, "EXTRACTION_BATCH", batch_size)
        results.append(evaluate(model.train(), Pictures(33)).probabilities)
    torch.testing.assert_close(results[0], results[1])


def test_evaluation_gives_every_module_its_own_mode_back(model):
    model.train()
    model.norm.eval()
    evaluate(model, Pictures(5))
    assert model.training and model.dropout.training and not model.norm.training


def test_evaluation_learns_nothing_and_keeps_no_gradient(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = evaluate(model.train(), Pictures(33))
    assert not result.probabilities.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_empty_dataset_is_an_error(model):
    with pytest.raises(DataError, match="nothing to load"):
        evaluate(model, Pictures(0))


def test_a_dataset_whose_classes_have_no_names_is_an_error(model):
    with pytest.raises(DataError, match="no names"):
        evaluate(model, Pictures(3, classes=None))


def test_wilson_interval_is_the_one_in_the_book():
    # 8 of 10, worked out by hand: centre (0.8 + z²/20) / (1 + z²/10), with z = 1.959964.
    low, high = accuracy_interval(8, 10)
    assert (low, high) == pytest.approx((0.49016, 0.94331), abs=1e-5)


@pytest.mark.parametrize("images", [1, 10, 2000])
def test_wilson_interval_stays_between_0_and_1_where_every_answer_is_wrong_or_right(images):
    z = 1.959964
    assert accuracy_interval(0, images) == pytest.approx((0, z**2 / (images + z**2)), abs=1e-6)
    assert accuracy_interval(images, images) == pytest.approx((images / (images + z**2), 1), abs=1e-6)
    bounds = [*accuracy_interval(0, images), *accuracy_interval(images, images)]
    assert all(0 <= bound <= 1 for bound in bounds)


def test_interval_narrows_with_more_images_and_widens_with_more_confidence():
    def width(*arguments):
        low, high = accuracy_interval(*arguments)
        return high - low

    assert width(800, 1000) < width(80, 100)
    assert width(80, 100, 0.99) > width(80, 100, 0.95)
    assert math.isclose(width(80, 100), width(80, 100, 0.95))


def test_rows_of_the_confusion_matrix_are_the_truth_and_columns_the_answers():
    matrix = confusion_matrix(an_evaluation(truth=[0, 0, 0, 1, 2], answers=[0, 1, 1, 1, 0]))
    assert matrix.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 0]]
    assert matrix.dtype == torch.int64


def test_confusion_matrix_has_a_row_for_a_class_without_images():
    matrix = confusion_matrix(an_evaluation(truth=[0, 0], answers=[0, 0]))
    assert matrix.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_per_class_table_agrees_with_scikit_learn():
    draw = torch.Generator().manual_seed(3)
    truth = torch.randint(0, 3, (60,), generator=draw).tolist()
    answers = torch.randint(0, 2, (60,), generator=draw).tolist()  # never says "ship"
    table = per_class(an_evaluation(truth, answers))
    precision, recall, f1, images = precision_recall_fscore_support(truth, answers, zero_division=0)
    assert list(table.index) == CLASSES
    assert table["precision"].to_numpy() == pytest.approx(precision)
    assert table["recall"].to_numpy() == pytest.approx(recall)
    assert table["f1"].to_numpy() == pytest.approx(f1)
    assert table["images"].tolist() == images.tolist()


def test_most_confident_mistakes_come_with_the_surest_first():
    result = an_evaluation(
        truth=[0, 1, 2, 0, 1], answers=[1, 1, 0, 2, 0], confidences=[0.6, 0.99, 0.9, 0.7, 0.8]
    )
    table = most_confident_mistakes(result, 3)
    assert table["image"].tolist() == [2, 4, 3]
    assert table["truth"].tolist() == ["ship", "dog", "cat"]
    assert table["answer"].tolist() == ["cat", "cat", "ship"]
    assert table["confidence"].tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_mistakes_of_equal_confidence_keep_the_order_of_the_images():
    result = an_evaluation(truth=[0] * 40, answers=[1] * 40)
    assert most_confident_mistakes(result, 40)["image"].tolist() == list(range(40))


def test_there_are_fewer_rows_if_there_are_fewer_mistakes():
    result = an_evaluation(truth=[0, 1], answers=[0, 2])
    assert most_confident_mistakes(result, 10)["image"].tolist() == [1]
    perfect = most_confident_mistakes(an_evaluation(truth=[0, 1], answers=[0, 1]), 10)
    assert len(perfect) == 0
    assert list(perfect.columns) == ["image", "truth", "answer", "confidence"]


def test_difference_of_a_result_from_itself_is_zero_with_an_interval_of_no_width():
    result = an_evaluation(truth=[0, 1, 2, 0], answers=[0, 1, 0, 1])
    assert paired_difference([result, result], [result, result]) == (0, 0, 0)


def test_difference_counts_first_less_second_and_lies_inside_its_interval():
    truth = [0] * 100
    better = an_evaluation(truth, answers=[0] * 80 + [1] * 20)
    worse = an_evaluation(truth, answers=[0] * 70 + [1] * 30)
    difference = paired_difference([better], [worse])
    assert difference.mean == pytest.approx(0.10)
    assert 0 < difference.low < 0.10 < difference.high < 0.20
    swapped = paired_difference([worse], [better])
    assert swapped == pytest.approx((-difference.mean, -difference.high, -difference.low))


def test_difference_is_known_better_when_the_same_images_are_missed():
    # Ten images apart in both cases; but once 20 of the mistakes are shared, and once none is.
    truth = [0] * 100
    first = an_evaluation(truth, answers=[0] * 80 + [1] * 20)
    same_missed = an_evaluation(truth, answers=[0] * 70 + [1] * 30)
    others_missed = an_evaluation(truth, answers=[1] * 30 + [0] * 70)
    paired, unrelated = (paired_difference([first], [other]) for other in (same_missed, others_missed))
    assert paired.mean == pytest.approx(unrelated.mean)
    # By hand: the variances of one image's difference are 0.1 - 0.01 and 0.5 - 0.01.
    assert paired.high - paired.low == pytest.approx(2 * 1.96 * math.sqrt(0.09 / 100), rel=0.15)
    assert unrelated.high - unrelated.low == pytest.approx(2 * 1.96 * math.sqrt(0.49 / 100), rel=0.15)


def test_runs_that_disagree_widen_the_interval_of_their_difference():
    truth = [0] * 400
    base = an_evaluation(truth, answers=[0] * 300 + [1] * 100)
    steady = [an_evaluation(truth, answers=[0] * 280 + [1] * 120)] * 3
    scattered = [an_evaluation(truth, answers=[0] * right + [1] * (400 - right)) for right in (240, 280, 320)]
    alike, apart = (paired_difference([base] * 3, runs) for runs in (steady, scattered))
    assert alike.mean == pytest.approx(apart.mean) == pytest.approx(0.05)
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_interval_of_a_difference_follows_from_its_seed_and_its_confidence():
    truth, random = [0] * 50, torch.Generator().manual_seed(4)
    first, second = (
        an_evaluation(truth, torch.randint(0, 2, (50,), generator=random).tolist()) for _ in range(2)
    )
    again = [paired_difference([first], [second], seed=seed, resamples=50) for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]
    narrow = paired_difference([first], [second], seed=1, resamples=50, confidence=0.5)
    assert narrow.high - narrow.low < again[0].high - again[0].low


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([an_evaluation([0, 1], [0, 1])], [an_evaluation([1, 0], [0, 1])]),
        ([an_evaluation([0, 1], [0, 1])], [an_evaluation([0, 1, 1], [0, 1, 1])]),
        ([an_evaluation([0, 1], [0, 1])] * 2, [an_evaluation([0, 1], [0, 1])]),
        ([an_evaluation([0, 1], [0, 1]), an_evaluation([1, 0], [0, 1])], [an_evaluation([0, 1], [0, 1])] * 2),
        ([], []),
    ],
    ids=["another order", "other images", "fewer runs", "a run of other images", "no run"],
)
def test_results_that_are_not_of_the_same_images_cannot_be_paired(first, second, assert_says_four_things):
    with pytest.raises(DataError, match="image by image") as caught:
        paired_difference(first, second)
    assert_says_four_things(caught.value)
