"""Tests of the texts that ship, which are what their card says."""

import re
import shutil
import sys

import pandas as pd
import pytest

from course_utils.errors import DataError
from course_utils.settings import REPOSITORY_FOLDER
from course_utils.text import corpora
from course_utils.text.corpora import (
    DOMAINS,
    RATINGS,
    one_rater_accuracy,
    read_entities,
    read_rated_sentences,
)

sys.path.insert(0, str(REPOSITORY_FOLDER / "data" / "text"))
from make_text import LEAST_MEAN, NEAR_TWIN, likeness, source_of

FOLDER = REPOSITORY_FOLDER / "data" / "text"

RATED = read_rated_sentences()
ENTITIES = read_entities()
WRITTEN = {".ipynb", ".md", ".py", ".csv"}
COMMON_WORDS = {"Brothers", "Cape", "Captain", "Club", "Ministry", "Mount", "Prize", "Royal", "The"}


def test_there_are_as_many_sentences_as_the_card_says():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    counts = RATED.groupby(["domain", "split", "label"]).size().unstack(["split", "label"])
    assert set(counts.index) == set(DOMAINS) and (counts["test"] == 200).all(axis=None)
    train = {"films": 600, "products": 400, "editorials": 300, "tweets": 400}
    assert counts["train"].positive.to_dict() == counts["train"].negative.to_dict() == train
    sizes = RATED.split.value_counts()
    assert f"| {sizes['train']:,} | {sizes['test']:,} | MIT" in card
    assert RATED.id.is_unique and sum(file.stat().st_size for file in FOLDER.glob("*.*")) < 1_000_000


def test_labels_follow_from_the_ratings():
    for row in RATED.sample(200, random_state=0).itertuples():
        given = [rating for rating, count in zip(RATINGS, row.ratings, strict=True) for _ in range(count)]
        assert row.raters == len(given) >= 15
        assert row.mean == pytest.approx(sum(given) / len(given)) and abs(row.mean) >= LEAST_MEAN
        assert row.label == ("positive" if row.mean > 0 else "negative")
        same = [rating for rating in given if rating * row.mean > 0]
        assert row.agreement == pytest.approx(len(same) / len(given))


def test_no_source_and_no_near_twin_is_on_both_sides():
    for _, own in RATED.groupby("domain"):
        train, test = own[own.split == "train"], own[own.split == "test"]
        assert not set(source_of(train.id)) & set(source_of(test.id))
        assert likeness(train.text, test.text).max() < NEAR_TWIN
    twins = pd.Series(["My phone is really good!"]), pd.Series(["my phone is really good!!"])
    assert likeness(*twins).max() >= NEAR_TWIN


def windows(text):
    return {text[word.start() : word.start() + 40] for word in re.finditer(r"\w+", text)}


def test_no_rated_sentence_stands_outside_its_folder():
    """Those who wrote them were not asked."""
    paths = [*REPOSITORY_FOLDER.glob("*.md")]
    for folder in ("notebooks", "docs", "tests", "benchmarks", "course_utils", "course_teaching"):
        paths += [path for path in (REPOSITORY_FOLDER / folder).rglob("*.*") if path.suffix in WRITTEN]
    elsewhere = "\n".join(path.read_text("utf-8").replace("\\n", "\n") for path in paths)
    elsewhere = re.sub(r"\S{300,}", "", elsewhere)  # pictures
    openings = {re.search(r"\w.*", text, re.DOTALL)[0][:40] for text in RATED.text if len(text) > 50}
    assert len(openings) > 4000 and openings <= windows("\n".join(RATED.text))
    assert not openings & windows(elsewhere)


def test_one_rater_is_compared_with_the_others_only():
    ratings = pd.Series(
        [(0, 0, 0, 1, 0, 2, 0, 0, 0), (0, 0, 0, 0, 1, 0, 1, 0, 0), (0, 0, 1, 0, 0, 0, 1, 0, 0)]
    )
    # -1, 1, 1: wrong, and the others of each 1 take no side. 0, 2: a rater or the others take no side.
    assert one_rater_accuracy(ratings).tolist() == pytest.approx([(0.5 + 0.5 + 0) / 3, 0.5, 0])


def test_no_name_is_in_training_and_test_nor_what_names_it():
    from seqeval.metrics.sequence_labeling import get_entities

    names, parts = {}, {}
    for split, sentences in ENTITIES.items():
        names[split] = {
            tuple(words[first : last + 1])
            for words, labels in sentences
            for _, first, last in get_entities(labels)
        }
        parts[split] = {w for s in sentences for w, label in zip(*s, strict=True) if label != "O"}
    assert not names["train"] & names["test"]
    both = {word for word in parts["train"] & parts["test"] if word[0].isupper()}
    assert both <= COMMON_WORDS


def test_texts_that_were_changed_are_an_error(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "text")
    path = tmp_path / "text" / "sentences.csv"
    path.write_bytes(path.read_bytes().replace(b"films", b"tweets", 1))
    monkeypatch.setattr(corpora, "shipped_data_folder", lambda: tmp_path)
    with pytest.raises(DataError, match="missing or damaged") as error:
        read_rated_sentences()
    assert str(path) in str(error.value)
