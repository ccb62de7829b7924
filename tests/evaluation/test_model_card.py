"""A model card says what the run says, and replaces nobody's file."""

import re

import pytest
import torch
from torch.utils.data import Subset
from torchvision.transforms import v2

from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import Evaluation, accuracy_interval
from course_utils.evaluation.model_card import model_card
from course_utils.settings import Settings
from course_utils.training.history import EpochMetrics, History

TRANSFORM = v2.Compose([v2.Resize((8, 8)), v2.PILToTensor()])


@pytest.fixture
def run(tmp_path, write_class_folders):
    """Return the settings, splits, history and result of a run with a known outcome."""
    write_class_folders(tmp_path / "pets" / "train", {"cat": 10, "dog": 20, "emu|ostrich": 30})
    write_class_folders(tmp_path / "pets" / "test", {"cat": 4, "dog": 5, "emu|ostrich": 6})
    settings = Settings(dataset=f"folder:{tmp_path / 'pets'}", seed=7, lr=0.003)
    splits = load_splits(settings, TRANSFORM)
    history = History([EpochMetrics(1, 1, 0.5, 1.0, 0.5, 1.0), EpochMetrics(2, 1, 0.5, 0.8, 0.625, 1.0)])
    labels = torch.tensor([0] * 4 + [1] * 5 + [2] * 6)
    answers = labels.clone()
    answers[:3] = 1  # three of four cats are called dogs
    result = Evaluation(torch.nn.functional.one_hot(answers).float(), labels, splits.classes)
    return settings, splits, history, result


def test_card_says_what_the_run_says(run):
    card = model_card(*run, purpose="telling pets apart in the hall", not_for="wild animals")
    low, high = accuracy_interval(12, 15)
    for fact in (
        "# Model card: resnet18 for 3 classes",
        "For: telling pets apart in the hall",
        "Not for: wild animals",
        "`pets`, number of images",
        "| cat | 8 | 2 | 4 |",
        "| emu/ostrich | 24 | 6 | 6 |",
        "| all | 48 | 12 | 15 |",
        f"Accuracy 0.800, 95 % Wilson interval {low:.3f} to {high:.3f} (12 of 15 images)",
        "the most frequent class would give 0.400",
        "The weakest classes: cat (25% of 4 found)",
        "epoch 2, with the lowest validation loss; validation accuracy 0.625",
        "learning rate 0.003",
        "- Seed: 7",
        f"torch {torch.__version__.split('+')[0]}",
        "Resize(size=[8, 8]",
    ):
        assert fact in card, fact
    low, high = accuracy_interval(1, 4)
    assert re.search(rf"\| cat \| 1\.0 \| 0\.25 \| 0\.4 \| 4 \| {low:.2f} to {high:.2f} \|", card)


def test_class_without_a_test_image_has_no_interval(run):
    settings, splits, history, result = run
    result = Evaluation(result.probabilities[4:], result.labels[4:], result.classes)
    splits = splits._replace(test=Subset(splits.test, range(4, 15)))
    card = model_card(settings, splits, history, result, purpose="a test")
    assert re.search(r"\| cat \| .* \| 0 \| no image \|", card)
    assert "cat (" not in card
