"""How good is it at names, where an answer is a whole name and not a word?

A name counts as found only if its first word, its last word and its type are right. The library `seqeval`
counts so, like the task from which this measure comes (Tjong Kim Sang and De Meulder, 2003,
arXiv:cs/0306050).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from course_utils.errors import DataError
from course_utils.evaluation import Evaluation
from course_utils.text.data import NAME_TYPES, Sentence

Labels = Sequence[Sequence[str]]
"""A list of labels for each sentence."""


def labels_by_sentence(result: Evaluation, sentences: Sequence[Sentence]) -> tuple[Labels, Labels]:
    """Return the true labels and the network's, sentence by sentence.

    Args:
        result: What the network said about every word of the sentences, in order.
        sentences: Those sentences.

    Raises:
        DataError: If there are not as many answers as words, or they were given for other labels.
    """
    words = sum(len(sentence.words) for sentence in sentences)
    truth = [label for sentence in sentences for label in sentence.labels]
    if len(result.labels) != words or [result.classes[label] for label in result.labels] != truth:
        raise DataError(
            "These answers are not about these sentences.",
            where="labels_by_sentence",
            expected=f"an answer for each of the {words} words, in order",
            found=f"{len(result.labels)} answers"
            + (", whose true labels are others" if len(result.labels) == words else ""),
            do="Evaluate the network on encode_words(tokenizer, sentences), and give those sentences here.",
        )
    answers = iter(result.classes[answer] for answer in result.predictions)
    return [sentence.labels for sentence in sentences], [
        [next(answers) for _ in sentence.words] for sentence in sentences
    ]


class EntityF1(NamedTuple):
    """The F1 of whole names, and how sure it is."""

    f1: float
    """From 0 to 1."""
    low: float
    high: float
    """The ends of its confidence interval."""
    found: int
    """Names that were found, with both ends and the type right."""
    answered: int
    """Names that the network named."""
    true: int
    """Names that there are."""


def entity_f1(
    truth: Labels, answers: Labels, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> EntityF1:
    """Return the F1 of all names together, with a percentile bootstrap interval over sentences.

    Whole sentences are drawn with replacement (Efron, 1979, doi:10.1214/aos/1176344552), since the names of
    one sentence are found or missed together. The interval is about other sentences of this kind, and says
    nothing about another training run.

    Args:
        truth: The true labels of each sentence, in BIO.
        answers: The labels that were answered, word by word.
        resamples: How often sentences are drawn.
        confidence: The share of intervals that hold the true F1, if all is repeated often.
        seed: The draws follow from it.
    """
    counts = np.array([_counts(*pair) for pair in zip(truth, answers, strict=True)])  # [sentences, 3]
    found, answered, true = counts.sum(axis=0)
    places = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    drawn = _f1(*counts[places].sum(axis=1).T)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    f1 = float(_f1(found, answered, true))
    return EntityF1(f1, float(low), float(high), int(found), int(answered), int(true))


def _counts(truth: Sequence[str], answers: Sequence[str]) -> tuple[int, int, int]:
    from seqeval.metrics.sequence_labeling import get_entities  # a second: only where it is needed

    there, named = set(get_entities(list(truth))), set(get_entities(list(answers)))
    return len(there & named), len(named), len(there)


def _f1(found: np.ndarray, answered: np.ndarray, true: np.ndarray) -> np.ndarray:
    return 2 * found / np.maximum(answered + true, 1)


def per_type(truth: Labels, answers: Labels) -> pd.DataFrame:
    """Return one row for each type of name: precision, recall and F1 (0 to 1), and how many there are."""
    from seqeval.metrics import classification_report

    report = classification_report(truth, answers, output_dict=True, zero_division=0)
    rows = {name: report[name] for name in NAME_TYPES if name in report}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table = table.rename(columns={"f1-score": "f1", "support": "names"}).rename_axis("type")
    return table[["precision", "recall", "f1", "names"]].astype({"names": int})


def by_type(result: Evaluation) -> Evaluation:
    """Return what was said about each word, but for where a name begins: B-PER and I-PER become PER.

    So types can be confused with each other in a matrix of five rows, which `figures.confusion` draws.
    """
    names = list(dict.fromkeys(name.partition("-")[2] or name for name in result.classes))
    column = torch.tensor([names.index(name.partition("-")[2] or name) for name in result.classes])
    probabilities = torch.zeros(len(result.labels), len(names)).index_add_(1, column, result.probabilities)
    return Evaluation(probabilities, column[result.labels], names)


def extract_entities(words: Sequence[str], labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names in a sentence, in order: the text of each, and its type."""
    from seqeval.metrics.sequence_labeling import get_entities

    return [(" ".join(words[first : last + 1]), kind) for kind, first, last in get_entities(list(labels))]
