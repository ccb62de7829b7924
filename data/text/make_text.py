"""Make the rated sentences that ship with the course from the archive that they come from.

    python data/text/make_text.py --archive vaderSentiment-3.3.2.tar.gz [--output FOLDER]

The archive is what `pip download --no-deps --no-binary :all: vaderSentiment==3.3.2` fetches. Given the same
archive, sentences.csv is made again byte for byte, and SHA256SUMS gets its sum; the entities are not touched.
"""

import argparse
import ast
import hashlib
import html
import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from course_utils.downloads import KnownFile, difference
from course_utils.text.corpora import DOMAINS, RATINGS, SENTIMENTS, mean_rating

FILES = {  # how the files of each domain begin
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
LEAST_MEAN = 0.5  # a sentence whose mean rating is nearer to 0 has no side, and gets no label
NEAR_TWIN = 0.7  # two sentences at least this alike (see `likeness`) are never on both sides of a split
RATED_ARCHIVE = KnownFile(  # vaderSentiment (Hutto and Gilbert, 2014)
    "vaderSentiment-3.3.2.tar.gz",
    ("https://files.pythonhosted.org/packages/source/v/vaderSentiment/vaderSentiment-3.3.2.tar.gz",),
    "sha256:5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
SEED = 0
TEST = 200  # of each label, in each domain
TRAIN = {"films": 600, "products": 400, "editorials": 300, "tweets": 400}  # of each label, at most


def read_archive(path: Path) -> pd.DataFrame:
    """Return all sentences of the archive: id, domain, source, ratings and text, in the archive's order.

    A source is a review of products or an editorial; a film sentence and a tweet stand for themselves.
    """
    with tarfile.open(path) as outer:
        (name,) = (name for name in outer.getnames() if name.endswith("/hutto_ICWSM_2014.tar.gz"))
        content = io.BytesIO(outer.extractfile(name).read())
    with tarfile.open(fileobj=content) as inner:
        parts = [read_domain(inner, domain) for domain in DOMAINS]
    return pd.concat(parts, ignore_index=True)


def read_domain(archive: tarfile.TarFile, domain: str) -> pd.DataFrame:
    texts, ratings = (
        read_rows(archive, f"hutto_ICWSM_2014/{FILES[domain]}_{kind}.txt")
        for kind in ("GroundTruth", "anonDataRatings")
    )
    rows = []
    for key, (_, text) in texts.items():
        given = ast.literal_eval(ratings[key][-1])
        counts = tuple(given.count(rating) for rating in RATINGS)
        rows.append({"id": f"{domain}-{key}", "domain": domain, "ratings": counts, "text": text})
    table = pd.DataFrame(rows)
    return table.assign(source=source_of(table.id))


def read_rows(archive: tarfile.TarFile, name: str) -> dict[str, list[str]]:
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
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    vectorizer.fit(pd.concat([texts, others]))
    return csr_array(vectorizer.transform(texts) @ vectorizer.transform(others).T)


def without_twins(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out every sentence that is a near twin of one before it."""
    alike = likeness(table.text, table.text).tocoo()
    later = alike.row[(alike.row > alike.col) & (alike.data >= NEAR_TWIN)]
    return table.drop(table.index[np.unique(later)])


def divide(table: pd.DataFrame, train: int) -> pd.DataFrame:
    """Choose test and training sentences of one domain: none from a source that has some on the other side.

    Sources are gone through in a random order. A source's sentences are for the test until it has enough of
    both labels; all later sources are for training.
    """
    dice = np.random.default_rng(SEED)
    sources = dice.permutation(table.source.unique())
    rank = table.source.map({source: place for place, source in enumerate(sources)})
    table = table.assign(rank=rank).sort_values(["rank", "id"], kind="stable")
    positive = table.label == SENTIMENTS[1]
    enough = (positive.cumsum() >= TEST) & ((~positive).cumsum() >= TEST)
    last = table["rank"][enough].iloc[0]
    parts = []
    for split, own, count in (
        ("test", table[table["rank"] <= last], TEST),
        ("train", table[table["rank"] > last], train),
    ):
        parts.append(own.groupby("label", sort=True).head(count).assign(split=split))
    return pd.concat(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="vaderSentiment-3.3.2.tar.gz")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    if problem := difference(options.archive, RATED_ARCHIVE):
        parser.error(f"{options.archive} is not the archive: {problem}")
    table = read_archive(options.archive)
    table["mean"] = mean_rating(table.ratings)
    table = table[table["mean"].abs() >= LEAST_MEAN]
    table["label"] = np.where(table["mean"] > 0, SENTIMENTS[1], SENTIMENTS[0])
    parts = [divide(without_twins(table[table.domain == domain]), count) for domain, count in TRAIN.items()]
    chosen = pd.concat(parts).sort_index()  # the archive's order
    chosen["ratings"] = chosen.ratings.map(lambda counts: " ".join(map(str, counts)))
    columns = ["id", "domain", "split", "ratings", "text"]
    path = options.output / "sentences.csv"
    chosen[columns].to_csv(path, index=False, lineterminator="\n")
    print(chosen.groupby(["domain", "split", "label"], sort=False).size().unstack().to_string())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entities = (Path(__file__).parent / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    lines = [line for line in entities if line.endswith("  entities.jsonl")]
    sums = "\n".join([f"{digest}  sentences.csv", *lines, ""])
    (options.output / "SHA256SUMS").write_text(sums, encoding="utf-8")


if __name__ == "__main__":
    main()
