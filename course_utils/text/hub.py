"""Text datasets of the `full` profile, from the Hugging Face hub.

They are downloaded on first use, to where `huggingface_hub` keeps its files (`HF_HOME`). The `quick` profile
uses nothing of this.
"""

import pandas as pd

from course_utils.errors import DataError
from course_utils.text.data import SENTIMENTS, Sentence

SST2 = {"repo_id": "stanfordnlp/sst2", "revision": "main"}
CONLL2003 = {"repo_id": "eriktks/conll2003", "revision": "refs/convert/parquet"}

# CoNLL-2003 numbers its labels in this order; MISC is what the course calls OTHER.
CONLL_LABELS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-OTHER", "I-OTHER"]


def sst2() -> pd.DataFrame:
    """Return SST-2 (Socher et al., 2013, aclanthology.org/D13-1170) in the columns of the reviews that ship.

    Its own test labels are secret; its 872 validation sentences are the test set here, as is usual.

    Raises:
        DataError: If it cannot be downloaded or read.
    """
    parts = []
    for split, name in {"train": "train", "test": "validation"}.items():
        table = _parquet(SST2, f"data/{name}-00000-of-00001.parquet")
        label = table["label"].map(dict(enumerate(SENTIMENTS)))
        columns = {"text": table["sentence"].str.strip(), "label": label, "split": split}
        parts.append(pd.DataFrame({**columns, "topic": "film", "kind": "any"}))
    return pd.concat(parts, ignore_index=True)


def conll2003() -> dict[str, list[Sentence]]:
    """Return CoNLL-2003 (Tjong Kim Sang and De Meulder, 2003, arXiv:cs/0306050) under "train" and "test".

    Raises:
        DataError: If it cannot be downloaded or read.
    """
    parts = {}
    for split in ("train", "test"):
        table = _parquet(CONLL2003, f"conll2003/{split}/0000.parquet")
        parts[split] = [
            Sentence([str(word) for word in words], [CONLL_LABELS[tag] for tag in tags])
            for words, tags in zip(table["tokens"], table["ner_tags"], strict=True)
            if len(words)
        ]
    return parts


def _parquet(source: dict, name: str) -> pd.DataFrame:
    try:
        import huggingface_hub

        return pd.read_parquet(huggingface_hub.hf_hub_download(**source, filename=name, repo_type="dataset"))
    except Exception as error:  # whatever the hub's client raises offline, and pandas without pyarrow
        raise DataError(
            "A text dataset of the full profile could not be had.",
            where=f"{source['repo_id']}: {name}",
            expected="the file in the cache of the Hugging Face hub, or a network to download it",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            do='Use profile="quick", whose texts ship with the course; or install what is missing with '
            '`pip install -e ".[text]"` and try again with a network.',
        ) from error
