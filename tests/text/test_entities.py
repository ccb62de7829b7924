"""Tests of metrics over whole entities, which are counted as seqeval does."""

import numpy as np
import pytest

from course_utils.text.corpora import WORD_LABELS
from course_utils.text.entities import entity_f1

TRUTH = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "O"], ["B-OTHER"], ["O", "O"]]
PREDICTED = [["B-PER", "I-PER", "O", "O"], ["O", "B-LOC", "O"], ["B-OTHER"], ["B-PER", "O"]]


def test_an_entity_counts_when_both_ends_and_the_type_are_right():
    score = entity_f1(TRUTH, PREDICTED)
    assert (score.correct, score.predicted, score.true) == (2, 4, 4)
    assert score.f1 == 0.5
    assert entity_f1([["O", "O"]], [["O", "O"]])[:3] == (0.0, 0.0, 0.0)


@pytest.mark.filterwarnings("ignore")
def test_the_f1_is_seqeval_s():
    from seqeval.metrics import f1_score

    random = np.random.default_rng(0)
    truth = [list(random.choice(WORD_LABELS, size=length)) for length in random.integers(1, 9, 40)]
    predicted = [[str(random.choice([label, "O"], p=[0.7, 0.3])) for label in row] for row in truth]
    assert entity_f1(truth, predicted).f1 == pytest.approx(f1_score(truth, predicted))


def test_the_interval_holds_the_f1_and_narrows_with_more_sentences():
    small, large = entity_f1(TRUTH, PREDICTED), entity_f1(TRUTH * 30, PREDICTED * 30)
    assert small.low <= small.f1 == large.f1 <= small.high
    assert large.high - large.low < 0.3 * (small.high - small.low)
    assert entity_f1(TRUTH, PREDICTED) == small
