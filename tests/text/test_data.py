"""Tests of the texts that ship, which are what their card says, and of the samples that are made of them."""

import csv
import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from course_utils.data.loaders import classes_of, labels_of, make_loader
from course_utils.errors import DataError
from course_utils.settings import REPOSITORY_FOLDER, Settings
from course_utils.text import data as text_data
from course_utils.text.data import (
    ENTITY_TYPES,
    SENTIMENTS,
    WORD_LABELS,
    Sentence,
    TextDataset,
    encode_texts,
    encode_words,
    load_reviews,
    load_topics,
    read_entities,
    read_reviews,
    split_sentences,
)
from course_utils.text.entities import extract_entities

FOLDER = REPOSITORY_FOLDER / "data" / "text"
REVIEWS = read_reviews()
ENTITIES = read_entities()
KINDS = {"plain": 9, "negation": 5, "irony": 3, "mixed": 3}  # of each topic and label
COMMON_WORDS = {"Brothers", "Cape", "Captain", "Club", "Ministry", "Mount", "Prize", "Royal", "The"}
TEST_TOPICS = {"museum", "hairdresser", "bicycle", "language course", "tent"}


def words(text):
    return re.findall(r"[a-z']+", text.lower())


def test_there_are_as_many_reviews_of_each_topic_label_and_kind_as_the_card_says():
    assert list(REVIEWS.columns) == ["id", "split", "topic", "label", "kind", "text"]
    assert REVIEWS.id.is_unique
    counts = REVIEWS.groupby(["topic", "label", "kind"]).size()
    assert len(counts) == 16 * 2 * 4
    assert all(count == KINDS[kind] for (*_, kind), count in counts.items())
    assert set(REVIEWS[REVIEWS.split == "test"].topic) == TEST_TOPICS
    assert set(REVIEWS[REVIEWS.split == "train"].topic) == set(REVIEWS.topic) - TEST_TOPICS


def test_no_review_is_there_twice_or_nearly_so():
    assert not REVIEWS.text.str.casefold().duplicated().any()
    sets = [set(words(text)) for text in REVIEWS.text]
    for one, mine in enumerate(sets):
        for other in range(one):
            share = len(mine & sets[other]) / len(mine | sets[other])
            assert share < 0.5, (REVIEWS.text[one], REVIEWS.text[other])


def test_no_run_of_six_words_is_in_training_and_test():
    def runs(split):
        texts = REVIEWS[REVIEWS.split == split].text
        return {tuple(own[n : n + 6]) for own in map(words, texts) for n in range(len(own) - 5)}

    assert not runs("train") & runs("test")


def test_reviews_are_of_many_lengths_and_plain_text():
    lengths = REVIEWS.text.map(lambda text: len(text.split()))
    assert lengths.min() <= 2 and lengths.max() >= 50
    assert 12 < lengths.mean() < 20
    assert REVIEWS.text.map(lambda text: text == text.strip() and text.isprintable()).all()
    with (FOLDER / "reviews.csv").open(encoding="utf-8", newline="") as file:
        assert len({len(row) for row in csv.reader(file)}) == 1


def test_a_word_count_alone_does_not_solve_the_test():
    # If it did, the test would not ask for more than the training's words.
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    train, test = (REVIEWS[REVIEWS.split == split] for split in ("train", "test"))
    counter = CountVectorizer().fit(train.text)
    bayes = MultinomialNB().fit(counter.transform(train.text), train.label)
    assert 0.5 < bayes.score(counter.transform(test.text), test.label) < 0.75


def test_names_are_labelled_in_bio():
    for part in ENTITIES.values():
        for sentence in part:
            assert len(sentence.words) == len(sentence.labels)
            assert set(sentence.labels) <= set(WORD_LABELS)
            for before, label in zip(["O", *sentence.labels], sentence.labels, strict=False):
                if label.startswith("I-"):
                    assert before[1:] == label[1:] and before != "O", sentence
            assert all(word and not re.search(r"\s", word) for word in sentence.words)


def test_no_name_is_in_training_and_test_nor_what_names_it():
    names, parts = {}, {}
    for split, sentences in ENTITIES.items():
        found = [name for sentence in sentences for name, _ in extract_entities(*sentence)]
        names[split] = set(found)
        parts[split] = {w for s in sentences for w, label in zip(*s, strict=True) if label != "O"}
    assert not names["train"] & names["test"]
    both = {word for word in parts["train"] & parts["test"] if word[0].isupper()}
    assert both <= COMMON_WORDS


def test_there_are_as_many_names_as_the_card_says():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    counts = {
        split: Counter(kind for s in sentences for _, kind in extract_entities(*s))
        for split, sentences in ENTITIES.items()
    }
    for kind in ENTITY_TYPES:
        (row,) = re.findall(rf"^\| {kind} \| .* \| (\d+) \| (\d+) \|$", card, flags=re.MULTILINE)
        assert (int(row[0]), int(row[1])) == (counts["train"][kind], counts["test"][kind])
    assert f"| {len(ENTITIES['train'])} | {len(ENTITIES['test'])} |" in card
    none = [sum(set(s.labels) == {"O"} for s in ENTITIES[split]) for split in ("train", "test")]
    assert f"{none[0]} sentences of training and {none[1]} of the test have no name" in " ".join(card.split())
    assert sum(map(len, ENTITIES.values())) >= 300


