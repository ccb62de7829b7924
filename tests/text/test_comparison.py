"""Tests of lesson 14's comparison: it follows the rules of lesson 07's, with texts."""

import math

from course_utils.settings import Settings
from course_utils.text.comparison import INIT_STRATEGIES, train_text_from
from course_utils.text.corpora import read_rated_sentences
from course_utils.text.encoders import TextNetwork

FEW = Settings(images_per_class=5, seed=1)


def test_a_run_takes_the_steps_and_is_evaluated_on_every_test_text_at_the_end(monkeypatch):
    (strategy,) = (one for one in INIT_STRATEGIES if one.name == "fine-tuned")
    read, forward = [], TextNetwork.forward

    def spy(self, texts):
        read.extend(tuple(row[row != 0].tolist()) for row in texts[:, 0])
        return forward(self, texts)

    monkeypatch.setattr(TextNetwork, "forward", spy)
    run, result = train_text_from(strategy, FEW, 2, "products")
    assert run.images_per_class == 5 and run.dataset == "products" and run.start == "fine-tuned"
    batches = math.ceil(8 / FEW.batch_size)  # of ten labelled texts, two are for validation
    assert len(run.history.epochs) * batches == 2
    labels = read_rated_sentences().query("split == 'test' and domain == 'products'").label == "positive"
    assert result.labels.tolist() == labels.astype(int).tolist()
    assert run.test_accuracy == result.accuracy
    assert len(read) > 400 and not set(read[-400:]) & set(read[:-400])
