"""Names are counted whole, as seqeval counts them, and the F1 has an interval."""

import numpy as np
import pytest
import torch

from course_utils.errors import DataError
from course_utils.evaluation.metrics import Evaluation
from course_utils.text.data import NAME_TYPES, WORD_LABELS, Sentence
from course_utils.text.entities import (
    by_type,
    entity_f1,
    extract_entities,
    labels_by_sentence,
    per_type,
)

pytest.importorskip("seqeval", reason="lesson 10 is not installed: pip install -e '.[text]'")

TRUTH = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "O"], ["B-OTHER"], ["O", "O"]]
ANSWERS = [["B-PER", "I-PER", "O", "O"], ["O", "B-LOC", "O"], ["B-OTHER"], ["B-PER", "O"]]


def random_labels(seed, sentences=40):
    random = np.random.default_rng(seed)
    return [list(random.choice(WORD_LABELS, size=length)) for length in random.integers(1, 9, sentences)]


def test_a_name_counts_when_both_ends_and_the_type_are_right():
    score = entity_f1(TRUTH, ANSWERS)
    assert (score.found, score.answered, score.true) == (2, 4, 4)
    assert score.f1 == 0.5


@pytest.mark.filterwarnings("ignore")
def test_the_f1_is_seqeval_s():
    from seqeval.metrics import f1_score

    truth = random_labels(0)
    random = np.random.default_rng(1)
    answers = [[str(random.choice([label, "O"], p=[0.7, 0.3])) for label in row] for row in truth]
    assert entity_f1(truth, answers).f1 == pytest.approx(f1_score(truth, answers))


def test_the_interval_holds_the_f1_and_narrows_with_more_sentences():
    small = entity_f1(TRUTH, ANSWERS)
    large = entity_f1(TRUTH * 30, ANSWERS * 30)
    assert small.low <= small.f1 <= small.high
    assert large.f1 == small.f1
    assert large.high - large.low < 0.3 * (small.high - small.low)
    assert entity_f1(TRUTH, ANSWERS) == small


def test_without_a_single_name_the_f1_is_0():
    assert entity_f1([["O", "O"]], [["O", "O"]])[:3] == (0.0, 0.0, 0.0)


def test_each_type_has_its_row():
    table = per_type(TRUTH, ANSWERS)
    assert list(table.index) == NAME_TYPES
    assert table.names.tolist() == [1, 1, 1, 1]
    assert table.f1.tolist() == pytest.approx([2 / 3, 0, 0, 1])


def an_evaluation(sentences, answers):
    labels = [WORD_LABELS.index(label) for sentence in sentences for label in sentence.labels]
    rows = torch.full((len(labels), len(WORD_LABELS)), 0.01)
    for row, label in zip(rows, [label for own in answers for label in own], strict=True):
        row[WORD_LABELS.index(label)] = 0.92
    return Evaluation(rows, torch.tensor(labels), WORD_LABELS)


SENTENCES = [Sentence([f"w{n}" for n in range(len(labels))], labels) for labels in TRUTH]


def test_answers_about_words_come_back_by_sentence():
    truth, answers = labels_by_sentence(an_evaluation(SENTENCES, ANSWERS), SENTENCES)
    assert truth == TRUTH and answers == ANSWERS


@pytest.mark.parametrize("sentences", [SENTENCES[:2], SENTENCES[::-1]])
def test_answers_about_other_sentences_are_an_error(sentences, assert_says_four_things):
    with pytest.raises(DataError, match="not about these sentences") as error:
        labels_by_sentence(an_evaluation(SENTENCES, ANSWERS), sentences)
    assert_says_four_things(error.value)


def test_types_are_words_without_their_begin():
    types = by_type(an_evaluation(SENTENCES, ANSWERS))
    assert types.classes == ["O", *NAME_TYPES]
    assert torch.allclose(types.probabilities.sum(dim=1), torch.ones(10))
    assert types.labels.tolist() == [1, 1, 0, 2, 0, 3, 0, 4, 0, 0]
    assert types.predictions.tolist() == [1, 1, 0, 0, 0, 2, 0, 4, 1, 0]


def test_names_are_told_as_text():
    assert extract_entities(["Anna", "Berg", "in", "Riga"], TRUTH[0]) == [
        ("Anna Berg", "PER"),
        ("Riga", "LOC"),
    ]
