"""Tests of the samples that are made of texts."""

import numpy as np
import pytest
import torch

from course_utils.data.loaders import classes_of, labels_of, make_loader
from course_utils.errors import ConfigError, DataError
from course_utils.settings import Settings
from course_utils.text.corpora import SENTIMENTS, WORD_LABELS, Sentence
from course_utils.text.data import (
    TextDataset,
    encode_texts,
    encode_words,
    load_sentiment,
    split_sentences,
)
from course_utils.text.encoders import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(Settings())


def test_whole_texts_become_samples_that_pool_all_tokens(tokenizer):
    texts = encode_texts(tokenizer, ["good food", "bad"], [1, 0], SENTIMENTS)
    assert isinstance(texts, TextDataset) and texts.tensors[0].shape == (2, 2, 4)
    assert texts.tensors[0][:, 1].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert classes_of(texts) == SENTIMENTS and labels_of(texts).tolist() == [1, 0]
    inputs, labels = next(iter(make_loader(texts, 2)))
    assert inputs.dtype == labels.dtype == torch.int64


def test_words_become_samples_that_pool_their_own_tokens(tokenizer):
    sentence = Sentence(["Tokenizer", "in", "Riga"], ["B-OTHER", "O", "B-LOC"])  # token, ##izer, in, riga
    rows, labels = encode_words(tokenizer, [sentence, Sentence(["no"], ["O"])]).tensors
    masks = [[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0]]
    assert rows[:, 1].tolist() == masks
    assert torch.equal(rows[0, 0], rows[2, 0]) and not torch.equal(rows[0, 0], rows[3, 0])
    assert [WORD_LABELS[label] for label in labels] == ["B-OTHER", "O", "B-LOC", "O"]


def test_a_sentence_that_cannot_be_used_is_named(tokenizer):
    for words, labels, message in (
        (["Anna"], ["B-PERSON"], "B-PERSON"),
        (["Anna", "sings"], ["B-PER"], "shorter"),
        (["word"] * 130, ["O"] * 130, "no more than 128 tokens"),
        (["a", ""], ["O", "O"], "word 2"),
    ):
        with pytest.raises((DataError, ValueError), match=message):
            encode_words(tokenizer, [Sentence(words, labels)])


def rows_of(texts):
    return {tuple(row.tolist()) for row in texts.tensors[0][:, 0]}


def test_sentences_are_split_once_by_the_seed_and_tested_on_the_same_ones(tokenizer):
    first, again, other = (load_sentiment(Settings(seed=seed), tokenizer, "editorials") for seed in (1, 1, 2))
    assert [len(part) for part in first[:3]] == [480, 120, 400] and first.classes == SENTIMENTS
    for split in ("train", "val", "test"):
        assert torch.equal(getattr(first, split).tensors[0], getattr(again, split).tensors[0])
    assert not torch.equal(first.train.tensors[0], other.train.tensors[0])
    assert torch.equal(first.test.tensors[0], other.test.tensors[0])
    assert np.bincount(labels_of(first.val)).tolist() == [60, 60]
    train, val, test = (rows_of(part) for part in first[:3])
    assert not train & val and not (train | val) & test
    few = load_sentiment(Settings(images_per_class=10), tokenizer)
    assert [np.bincount(labels_of(part)).tolist() for part in few[:3]] == [[8, 8], [2, 2], [200, 200]]


def test_a_domain_that_does_not_exist_is_named(tokenizer):
    with pytest.raises(ConfigError, match="'film'") as error:
        load_sentiment(Settings(), tokenizer, "film")
    assert "films" in error.value.do


def test_no_sentence_is_on_both_sides_of_the_split():
    parts = split_sentences(Settings(seed=3))
    texts = {name: {" ".join(s.words) for s in part} for name, part in parts.items()}
    assert [len(part) for part in texts.values()] == [194, 49, 93]
    assert not texts["train"] & texts["val"] and not (texts["train"] | texts["val"]) & texts["test"]
