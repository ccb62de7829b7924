"""Make the rated sentences that ship with the course from the archive that they come from.

    python data/text/make_text.py --archive vaderSentiment-3.3.2.tar.gz [--output FOLDER]

The archive is what `pip download --no-deps --no-binary :all: vaderSentiment==3.3.2` fetches. Given the same
archive, sentences.csv is made again byte for byte, and SHA256SUMS gets its sum; the entities are not touched.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from course_utils.downloads import difference
from course_utils.text.corpora import (
    LEAST_MEAN,
    NEAR_TWIN,
    RATED_ARCHIVE,
    SENTIMENTS,
    likeness,
    mean_rating,
    read_archive,
)

SEED = 0
TEST = 200  # of each label, in each domain
TRAIN = {"films": 600, "products": 400, "editorials": 300, "tweets": 400}  # of each label, at most


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
