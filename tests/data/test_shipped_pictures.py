"""The pictures that ship: whole, each with its author and licence, and none on both sides of a split."""

import csv
import hashlib
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils.data.image_io import load_rgb
from course_utils.settings import REPOSITORY_FOLDER, shipped_data_folder

pytestmark = pytest.mark.usefixtures("no_network")

SHIPPED = shipped_data_folder()
CLIPART, PHOTOGRAPHS = SHIPPED / "clipart", SHIPPED / "photographs"
DRAWINGS, PHOTOS = sorted(CLIPART.glob("*/*/*.png")), sorted(PHOTOGRAPHS.glob("*/*.png"))


def rows_of(table):
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def drawings():
    return rows_of(CLIPART / "drawings.csv")


@pytest.mark.parametrize(
    "name, pattern",
    [("fashion_mnist_sample", "*/raw/*"), ("clipart", "*/*/*.png"), ("photographs", "*/*.png")],
)
def test_sums_are_those_of_the_files_that_ship(name, pattern):
    root = SHIPPED / name
    lines = (root / "SHA256SUMS").read_text().splitlines()
    found = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}"
        for path in root.glob(pattern)
    ]
    assert sorted(lines) == sorted(found)


# Whose they are


def licence_of(file):
    """Return the licence that REUSE.toml gives to a file: the last entry that fits."""
    entries = tomllib.loads((REPOSITORY_FOLDER / "REUSE.toml").read_text("utf-8"))["annotations"]
    licence = None
    for entry in entries:
        paths = [entry["path"]] if isinstance(entry["path"], str) else entry["path"]
        if any(fnmatch(file, path) for path in paths):
            licence = entry["SPDX-License-Identifier"]
    return licence


def test_drawings_csv_lists_what_is_in_the_folders(drawings):
    assert Counter(row["file"] for row in drawings) == Counter(
        path.relative_to(CLIPART).as_posix() for path in DRAWINGS
    )
    for row in drawings:
        assert row["file"] == f"{row['split']}/{row['class']}/{Path(row['path']).name}"
        assert row["licence"] == "PublicDomain" and row["title"] and row["author"]
    assert len({row["path"] for row in drawings}) == len(drawings)


def test_photographs_csv_says_whose_each_one_is_and_its_licence():
    rows = rows_of(PHOTOGRAPHS / "photographs.csv")
    assert sorted(row["file"] for row in rows) == [
        path.relative_to(PHOTOGRAPHS).as_posix() for path in PHOTOS
    ]
    texts = {path.stem for path in (REPOSITORY_FOLDER / "LICENSES").glob("*.txt")}
    for row in rows:
        assert row["file"] == f"{row['class']}/{Path(row['path']).name}"
        assert row["licence"] in texts, row["file"]
        assert row["licence"] == licence_of(f"data/photographs/{row['file']}"), row["file"]
        assert row["author"] and row["source"] and row["title"], row["file"]
        # Every other licence is stated for the very picture.
        assert row["known_from"] in ("entry", "collection"), row["file"]
        assert row["known_from"] == "entry" or row["licence"] == "GPL-2.0-or-later", row["file"]
    assert len({row["path"] for row in rows}) == len(rows)


# On one side of the split


def on_both_sides(drawings):
    """Return the authors, the sets and the groups that have drawings in training and test."""
    sides = {}
    for row in drawings:
        authors = [("author", name) for name in {row["author_group"], *row["author_group"].split(" and ")}]
        sets = [("set", row["class"], row["set"])] if row["set"] else []
        for key in [*authors, *sets, ("group", row["group"])]:
            sides.setdefault(key, set()).add(row["split"])
    return {key for key, found in sides.items() if len(found) > 1}


def test_no_author_no_set_and_no_group_is_on_both_sides(drawings):
    assert not on_both_sides(drawings)
    divided = [
        row | {"split": "test"} if row["file"].endswith("apple_core_01.png") else row for row in drawings
    ]
    authors = ("Nicu Buculei", "Nathan Eady")
    assert on_both_sides(divided) == {("author", name) for name in authors} | {("group", "Nicu Buculei")}


def edges(paths):
    """Return the strength of the edges of each picture on 32 by 32 grey pixels, standardised."""
    rows = []
    for path in paths:
        grey = np.array(load_rgb(path).convert("L").resize((32, 32), Image.Resampling.BOX), float)
        strength = np.hypot(*np.gradient(grey)).ravel()
        rows.append((strength - strength.mean()) / strength.std())
    return np.stack(rows)


def largest_likeness(one, other):
    """Return the largest correlation of the edges of a picture in `one` and another in `other`."""
    alike = edges(one) @ edges(other).T / 32**2
    return alike[np.array([[path != twin for twin in other] for path in one])].max()


def test_no_picture_has_a_near_twin_on_the_other_side(drawings):
    train, test = (sorted((CLIPART / part).rglob("*.png")) for part in ("train", "test"))
    for one, other in ((train, test), (PHOTOS, DRAWINGS), (PHOTOS, PHOTOS)):
        assert largest_likeness(one, other) < 0.85
    bees = [CLIPART / row["file"] for row in drawings if row["set"] == "bees"]
    assert largest_likeness(bees[:1], bees[1:]) > 0.85  # the measure does find near twins
