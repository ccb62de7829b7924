"""Where do texts come from, and how do they become numbers that a network can use?

A *tokenizer* cuts a text into word pieces and gives each its number. A batch of texts is made as long as its
longest by *padding*. From there on a text is a sample like a picture: a tensor and a label. Lesson 10 shows
it for reviews, where a whole text has one label, and for names in sentences, where every word has one.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.utils.data import TensorDataset

from course_utils.data import Splits, check_sums, limit_per_class, stratified_split
from course_utils.errors import DataError
from course_utils.settings import Settings, shipped_data_folder

SENTIMENTS = ["negative", "positive"]
"""The classes of a review, in the order of their numbers."""

NAME_TYPES = ["PER", "LOC", "ORG", "OTHER"]
"""A person, a place, an organisation, and a name of anything else."""

WORD_LABELS = ["O", *(f"{begin}-{kind}" for kind in NAME_TYPES for begin in "BI")]
"""The classes of a word (Ramshaw and Marcus, 1995, arXiv:cmp-lg/9505040): B begins a name, I goes on with it,
and O is no name."""

LONGEST = 128
"""Word pieces. What is longer is cut off; of the texts that ship, none is."""


TOPIC_TEST_FRACTION = 0.375
"""Fifteen of the forty reviews of each topic."""


class Texts(TensorDataset):
    """Texts as the encoder is given them, and a label for each.

    Args:
        inputs: int64, [texts, 2, pieces]. First the numbers of the word pieces, padded at the end; then 1 for
            each piece whose meaning counts for the label, and 0 for each other.
        labels: int64, [texts].
        classes: The names of the classes.
    """

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor, classes: Sequence[str]):
        super().__init__(inputs, labels)
        self.classes = list(classes)

    def part(self, indices: Sequence[int] | np.ndarray) -> "Texts":
        """Return those texts, in that order, in memory as this dataset is."""
        places = torch.as_tensor(np.asarray(indices), dtype=torch.int64)
        return Texts(self.tensors[0][places], self.tensors[1][places], self.classes)


class Sentence(NamedTuple):
    """A sentence, cut into words, with a label for each of them."""

    words: list[str]
    labels: list[str]


def read_reviews(settings: Settings | None = None) -> pd.DataFrame:
    """Return the reviews of the settings' profile: one row each, with text, label and split.

    In the `quick` profile these are the 640 reviews that ship, which also have a topic and a kind (plain,
    negation, irony or mixed); in the `full` profile SST-2 (Socher et al., 2013).

    Raises:
        DataError: If the file is missing or damaged, or cannot be downloaded.
    """
    if settings is not None and settings.profile == "full":
        from course_utils.text.hub import sst2

        return sst2()
    return pd.read_csv(_shipped("reviews.csv"))


def read_entities(settings: Settings | None = None) -> dict[str, list[Sentence]]:
    """Return the sentences with names of the settings' profile, under the keys "train" and "test".

    In the `quick` profile these are the 336 sentences that ship; in the `full` profile CoNLL-2003 (Tjong Kim
    Sang and De Meulder, 2003), whose MISC is called OTHER here.

    Raises:
        DataError: If the file is missing or damaged, or cannot be downloaded.
    """
    if settings is not None and settings.profile == "full":
        from course_utils.text.hub import conll2003

        return conll2003()
    parts = {"train": [], "test": []}
    for line in _shipped("entities.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parts[row["split"]].append(Sentence(row["words"], row["labels"]))
    return parts


def _shipped(name: str):
    folder = shipped_data_folder() / "text"
    check_sums(folder)
    return folder / name


def encode_texts(tokenizer, texts: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> Texts:
    """Turn whole texts into samples: every piece that is not padding counts for the label.

    Args:
        tokenizer: One of `transformers`, with a padding token.
        texts: What is cut into pieces.
        labels: The number of each text's class.
        classes: The names of the classes.
    """
    _check_texts(texts, labels)
    options = {"padding": True, "truncation": True, "max_length": LONGEST, "return_tensors": "pt"}
    coded = tokenizer(list(texts), **options)
    inputs = torch.stack([coded["input_ids"], coded["attention_mask"]], dim=1)
    return Texts(inputs, torch.tensor(np.asarray(labels), dtype=torch.int64), classes)


def encode_words(tokenizer, sentences: Sequence[Sentence], classes: Sequence[str] = WORD_LABELS) -> Texts:
    """Turn every word of some sentences into a sample: the whole sentence, in which its own pieces count.

    The words come sentence by sentence, in order.

    Args:
        tokenizer: A fast one of `transformers`, which knows from which word a piece is.
        sentences: Words and their labels.
        classes: The labels that there are.

    Raises:
        DataError: If a label is not among the classes, a sentence has not one label for each word, or a
            sentence is so long that words would be cut off.
    """
    _check_texts(sentences, sentences)
    texts = [sentence.words for sentence in sentences]
    options = {"padding": True, "truncation": True, "max_length": LONGEST, "return_tensors": "pt"}
    coded = tokenizer(texts, is_split_into_words=True, **options)
    rows, labels = [], []
    for number, sentence in enumerate(sentences):
        _check_labels_of(sentence, classes)
        word_of_piece = np.array([-1 if word is None else word for word in coded.word_ids(number)])
        for place, label in enumerate(sentence.labels):
            own = torch.from_numpy(word_of_piece == place).long()
            if not own.any():
                raise _word_lost(sentence, place)
            rows.append(torch.stack([coded["input_ids"][number], own]))
            labels.append(classes.index(label))
    return Texts(torch.stack(rows), torch.tensor(labels), classes)


def load_reviews(settings: Settings, tokenizer) -> Splits:
    """Return the reviews as training, validation and test samples.

    Validation texts are drawn from the training texts as `load_splits` draws images: by the seed, with the
    same share of every class. In the reviews that ship, test texts are about topics of their own.

    Args:
        settings: `images_per_class` (here: texts of each class), `val_fraction` and `seed` are used, and
            `profile` says which reviews.
        tokenizer: That of the encoder, from `encoders.load_tokenizer`.

    Raises:
        DataError: If the texts cannot be had, or are too few to be split.
    """
    table = read_reviews(settings)
    parts = {}
    for split in ("train", "test"):
        own = table[table.split == split]
        parts[split] = encode_texts(tokenizer, own.text, own.label.map(SENTIMENTS.index), SENTIMENTS)
    source = parts["train"]
    kept = limit_per_class(source, np.arange(len(source)), settings)
    train, val = stratified_split(source, kept, settings.val_fraction, settings.seed)
    return Splits(source.part(train), source.part(val), parts["test"], SENTIMENTS)


def load_topics(settings: Settings, tokenizer) -> Splits:
    """Return the reviews that ship once more, with their topic as the label: sixteen classes of forty.

    Here all topics are on both sides, or there would be nothing to learn. The test reviews, fifteen of each
    topic, are always the same ones; the seed draws training and validation texts from the others.

    Args:
        settings: `images_per_class` (here: texts of each topic), `val_fraction` and `seed` are used. Any
            profile: the public reviews of `full` have no topics.
        tokenizer: That of the encoder, from `encoders.load_tokenizer`.

    Raises:
        DataError: If the texts are missing or damaged, or too few to be split.
    """
    table = read_reviews()
    topics = sorted(table.topic.unique())
    source = encode_texts(tokenizer, table.text, table.topic.map(topics.index), topics)
    others, test = stratified_split(source, np.arange(len(source)), TOPIC_TEST_FRACTION, seed=0)
    kept = limit_per_class(source, others, settings)
    train, val = stratified_split(source, kept, settings.val_fraction, settings.seed)
    return Splits(source.part(train), source.part(val), source.part(test), topics)


def split_sentences(settings: Settings) -> dict[str, list[Sentence]]:
    """Return the sentences with names under "train", "val" and "test"; no sentence is in two of them.

    Sentences are drawn for validation, not words: the words of one sentence know too much of each other.
    """
    parts = read_entities(settings)
    order = np.random.default_rng(settings.seed).permutation(len(parts["train"]))
    count = max(1, round(settings.val_fraction * len(order)))
    val, train = np.sort(order[:count]), np.sort(order[count:])
    return {
        "train": [parts["train"][place] for place in train],
        "val": [parts["train"][place] for place in val],
        "test": parts["test"],
    }


def _check_texts(texts: Sequence, labels: Sequence) -> None:
    if len(texts) == 0 or len(texts) != len(labels):
        raise DataError(
            "These texts cannot become samples.",
            where="texts",
            expected="at least one text, and one label for each",
            found=f"{len(texts)} texts and {len(labels)} labels",
            do="Look at how the table was read, and at its columns.",
        )


def _check_labels_of(sentence: Sentence, classes: Sequence[str]) -> None:
    unknown = sorted(set(sentence.labels) - set(classes))
    if unknown or len(sentence.words) != len(sentence.labels):
        raise DataError(
            "The labels do not fit the words of a sentence.",
            where=" ".join(sentence.words),
            expected=f"a label for each of the {len(sentence.words)} words, of {', '.join(classes)}",
            found=f"{len(sentence.labels)} labels{': ' + ', '.join(unknown) if unknown else ''}",
            do="Mend the sentence in its file.",
        )


def _word_lost(sentence: Sentence, place: int) -> DataError:
    return DataError(
        "A word has no piece of its own.",
        where=f"word {place + 1} ({sentence.words[place]!r}) of: {' '.join(sentence.words)[:200]}",
        expected=f"at least one piece for each word, and no more than {LONGEST} pieces in all",
        found="none: the sentence is too long, or the tokenizer leaves this word out",
        do="Cut the sentence in two, or take the word out.",
    )
