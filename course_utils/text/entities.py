"""Named entities: metrics over whole names instead of words (lesson 15).

An entity counts as found only if its first word, its last word and its type are right. The library `seqeval`
counts like this, as did the task from which this metric comes (Tjong Kim Sang and De Meulder, 2003,
arXiv:cs/0306050).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Labels = Sequence[Sequence[str]]
"""For each sentence, a BIO label for each word."""


class EntityF1(NamedTuple):
    """The F1 of whole entities (0 to 1), the ends of its 95 % interval, and the counts."""

    f1: float
    low: float
    high: float
    correct: int
    """Entities that were predicted with the right ends and type."""
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
