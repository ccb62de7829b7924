"""The texts that ship: rated sentences, and sentences with named entities (lessons 13 to 15)."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from course_utils.data.splits import check_sums
from course_utils.settings import shipped_data_folder

SENTIMENTS = ["negative", "positive"]
"""The classes of a rated sentence, in the order of their numbers."""

DOMAINS = ("films", "products", "editorials", "tweets")
"""The domains of the rated sentences."""

RATINGS = range(-4, 5)
"""From extremely negative to extremely positive; 0 is neutral."""

ENTITY_TYPES = ["PER", "LOC", "ORG", "OTHER"]
"""A person, a place, an organisation, and a name of anything else."""

WORD_LABELS = ["O", *(f"{begin}-{kind}" for kind in ENTITY_TYPES for begin in "BI")]
"""The classes of a word (Ramshaw and Marcus, 1995, arXiv:cmp-lg/9505040): B begins an entity, I continues it,
and O is outside."""


class Sentence(NamedTuple):
    """A sentence in words, with a label for each of them."""

    words: list[str]
    labels: list[str]


def read_rated_sentences() -> pd.DataFrame:
    """Return the 5,000 rated sentences that ship with the course, half of them positive: one row each.

    The columns are id, domain (one of `DOMAINS`), split ("train" or "test"), label (one of `SENTIMENTS`, by
    the sign of the mean rating), mean (-4 to 4), raters (how many), agreement (the share of raters, 0 to 1,
    whose rating has the sign of the mean), ratings (how many gave each of `RATINGS`, a tuple) and text.

    Raises:
        DataError: If the file is missing or damaged.
    """
    table = pd.read_csv(_shipped("sentences.csv"), dtype={"id": str}, keep_default_na=False)
    table["ratings"] = table.ratings.map(lambda counts: tuple(map(int, counts.split())))
    counts, mean = np.array(table.ratings.to_list()), mean_rating(table.ratings)
    positive = (mean > 0).astype(int)
    agreeing = np.where(positive, counts[:, 5:].sum(axis=1), counts[:, :4].sum(axis=1))
    columns = {"id": table.id, "domain": table.domain, "split": table.split}
    columns |= {"label": positive.map(dict(enumerate(SENTIMENTS))), "mean": mean}
    columns |= {"raters": counts.sum(axis=1), "agreement": agreeing / counts.sum(axis=1)}
    return pd.DataFrame({**columns, "ratings": table.ratings, "text": table.text})


def mean_rating(ratings: pd.Series) -> pd.Series:
    """Return the mean rating (float64, -4 to 4) of each sentence, from the counts of each rating."""
    counts = np.array(ratings.to_list())
    return pd.Series(counts @ np.array(RATINGS) / counts.sum(axis=1), index=ratings.index)


def one_rater_accuracy(ratings: pd.Series) -> np.ndarray:
    """Return how often one rater agrees with all the others on the sentiment of each sentence.

    The others' sentiment is the sign of the mean of their ratings. A rating of 0, or a mean of 0, is neutral:
    it counts as half, as a guess between two sentiments would.

    Args:
        ratings: How many raters gave each of `RATINGS`, a tuple for each sentence.

    Returns:
        float64, [sentences], from 0 to 1: the mean over its raters.
    """
    counts, given = np.array(ratings.to_list()), np.array(RATINGS)
    others = (counts @ given)[:, None] - given  # their sum; a rating that no rater gave counts 0 times
    right = (1 + np.sign(given) * np.sign(others)) / 2
    return (counts * right).sum(axis=1) / counts.sum(axis=1)


def read_entities() -> dict[str, list[Sentence]]:
    """Return the 336 sentences with named entities, under the keys "train" and "test".

    Raises:
        DataError: If the file is missing or damaged.
    """
    parts = {"train": [], "test": []}
    for line in _shipped("entities.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parts[row["split"]].append(Sentence(row["words"], row["labels"]))
    return parts


def _shipped(name: str) -> Path:
    folder = shipped_data_folder() / "text"
    check_sums(folder)
    return folder / name
