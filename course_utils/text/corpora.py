"""Texts of lessons 13 to 15: sentences that people have rated, and sentences with named entities.

Those of the `quick` profile ship with the course. For `full`, all rated sentences are read from the archive
that they come from, and the entities from the Hugging Face hub; both are downloaded on first use.
"""

import ast
import html
import io
import json
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from course_utils.data.splits import check_sums
from course_utils.downloads import KnownFile, download
from course_utils.errors import DataError
from course_utils.settings import Settings, downloads_folder, shipped_data_folder

SENTIMENTS = ["negative", "positive"]
"""The classes of a rated sentence, in the order of their numbers."""

DOMAINS = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
"""The four domains of the rated sentences, and how their files in the archive begin."""

RATINGS = range(-4, 5)
"""From extremely negative to extremely positive; 0 is neutral."""

LEAST_MEAN = 0.5
"""A sentence whose mean rating is nearer to 0 has no side, and gets no label."""

NEAR_TWIN = 0.7
"""Two sentences at least this alike (see `likeness`) never lie on both sides of a split."""

RATED_ARCHIVE = KnownFile(
    "vaderSentiment-3.3.2.tar.gz",
    ("https://files.pythonhosted.org/packages/source/v/vaderSentiment/vaderSentiment-3.3.2.tar.gz",),
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    size=2466783,
)
"""The source archive of vaderSentiment (Hutto and Gilbert, 2014), which has the rated sentences."""

ENTITY_TYPES = ["PER", "LOC", "ORG", "OTHER"]
"""A person, a place, an organisation, and a name of anything else."""

WORD_LABELS = ["O", *(f"{begin}-{kind}" for kind in ENTITY_TYPES for begin in "BI")]
"""The classes of a word (Ramshaw and Marcus, 1995, arXiv:cmp-lg/9505040): B begins an entity, I continues it,
and O is outside."""

CONLL2003 = {"repo_id": "eriktks/conll2003", "repo_type": "dataset", "revision": "refs/convert/parquet"}

# CoNLL-2003 numbers its labels in this order; MISC is what the course calls OTHER.
CONLL_LABELS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-OTHER", "I-OTHER"]


class Sentence(NamedTuple):
    """A sentence in words, with a label for each of them."""

    words: list[str]
    labels: list[str]


def read_rated_sentences(settings: Settings | None = None) -> pd.DataFrame:
    """Return the rated sentences of the settings' profile: one row each.

    The columns are id, domain (one of `DOMAINS`), split ("train" or "test"), label (one of `SENTIMENTS`, by
    the sign of the mean rating), mean (-4 to 4), raters (how many), agreement (the share of raters, 0 to 1,
    whose rating has the sign of the mean), ratings (how many gave each of `RATINGS`, a tuple) and text.

    In the `quick` profile these are 5,000 sentences that ship, half of them positive. In `full` the test
    sentences are the same; all others of the archive with a label are for training, except near twins of a
    test sentence, and sentences of a review or an article that has one in the test.

    Raises:
        DataError: If the file is missing or damaged, or cannot be downloaded.
    """
    if settings is None or settings.profile != "full":
        return _with_ratings(_shipped_sentences())
    return _with_ratings(_all_sentences(download(RATED_ARCHIVE, downloads_folder())))


def _shipped_sentences() -> pd.DataFrame:
    shipped = pd.read_csv(_shipped("sentences.csv"), dtype={"id": str}, keep_default_na=False)
    shipped["ratings"] = shipped.ratings.map(lambda counts: tuple(map(int, counts.split())))
    return shipped


@lru_cache(maxsize=1)  # a lesson asks for each domain by itself, and looking for twins takes long
def _all_sentences(archive: Path) -> pd.DataFrame:
    """Return the test sentences that ship, and for training all others of the archive that may be."""
    shipped = _shipped_sentences()
    test = shipped[shipped.split == "test"]
    table = read_archive(archive)
    table = table[~table.source.isin(source_of(test.id)) & (mean_rating(table.ratings).abs() >= LEAST_MEAN)]
    parts = [test]
    for domain, own in table.groupby("domain", sort=False):
        twin = (likeness(own.text, test.text[test.domain == domain]) >= NEAR_TWIN).sum(axis=1) > 0
        parts.append(own[~np.asarray(twin).ravel()].assign(split="train"))
    return pd.concat(parts, ignore_index=True)


def read_archive(path: Path) -> pd.DataFrame:
    """Return all sentences of the archive: id, domain, source, ratings and text, in the archive's order.

    A source is a review of products or an editorial; a film sentence and a tweet stand for themselves.

    Raises:
        DataError: If it is not the archive, or a sentence has no ratings.
    """
    try:
        with tarfile.open(path) as outer:
            (name,) = (name for name in outer.getnames() if name.endswith("/hutto_ICWSM_2014.tar.gz"))
            content = io.BytesIO(outer.extractfile(name).read())
        with tarfile.open(fileobj=content) as inner:
            parts = [_read_domain(inner, domain) for domain in DOMAINS]
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError) as error:
        raise DataError(
            "The archive with the rated sentences cannot be read.",
            where=path,
            expected="the source archive of vaderSentiment 3.3.2, with hutto_ICWSM_2014.tar.gz inside",
            found=f"{type(error).__name__}: {error}",
            do=f"Delete it and download it again; its SHA-256 begins with {RATED_ARCHIVE.sha256[:12]}.",
        ) from error
    return pd.concat(parts, ignore_index=True)


