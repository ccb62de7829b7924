"""Tests of the texts that ship, which are what their card says, and of stand-ins for those of the hub."""

import csv
import json
import re
import shutil
from collections import Counter

import pandas as pd
import pytest

from course_utils.errors import DataError
from course_utils.settings import REPOSITORY_FOLDER, Settings
from course_utils.text import corpora
from course_utils.text.corpora import ENTITY_TYPES, SENTIMENTS, WORD_LABELS, read_entities, read_reviews
from course_utils.text.entities import extract_entities

FOLDER = REPOSITORY_FOLDER / "data" / "text"
REVIEWS = read_reviews()
ENTITIES = read_entities()
FULL = Settings(profile="full")
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


def test_texts_that_were_changed_are_an_error(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "text")
    path = tmp_path / "text" / "reviews.csv"
    path.write_bytes(path.read_bytes().replace(b"positive", b"negative", 1))
    monkeypatch.setattr(corpora, "shipped_data_folder", lambda: tmp_path)
    with pytest.raises(DataError, match="missing or damaged") as error:
        read_reviews()
    assert str(path) in str(error.value)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve small tables in the form of SST-2's and CoNLL-2003's from a folder; list the requests."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[text]'")
    requested = []

    def download(repo_id, filename, repo_type, revision):
        requested.append(filename)
        path = tmp_path / filename.replace("/", "-")
        if "sst2" in repo_id:
            pd.DataFrame(
                {"idx": [0, 1], "sentence": ["a dull film ", "great fun "], "label": [0, 1]}
            ).to_parquet(path)
        else:
            words, tags = [["EU", "rejects", "German", "call"], []], [[3, 0, 7, 0], []]
            pd.DataFrame({"id": ["0", "1"], "tokens": words, "ner_tags": tags}).to_parquet(path)
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return requested


def test_sst2_has_the_columns_of_the_reviews_that_ship(hub):
    table = read_reviews(FULL)
    assert set(read_reviews().columns) - {"id"} == set(table.columns)
    assert table.text.tolist() == ["a dull film", "great fun"] * 2
    assert set(table.label) == set(SENTIMENTS) and list(table.split) == ["train"] * 2 + ["test"] * 2
    assert hub == [f"data/{name}-00000-of-00001.parquet" for name in ("train", "validation")]


def test_conll_s_misc_is_called_other_and_empty_sentences_are_left_out(hub):
    parts = read_entities(FULL)
    assert list(parts) == ["train", "test"]
    (sentence,) = parts["test"]
    assert sentence.words == ["EU", "rejects", "German", "call"]
    assert sentence.labels == ["B-ORG", "O", "B-OTHER", "O"]
    assert set(corpora.CONLL_LABELS) == set(WORD_LABELS)


@pytest.mark.parametrize("read", [read_reviews, read_entities])
def test_without_a_network_and_a_cache_it_says_what_to_do(
    read, no_network, no_waiting, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="could not be had") as error:
        read(FULL)
    assert 'profile="quick"' in str(error.value)
