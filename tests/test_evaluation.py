"""How good is the network, how sure can you be, and where is it wrong?"""

import math

import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from torch import nn
from torch.utils.data import Dataset

from course_utils import evaluation
from course_utils.errors import DataError
from course_utils.evaluation import (
    Evaluation,
    accuracy_interval,
    confusion_matrix,
    evaluate,
    most_confident_mistakes,
    per_class,
)

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
    monkeypatch.setattr(evaluation, "EXTRACTION_BATCH", batch_size)
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
        monkeypatch.setattr(evaluation, "EXTRACTION_BATCH", batch_size)
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
