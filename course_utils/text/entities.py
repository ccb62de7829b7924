"""Named entities: metrics over whole names instead of words (lesson 15).

An entity counts as found only if its first word, its last word and its type are right. The library `seqeval`
counts so, like the task from which this metric comes (Tjong Kim Sang and De Meulder, 2003, arXiv:cs/0306050).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from course_utils.errors import DataError
from course_utils.evaluation.metrics import Evaluation
from course_utils.text.corpora import ENTITY_TYPES, Sentence

Labels = Sequence[Sequence[str]]
"""For each sentence, a BIO label for each word."""


def labels_by_sentence(result: Evaluation, sentences: Sequence[Sentence]) -> tuple[Labels, Labels]:
    """Return the true and the predicted labels, sentence by sentence, from the evaluation of all words.

    Raises:
        DataError: If there are not as many predictions as words, or their true labels are others.
    """
    truth = [label for sentence in sentences for label in sentence.labels]
    if [result.classes[label] for label in result.labels] != truth:
        raise DataError(
            "These answers do not belong to these sentences.",
            where="labels_by_sentence",
            expected=f"an answer for each of the {len(truth)} words, in order, with its true label",
            found=f"{len(result.labels)} answers, with other true labels",
            do="Evaluate the network on encode_words(tokenizer, sentences), and give those sentences here.",
        )
    predicted = iter(result.classes[label] for label in result.predictions)
    return [sentence.labels for sentence in sentences], [
        [next(predicted) for _ in sentence.words] for sentence in sentences
    ]


class EntityF1(NamedTuple):
    """The F1 of whole entities (0 to 1), the ends of its 95 % interval, and the counts."""

    f1: float
    low: float
    high: float
    correct: int
    """Entities that were predicted with both ends and the type right."""
    predicted: int
    true: int


def entity_f1(truth: Labels, predicted: Labels) -> EntityF1:
    """Return the F1 of all entities together, with a 95 % percentile bootstrap interval over sentences.

    Whole sentences are drawn with replacement (Efron, 1979, doi:10.1214/aos/1176344552), since the entities
    of one sentence are found or missed together. The interval is about other sentences of this kind, and says
    nothing about another training run.
    """
    from seqeval.metrics.sequence_labeling import get_entities  # a second: only where it is needed

    counts = []  # [sentences, 3]: correct, predicted, true
    for pair in zip(truth, predicted, strict=True):
        there, found = (set(get_entities(list(labels))) for labels in pair)
        counts.append([len(there & found), len(found), len(there)])
    counts = np.array(counts)
    rows = np.random.default_rng(0).integers(len(counts), size=(2000, len(counts)))
    low, high = np.quantile(_f1(counts[rows].sum(axis=1)), [0.025, 0.975])
    total = counts.sum(axis=0)
    return EntityF1(float(_f1(total)), float(low), float(high), *total.tolist())


def _f1(counts: np.ndarray) -> np.ndarray:
    return 2 * counts[..., 0] / np.maximum(counts[..., 1] + counts[..., 2], 1)


def per_type(truth: Labels, predicted: Labels) -> pd.DataFrame:
    """Return one row for each type of entity: precision, recall and F1 (0 to 1), and their true number.

    A type that is neither true nor predicted anywhere has no row.
    """
    from seqeval.metrics import classification_report

    columns = ["precision", "recall", "f1-score", "support"]
    if not any(label != "O" for labels in (*truth, *predicted) for label in labels):
        report = {}  # with which seqeval cannot cope
    else:
        report = classification_report(truth, predicted, output_dict=True, zero_division=0)
    rows = {name: report[name] for name in ENTITY_TYPES if name in report}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table = table.rename(columns={"f1-score": "f1", "support": "names"}).rename_axis("type")
    return table[["precision", "recall", "f1", "names"]].astype({"names": int})


def extract_entities(words: Sequence[str], labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return the entities of a sentence, in order: the text of each, and its type."""
    from seqeval.metrics.sequence_labeling import get_entities

    return [(" ".join(words[first : last + 1]), kind) for kind, first, last in get_entities(list(labels))]
