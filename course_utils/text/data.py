"""Text datasets, and how a tokenizer turns them into samples (lessons 14 and 15).

A *tokenizer* splits a text into tokens and gives each its id. *Padding* makes all texts of a batch as long as
the longest. From then on a text is a sample like a picture: a tensor and a label. A whole text has one label;
in a sentence with named entities, every word has one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import TensorDataset

from course_utils.data.splits import Splits, limit_per_class, stratified_split
from course_utils.errors import DataError
from course_utils.settings import Settings, unknown_name
from course_utils.text.corpora import (
    DOMAINS,
    SENTIMENTS,
    WORD_LABELS,
    Sentence,
    read_entities,
    read_rated_sentences,
)

MAX_TOKENS = 128
"""Longer texts are cut off; none of the texts that ship is that long."""


class TextDataset(TensorDataset):
    """Tokenized texts with labels, in memory.

    Args:
        inputs: int64, [texts, 2, tokens]. First the token ids, padded at the end; then the pooling mask: 1
            for each token that the prediction is about, and 0 for all others.
        labels: int64, [texts].
        classes: The names of the classes.
    """

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor, classes: Sequence[str]):
        super().__init__(inputs, labels)
        self.classes = list(classes)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "TextDataset":
        """Return the texts with these indices, in this order."""
        return TextDataset(*(tensor[np.asarray(indices)] for tensor in self.tensors), self.classes)


def _tokenize(tokenizer, texts: Sequence, **options: object):
    """Return the tokenizer's ids and masks, padded to the longest text."""
    options |= {"padding": True, "truncation": True, "max_length": MAX_TOKENS, "return_tensors": "pt"}
    return tokenizer(list(texts), **options)


def encode_texts(
    tokenizer, texts: Sequence[str], labels: Sequence[int], classes: Sequence[str]
) -> TextDataset:
    """Turn whole texts into samples: every token that is not padding is in the pooling mask."""
    encoding = _tokenize(tokenizer, texts)
    inputs = torch.stack([encoding["input_ids"], encoding["attention_mask"]], dim=1)
    return TextDataset(inputs, torch.tensor(np.asarray(labels), dtype=torch.int64), classes)


def encode_words(tokenizer, sentences: Sequence[Sentence]) -> TextDataset:
    """Turn every word into a sample: its whole sentence, with the word's own tokens in the pooling mask.

    The words come sentence by sentence, in order. The tokenizer must be a fast one of `transformers`, which
    knows the word that a token is from.

    Raises:
        DataError: If a sentence is so long that words would be cut off.
        ValueError: If a label is not among `WORD_LABELS`, or a sentence does not have one label for each
            word.
    """
    encoding = _tokenize(tokenizer, [sentence.words for sentence in sentences], is_split_into_words=True)
    rows, labels = [], []
    for number, sentence in enumerate(sentences):
        word_ids = np.array([-1 if word is None else word for word in encoding.word_ids(number)])
        for place, (word, label) in enumerate(zip(sentence.words, sentence.labels, strict=True)):
            mask = torch.from_numpy(word_ids == place).long()
            if not mask.any():
                raise DataError(
                    "A word has no token of its own.",
                    where=f"word {place + 1} ({word!r}) of: {' '.join(sentence.words)[:200]}",
                    expected=f"at least one token for each word, and no more than {MAX_TOKENS} tokens in all",
                    found="none: the sentence is too long, or the tokenizer leaves this word out",
                    do="Split the sentence in two, or remove the word.",
                )
            rows.append(torch.stack([encoding["input_ids"][number], mask]))
            labels.append(WORD_LABELS.index(label))
    return TextDataset(torch.stack(rows), torch.tensor(labels), WORD_LABELS)


def load_sentiment(settings: Settings, tokenizer, domain: str = "films") -> Splits:
    """Return the rated sentences of one domain, with their sentiment as the label: 2 classes.

    Validation texts are drawn from the training texts as `load_splits` draws images: by the seed, with the
    same share of each class. Test texts are those of the table, from reviews and articles that are not in
    training. Here, `images_per_class` is the number of texts of each class.

    Raises:
        ConfigError: If there is no such domain.
        DataError: If the texts are missing or damaged, or are too few to be split.
    """
    if domain not in DOMAINS:
        raise unknown_name("domain", domain, DOMAINS)
    table = read_rated_sentences()
    table = table[table.domain == domain]
    source, test = (
        encode_texts(tokenizer, part.text, part.label.map(SENTIMENTS.index), SENTIMENTS)
        for part in (table[table.split == "train"], table[table.split == "test"])
    )
    chosen = limit_per_class(source, np.arange(len(source)), settings.images_per_class, settings.seed)
    train, val = stratified_split(source, chosen, settings.val_fraction, settings.seed)
    return Splits(source.subset(train), source.subset(val), test, source.classes)


def split_sentences(settings: Settings) -> dict[str, list[Sentence]]:
    """Return the sentences with named entities under "train", "val" and "test".

    Whole sentences are drawn for validation, because the words of one sentence say too much about each other.
    """
    parts = read_entities()
    order = np.random.default_rng(settings.seed).permutation(len(parts["train"]))
    count = max(1, round(settings.val_fraction * len(order)))
    train, val = ([parts["train"][index] for index in sorted(own)] for own in (order[count:], order[:count]))
    return {"train": train, "val": val, "test": parts["test"]}