def _read_domain(archive: tarfile.TarFile, domain: str) -> pd.DataFrame:
    texts, ratings = (
        _read_rows(archive, f"hutto_ICWSM_2014/{DOMAINS[domain]}_{kind}.txt")
        for kind in ("GroundTruth", "anonDataRatings")
    )
    rows = []
    for key, (_, text) in texts.items():
        given = ast.literal_eval(ratings[key][-1])
        counts = tuple(given.count(rating) for rating in RATINGS)
        rows.append({"id": f"{domain}-{key}", "domain": domain, "ratings": counts, "text": text})
    table = pd.DataFrame(rows)
    return table.assign(source=source_of(table.id))


def _read_rows(archive: tarfile.TarFile, name: str) -> dict[str, list[str]]:
    """Return the cells of a tab-separated file after the first, which is the key, line by line."""
    rows = {}
    for line in archive.extractfile(name).read().split(b"\n"):
        try:  # most lines are Latin-1, some films' are UTF-8
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        key, *cells = html.unescape(html.unescape(text)).strip().split("\t")
        if cells:
            rows[key] = cells
    return rows


def source_of(ids: pd.Series) -> pd.Series:
    """Return the review or article that each sentence is from, by its id."""
    return ids.str.partition("_")[0]


def likeness(texts: pd.Series, others: pd.Series) -> csr_array:
    """Return how alike each text is to each other one, from 0 to 1: sparse, float64, [texts, others].

    The cosine between their TF-IDF vectors of runs of three to five characters, which small changes of
    spelling hardly alter (as in Huang, 2008, "Similarity measures for text document clustering").
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    vectorizer.fit(pd.concat([texts, others]))
    return csr_array(vectorizer.transform(texts) @ vectorizer.transform(others).T)


def mean_rating(ratings: pd.Series) -> pd.Series:
    """Return the mean rating (float64, -4 to 4) of each sentence, from how many raters gave each rating."""
    counts = np.array(ratings.to_list())
    return pd.Series(counts @ np.array(RATINGS) / counts.sum(axis=1), index=ratings.index)


def one_rater_accuracy(ratings: pd.Series) -> np.ndarray:
    """Return how often one rater agrees with all the others about the side of each sentence.

    A sentence's side is the sign of the mean of the others' ratings. A rater who has chosen 0, and others
    whose mean is 0, take no side: that counts as half, as a guess between two sides would.

    Args:
        ratings: How many raters gave each of `RATINGS`, a tuple for each sentence.

    Returns:
        float64, [sentences], from 0 to 1: the mean over its raters.
    """
    counts, given = np.array(ratings.to_list()), np.array(RATINGS)
    others = (counts @ given)[:, None] - given  # their sum; where nobody gave this rating, it counts 0 times
    right = (1 + np.sign(given) * np.sign(others)) / 2
    return (counts * right).sum(axis=1) / counts.sum(axis=1)


def _with_ratings(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what follows from the ratings: the label, the mean, the raters, the agreement."""
    counts, mean = np.array(table.ratings.to_list()), mean_rating(table.ratings)
    positive = (mean > 0).astype(int)
    agreeing = np.where(positive, counts[:, 5:].sum(axis=1), counts[:, :4].sum(axis=1))
    columns = {"id": table.id, "domain": table.domain, "split": table.split}
    columns |= {"label": positive.map(dict(enumerate(SENTIMENTS))), "mean": mean}
    columns |= {"raters": counts.sum(axis=1), "agreement": agreeing / counts.sum(axis=1)}
    return pd.DataFrame({**columns, "ratings": table.ratings, "text": table.text})


def read_entities(settings: Settings) -> dict[str, list[Sentence]]:
    """Return the sentences with named entities of the settings' profile, under the keys "train" and "test".

    In the `quick` profile these are the 336 sentences that ship; in the `full` profile CoNLL-2003 (Tjong Kim
    Sang and De Meulder, 2003, arXiv:cs/0306050), whose MISC is called OTHER here.

    Raises:
        DataError: If the file is missing or damaged, or cannot be downloaded.
    """
    parts = {"train": [], "test": []}
    if settings.profile != "full":
        for line in _shipped("entities.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            parts[row["split"]].append(Sentence(row["words"], row["labels"]))
        return parts
    for split, sentences in parts.items():
        table = _from_hub(f"conll2003/{split}/0000.parquet")
        for words, tags in zip(table["tokens"], table["ner_tags"], strict=True):
            if len(words):
                sentences.append(Sentence([str(word) for word in words], [CONLL_LABELS[tag] for tag in tags]))
    return parts


def _shipped(name: str) -> Path:
    folder = shipped_data_folder() / "text"
    check_sums(folder)
    return folder / name


def _from_hub(name: str) -> pd.DataFrame:
    try:
        import huggingface_hub

        return pd.read_parquet(huggingface_hub.hf_hub_download(filename=name, **CONLL2003))
    except Exception as error:  # whatever the hub's client raises offline, and pandas without pyarrow
        raise DataError(
            "A text dataset of the full profile could not be loaded.",
            where=f"{CONLL2003['repo_id']}: {name}",
            expected="the file in the cache of the Hugging Face hub, or a network to download it",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            do="pip install huggingface-hub pyarrow (in a notebook: %pip install ...); restart the kernel."
            if isinstance(error, ImportError)
            else 'Try again with a network, or use profile="quick", whose texts ship with the course.',
        ) from error
