"""Lesson 10's comparison gives every start the same texts and steps, and looks at the test reviews once."""

import math

import pytest
import torch

from course_utils.settings import Settings
from course_utils.text import comparison as text_comparison
from course_utils.text.comparison import INIT_STRATEGIES, train_text_from
from course_utils.text.data import read_reviews
from course_utils.text.encoders import TextNetwork

pytest.importorskip("transformers", reason="lesson 10 is not installed: pip install -e '.[text]'")

FEW = Settings(images_per_class=5, seed=1)


@pytest.mark.parametrize("start", INIT_STRATEGIES, ids=[start.name for start in INIT_STRATEGIES])
def test_a_run_takes_the_steps_and_answers_every_test_review(start):
    run, result = train_text_from(start, FEW, steps=2)
    assert run.images_per_class == 5 and run.dataset == "sentiment" and run.start == start.name
    batches = math.ceil(8 / FEW.batch_size)  # of ten labelled reviews, two are for validation
    assert len(run.history.epochs) * batches == 2
    labels = read_reviews().query("split == 'test'").label == "positive"
    assert result.labels.tolist() == labels.astype(int).tolist()
    assert run.test_accuracy == result.accuracy


def test_the_test_reviews_are_not_looked_at_before_the_end(monkeypatch):
    seen = []
    monkeypatch.setattr(text_comparison, "evaluate", lambda model, texts: seen.append(texts) or Answer)
    asked = []
    forward = TextNetwork.forward
    monkeypatch.setattr(
        TextNetwork, "forward", lambda self, texts: asked.append(texts) or forward(self, texts)
    )
    train_text_from(INIT_STRATEGIES[0], FEW, steps=2)
    (test,) = seen
    known = {tuple(row[row != 0].tolist()) for row in test.tensors[0][:, 0]}
    assert asked and not known & {tuple(row[row != 0].tolist()) for batch in asked for row in batch[:, 0]}


class Answer:
    accuracy = 0.5


def test_the_topic_can_be_asked_for_instead():
    run, result = train_text_from(INIT_STRATEGIES[1], FEW, steps=2, target="topic")
    assert run.dataset == "topic" and run.images_per_class == 5
    assert result.probabilities.shape == (240, 16) and "museum" in result.classes


def test_the_same_seed_gives_the_same_run():
    first, again = (train_text_from(INIT_STRATEGIES[1], FEW, steps=2)[1] for _ in range(2))
    assert torch.equal(first.probabilities, again.probabilities)
