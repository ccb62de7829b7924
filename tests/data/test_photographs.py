"""The photographs that ship: is each one listed with its licence, whole, and of a class of the drawings?"""

import csv
import runpy
import subprocess
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from course_utils.data.splits import check_sums
from course_utils.evaluation.shift import same_classes
from course_utils.settings import REPOSITORY_FOLDER, shipped_data_folder

pytestmark = pytest.mark.usefixtures("no_network")

PHOTOGRAPHS = shipped_data_folder() / "photographs"
SOURCE = Path("/usr/share/tuxpaint/stamps")
MADE_WITH = "13.0.0"  # Pillow
PICTURES = sorted(PHOTOGRAPHS.glob("*/*.png"))
NUMBERS = {"birds": 30, "bugs": 5, "fruit": 9, "mammals": 54, "plants": 23, "savoury_food": 9, "vehicles": 9}
CLASSES = sorted(path.name for path in (PHOTOGRAPHS.parent / "clipart" / "test").iterdir())


@pytest.fixture(scope="module")
def rows():
    with (PHOTOGRAPHS / "photographs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def licence_of(file):
    """Return the licence that REUSE.toml gives to a file: the last entry that fits."""
    entries = tomllib.loads((REPOSITORY_FOLDER / "REUSE.toml").read_text("utf-8"))["annotations"]
    licence = None
    for entry in entries:
        paths = [entry["path"]] if isinstance(entry["path"], str) else entry["path"]
        if any(fnmatch(file, path) for path in paths):
            licence = entry["SPDX-License-Identifier"]
    return licence


def test_photographs_are_the_files_of_the_list_of_sums():
    check_sums(PHOTOGRAPHS)
    lines = (PHOTOGRAPHS / "SHA256SUMS").read_text().splitlines()
    listed = [line.partition("  ")[2] for line in lines]
    assert sorted(listed) == [path.relative_to(PHOTOGRAPHS).as_posix() for path in PICTURES]


def test_photographs_csv_says_whose_each_one_is_and_its_licence(rows):
    files = [path.relative_to(PHOTOGRAPHS).as_posix() for path in PICTURES]
    assert sorted(row["file"] for row in rows) == files
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


def test_photographs_are_loaded_in_two_lines_with_the_labels_of_the_drawings():
    folder = shipped_data_folder() / "photographs"
    style = same_classes(folder, CLASSES, np.asarray)
    assert len(CLASSES) == 10 and set(NUMBERS) <= set(CLASSES)
    assert {path.parent.name for path in PICTURES} == set(NUMBERS)
    assert Counter(CLASSES[label] for label in style.targets) == NUMBERS
    corners = np.stack([image[0, 0] for image, _ in style])
    assert np.median(corners) == 255  # cut out: on white


def test_photographs_are_squares_of_at_most_128_pixels_with_transparency_kept():
    for path in PICTURES:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "RGBA"), path
            assert picture.width == picture.height and 48 <= picture.width <= 128, path
            assert picture.getchannel("A").getextrema()[0] == 0, path


def test_no_photograph_is_there_twice_or_among_the_drawings():
    helpers = runpy.run_path(Path(__file__).with_name("test_clipart.py"))
    edges, largest_likeness = helpers["edges"], helpers["largest_likeness"]
    assert largest_likeness(PICTURES, helpers["PICTURES"]) < 0.85
    seen = np.stack([edges(path) for path in PICTURES])
    alike = seen @ seen.T / seen.shape[1]
    np.fill_diagonal(alike, 0)
    assert alike.max() < 0.85


def test_folder_of_photographs_is_smaller_than_3_mb_and_holds_nothing_else():
    files = [path for path in PHOTOGRAPHS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 3e6
    others = {path.relative_to(PHOTOGRAPHS).as_posix() for path in set(files) - set(PICTURES)}
    assert others == {"LICENSE", "README.md", "SHA256SUMS", "photographs.csv", "make_photographs.py"}


@pytest.mark.skipif(not SOURCE.is_dir(), reason="needs tuxpaint-stamps-default")
@pytest.mark.skipif(PIL.__version__ != MADE_WITH, reason=f"needs Pillow {MADE_WITH}")
def test_make_photographs_makes_the_files_that_ship(tmp_path):
    command = [sys.executable, PHOTOGRAPHS / "make_photographs.py", "--source", SOURCE, "--output", tmp_path]
    subprocess.run(command, check=True)
    for name in ("SHA256SUMS", "photographs.csv"):
        assert (tmp_path / name).read_bytes() == (PHOTOGRAPHS / name).read_bytes()
