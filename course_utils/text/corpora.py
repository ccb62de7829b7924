"""Texts of lesson 10: reviews, and sentences with named entities.

Those of the `quick` profile ship with the course. Those of `full` come from the Hugging Face hub; they are
downloaded on first use, to where `huggingface_hub` keeps its files (`HF_HOME`).
"""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from course_utils.data import check_sums
from course_utils.errors import DataError
from course_utils.settings import Settings, shipped_data_folder

SENTIMENTS = ["negative", "positive"]
"""The classes of a review, in the order of their numbers."""

ENTITY_TYPES = ["PER", "LOC", "ORG", "OTHER"]
"""A person, a place, an organisation, and a name of anything else."""

WORD_LABELS = ["O", *(f"{begin}-{kind}" for kind in ENTITY_TYPES for begin in "BI")]
"""The classes of a word (Ramshaw and Marcus, 1995, arXiv:cmp-lg/9505040): B begins an entity, I continues it,
and O is outside."""

SST2 = {"repo_id": "stanfordnlp/sst2", "revision": "main"}
CONLL2003 = {"repo_id": "eriktks/conll2003", "revision": "refs/convert/parquet"}

# CoNLL-2003 numbers its labels in this order; MISC is what the course calls OTHER.
CONLL_LABELS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-OTHER", "I-OTHER"]


class Sentence(NamedTuple):
    """A sentence in words, with a label for each of them."""

    words: list[str]
    labels: list[str]


def read_reviews(settings: Settings | None = None) -> pd.DataFrame:
    """Return the reviews of the settings' profile: one row each, with text, label and split.

    In the `quick` profile these are the 640 reviews that ship, which also have a topic and a kind (plain,
    negation, irony or mixed); in the `full` profile SST-2 (Socher et al., 2013, aclanthology.org/D13-1170).

    Raises:
        DataError: If the file is missing or damaged, or cannot be downloaded.
    """
    if settings is None or settings.profile != "full":
        return pd.read_csv(_shipped("reviews.csv"))
    parts = []
    # The labels of SST-2's own test are secret; its 872 validation sentences are the test set, as is usual.
    for split, name in {"train": "train", "test": "validation"}.items():
        table = _from_hub(SST2, f"data/{name}-00000-of-00001.parquet")
        label = table["label"].map(dict(enumerate(SENTIMENTS)))
        columns = {"text": table["sentence"].str.strip(), "label": label, "split": split}
        parts.append(pd.DataFrame({**columns, "topic": "film", "kind": "any"}))
    return pd.concat(parts, ignore_index=True)


def read_entities(settings: Settings | None = None) -> dict[str, list[Sentence]]:
    """Return the sentences with named entities of the settings' profile, under the keys "train" and "test".

    In the `quick` profile these are the 336 sentences that ship; in the `full` profile CoNLL-2003 (Tjong Kim
    Sang and De Meulder, 2003, arXiv:cs/0306050), whose MISC is called OTHER here.

    Raises:
        DataError: If the file is missing or damaged, or cannot be downloaded.
    """
    parts = {"train": [], "test": []}
    if settings is None or settings.profile != "full":
        for line in _shipped("entities.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            parts[row["split"]].append(Sentence(row["words"], row["labels"]))
        return parts
    for split, sentences in parts.items():
        table = _from_hub(CONLL2003, f"conll2003/{split}/0000.parquet")
        for words, tags in zip(table["tokens"], table["ner_tags"], strict=True):
            if len(words):
                sentences.append(Sentence([str(word) for word in words], [CONLL_LABELS[tag] for tag in tags]))
    return parts


def _shipped(name: str) -> Path:
    folder = shipped_data_folder() / "text"
    check_sums(folder)
    return folder / name


def _from_hub(source: dict, name: str) -> pd.DataFrame:
    try:
        import huggingface_hub

        return pd.read_parquet(huggingface_hub.hf_hub_download(**source, filename=name, repo_type="dataset"))
    except Exception as error:  # whatever the hub's client raises offline, and pandas without pyarrow
        raise DataError(
            "A text dataset of the full profile could not be had.",
            where=f"{source['repo_id']}: {name}",
            expected="the file in the cache of the Hugging Face hub, or a network to download it",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            do="pip install huggingface-hub pyarrow (in a notebook: %pip install ...); restart the kernel."
            if isinstance(error, ImportError)
            else 'Try again with a network, or use profile="quick", whose texts ship with the course.',
        ) from error