def test_no_sentence_is_there_twice():
    texts = [" ".join(s.words).casefold() for part in ENTITIES.values() for s in part]
    assert len(texts) == len(set(texts))
    lines = (FOLDER / "entities.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == len(lines)


def test_texts_that_were_changed_are_an_error(tmp_path, monkeypatch, assert_says_four_things):
    shutil.copytree(FOLDER, tmp_path / "text")
    path = tmp_path / "text" / "reviews.csv"
    path.write_bytes(path.read_bytes().replace(b"positive", b"negative", 1))
    monkeypatch.setattr(text_data, "shipped_data_folder", lambda: tmp_path)
    with pytest.raises(DataError, match="missing or damaged") as error:
        read_reviews()
    assert_says_four_things(error.value)
    assert str(path) in str(error.value)


class SmallTokenizer:
    """Stands in for a fast tokenizer of `transformers`: one token for every two letters of a word."""

    pad_token_id = 0

    def __call__(self, texts, is_split_into_words=False, max_length=None, **_):
        rows, words_of = [], []
        for text in texts:
            own = text if is_split_into_words else text.split()
            tokens = [(n, word[k : k + 2]) for n, word in enumerate(own) for k in range(0, len(word), 2)]
            tokens = tokens[: max_length - 2]
            rows.append([1, *(3 + sum(map(ord, token)) % 90 for _, token in tokens), 2])
            words_of.append([None, *(n for n, _ in tokens), None])
        longest = max(map(len, rows))
        coded = Coded()
        coded["input_ids"] = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        coded["attention_mask"] = (coded["input_ids"] != 0).long()
        coded.words_of = [own + [None] * (longest - len(own)) for own in words_of]
        return coded


class Coded(dict):
    def word_ids(self, number):
        return self.words_of[number]


def test_whole_texts_become_samples_that_pool_all_tokens():
    texts = encode_texts(SmallTokenizer(), ["good food", "bad"], [1, 0], SENTIMENTS)
    assert isinstance(texts, TextDataset) and texts.tensors[0].shape == (2, 2, 6)
    assert texts.tensors[0][:, 1].tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]
    assert classes_of(texts) == SENTIMENTS and labels_of(texts).tolist() == [1, 0]
    inputs, labels = next(iter(make_loader(texts, 2)))
    assert inputs.dtype == labels.dtype == torch.int64


def test_words_become_samples_that_pool_their_own_tokens():
    sentence = Sentence(["Anna", "is", "in", "Riga"], ["B-PER", "O", "O", "B-LOC"])
    rows, labels = encode_words(SmallTokenizer(), [sentence, Sentence(["no"], ["O"])]).tensors
    assert rows.shape == (5, 2, 8)
    assert rows[:, 1].tolist() == [
        [0, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 0, 0, 0],
    ]  # fmt: skip
    assert torch.equal(rows[0, 0], rows[3, 0]) and not torch.equal(rows[0, 0], rows[4, 0])
    assert [WORD_LABELS[label] for label in labels] == ["B-PER", "O", "O", "B-LOC", "O"]


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        (Sentence(["Anna"], ["B-PERSON"]), "B-PERSON"),
        (Sentence(["Anna", "sings"], ["B-PER"]), "1 labels"),
        (Sentence(["word"] * 100, ["O"] * 100), "no more than 128 tokens"),
        (Sentence(["a", ""], ["O", "O"]), "word 2"),
    ],
)
def test_a_sentence_that_cannot_be_used_is_named(sentence, message, assert_says_four_things):
    with pytest.raises(DataError, match=message) as error:
        encode_words(SmallTokenizer(), [sentence])
    assert_says_four_things(error.value)


@pytest.mark.parametrize(("texts", "labels"), [([], []), (["one"], [0, 1])])
def test_texts_without_labels_are_an_error(texts, labels, assert_says_four_things):
    with pytest.raises(DataError, match="cannot become samples") as error:
        encode_texts(SmallTokenizer(), texts, labels, SENTIMENTS)
    assert_says_four_things(error.value)


def test_reviews_are_split_once_by_the_seed():
    first, again, other = (load_reviews(Settings(seed=seed), SmallTokenizer()) for seed in (1, 1, 2))
    assert [len(part) for part in first[:3]] == [352, 88, 200]
    for split in ("train", "val", "test"):
        assert torch.equal(getattr(first, split).tensors[0], getattr(again, split).tensors[0])
    assert not torch.equal(first.train.tensors[0], other.train.tensors[0])
    assert np.bincount(labels_of(first.val)).tolist() == [44, 44]
    few = load_reviews(Settings(images_per_class=10), SmallTokenizer())
    assert [np.bincount(labels_of(part)).tolist() for part in few[:2]] == [[8, 8], [2, 2]]


def rows_of(texts):
    return {tuple(row.tolist()) for row in texts.tensors[0][:, 0]}


def test_topics_are_split_with_the_same_test_reviews_for_every_seed():
    first, other = (load_topics(Settings(seed=seed), SmallTokenizer()) for seed in (1, 2))
    assert first.classes == sorted(REVIEWS.topic.unique())
    assert [set(np.bincount(labels_of(part))) for part in first[:3]] == [{20}, {5}, {15}]
    assert torch.equal(first.test.tensors[0], other.test.tensors[0])
    assert not torch.equal(first.train.tensors[0], other.train.tensors[0])
    for splits in (first, other):
        train, val, test = (rows_of(part) for part in splits[:3])
        assert not train & val and not (train | val) & test
    few = load_topics(Settings(images_per_class=10, profile="full"), SmallTokenizer())
    assert [set(np.bincount(labels_of(part))) for part in few[:3]] == [{8}, {2}, {15}]


def test_no_sentence_is_on_both_sides_of_the_split():
    parts = split_sentences(Settings(seed=3))
    texts = {name: {" ".join(s.words) for s in part} for name, part in parts.items()}
    assert [len(part) for part in texts.values()] == [len(ENTITIES["train"]) - 49, 49, len(ENTITIES["test"])]
    assert not texts["train"] & texts["val"] and not (texts["train"] | texts["val"]) & texts["test"]
