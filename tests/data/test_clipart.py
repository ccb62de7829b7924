"""The clip art that ships: are the drawings those that were chosen, sound, and different in each split?"""

import csv
import hashlib
import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image, ImageDraw
from torchvision.transforms import v2

from course_utils.data.image_io import load_rgb
from course_utils.data.loaders import labels_of
from course_utils.data.splits import load_splits
from course_utils.notebook.machine import describe_machine
from course_utils.settings import Settings, shipped_data_folder

pytestmark = pytest.mark.usefixtures("no_network")

CLIPART = shipped_data_folder() / "clipart"
SOURCE = Path("/usr/share/openclipart")
MADE_WITH = "13.0.0"  # Pillow
TRAIN = {
    **{"birds": 34, "bugs": 33, "buildings": 41, "computers": 37, "desserts": 33},
    **{"fruit": 36, "mammals": 54, "plants": 41, "savoury_food": 37, "vehicles": 43},
}
TEST = dict.fromkeys(TRAIN, 15) | {"computers": 16, "plants": 18}
PICTURES = sorted(CLIPART.glob("*/*/*.png"))


@pytest.fixture(scope="module")
def drawings():
    with (CLIPART / "drawings.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plain(picture):
    """Turn a picture into a tensor of its own pixels, 32 by 32."""
    return v2.functional.pil_to_tensor(picture.resize((32, 32), Image.Resampling.BOX))


def pixel_hashes(paths):
    """Return a hash of each drawing on white as it is, and one of it shrunk to 32 by 32 pixels."""
    pictures = [load_rgb(path) for path in paths]
    whole = {hashlib.sha256(repr(one.size).encode() + one.tobytes()).hexdigest() for one in pictures}
    return whole, {hashlib.sha256(plain(one).numpy().tobytes()).hexdigest() for one in pictures}


def test_every_class_has_its_number_of_drawings():
    counts = Counter(path.relative_to(CLIPART).parts[:2] for path in PICTURES)
    for name, count in TRAIN.items():
        assert (counts.pop(("train", name)), counts.pop(("test", name))) == (count, TEST[name])
    assert not counts


def test_validation_is_a_share_of_the_training_drawings_with_every_class():
    splits = load_splits(Settings(dataset="clipart"), plain)
    assert splits.classes == sorted(TRAIN)
    train, val, test = (np.bincount(labels_of(part)) for part in splits[:3])
    assert (train + val).tolist() == [TRAIN[name] for name in splits.classes]
    assert val.min() >= 1 and train.min() >= 20 and 0.1 < val.sum() / (train + val).sum() < 0.3
    assert test.tolist() == [TEST[name] for name in splits.classes]
    shown = {Path(path).parts[-3] for path, _ in splits.train.dataset.samples}
    assert splits.val.dataset.samples == splits.train.dataset.samples and shown == {"train"}
    assert not set(splits.train.indices) & set(splits.val.indices)


def test_every_drawing_is_a_square_of_at_most_128_pixels_with_transparency_kept():
    transparent = 0
    for path in PICTURES:
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.mode in ("RGBA", "P"), path
            assert picture.width == picture.height and 32 <= picture.width <= 128, path
            transparent += picture.convert("RGBA").getchannel("A").getextrema()[0] == 0
    assert transparent > 0.9 * len(PICTURES)


def test_drawings_csv_lists_what_is_in_the_folders(drawings):
    assert Counter(row["file"] for row in drawings) == Counter(
        path.relative_to(CLIPART).as_posix() for path in PICTURES
    )
    for row in drawings:
        assert row["file"] == f"{row['split']}/{row['class']}/{Path(row['path']).name}"
        assert row["licence"] == "PublicDomain" and row["title"] and row["author"]
    assert len({row["path"] for row in drawings}) == len(drawings)


def on_both_sides(drawings):
    """Return the authors, the sets and the groups that have drawings in training and test."""
    sides = {}
    for row in drawings:
        authors = [
            ("author", author) for author in {row["author_group"], *row["author_group"].split(" and ")}
        ]
        sets = [("set", row["class"], row["set"])] if row["set"] else []
        for key in [*authors, *sets, ("group", row["group"])]:
            sides.setdefault(key, set()).add(row["split"])
    return {key for key, found in sides.items() if len(found) > 1}


def test_no_author_no_set_and_no_group_is_on_both_sides(drawings):
    sets = Counter((row["class"], row["set"]) for row in drawings if row["set"])
    assert min(sets.values()) >= 2
    assert not on_both_sides(drawings)
    divided = [
        row | {"split": "test"} if row["file"].endswith("apple_core_01.png") else row for row in drawings
    ]
    authors = ("Nicu Buculei", "Nathan Eady")
    assert on_both_sides(divided) == {("author", name) for name in authors} | {("group", "Nicu Buculei")}


def test_no_author_is_stated_under_two_spellings(drawings):
    def plain_name(name):
        return re.sub(r"\W", "", re.sub(r"[(<].*", "", name).casefold())

    groups = {row["author_group"] for row in drawings}
    assert len({plain_name(name) for name in groups}) == len(groups)
    assert "not stated" not in groups


def test_the_random_split_for_comparison_has_fifteen_of_each_class_and_authors_on_both_sides(drawings):
    test = [row for row in drawings if row["random_split"] == "test"]
    assert Counter(row["class"] for row in test) == dict.fromkeys(TRAIN, 15)
    assert not any(row["set"] for row in test)
    seen = {row["author_group"] for row in drawings if row["random_split"] == "train"}
    assert sum(row["author_group"] in seen for row in test) == 127  # as the README says


def edges(path):
    """Return the strength of the edges on 32 by 32 grey pixels, standardised."""
    grey = np.array(load_rgb(path).convert("L").resize((32, 32), Image.Resampling.BOX), float)
    strength = np.hypot(*np.gradient(grey)).ravel()
    return (strength - strength.mean()) / strength.std()


def largest_likeness(train, test):
    """Return the largest correlation of the edges of a drawing in `train` and one in `test`."""
    train, test = (np.stack([edges(path) for path in paths]) for paths in (train, test))
    return (train @ test.T).max() / train.shape[1]


def test_no_test_drawing_has_a_near_twin_in_training(drawings):
    train, test = (sorted((CLIPART / part).rglob("*.png")) for part in ("train", "test"))
    assert largest_likeness(train, test) < 0.85
    bees = [CLIPART / row["file"] for row in drawings if row["set"] == "bees"]
    assert largest_likeness(bees[:1], bees[1:]) > 0.85  # the measure does find near twins


def test_no_drawing_is_twice_in_the_folder_or_in_both_splits():
    train, test = (pixel_hashes(sorted((CLIPART / part).rglob("*.png"))) for part in ("train", "test"))
    for in_train, in_test in zip(train, test, strict=True):
        assert not in_train & in_test
        assert len(in_train) + len(in_test) == len(PICTURES)


def test_folder_is_smaller_than_5_mb_and_holds_nothing_else():
    files = [path for path in CLIPART.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 5e6
    others = {path.relative_to(CLIPART).as_posix() for path in set(files) - set(PICTURES)}
    assert others == {"LICENSE", "README.md", "SHA256SUMS", "drawings.csv", "make_clipart.py"}


def test_lesson_00_finds_the_clip_art():
    row = describe_machine(Settings(dataset="clipart")).loc["images"]
    assert (row.wanted, row.found, row.fine) == ("clipart", "ships with the course", True)


def test_shrinking_lets_no_unseen_colour_in_and_cuts_nothing_off():
    """A red ellipse on transparent black: its edge stays red, and the square holds all of it."""
    drawing = Image.new("RGBA", (600, 400), (0, 0, 0, 0))
    ImageDraw.Draw(drawing).ellipse((51, 50, 453, 152), fill=(255, 0, 0, 255))
    square = runpy.run_path(CLIPART / "make_clipart.py")["shrink"](drawing, 128)
    pixels = np.array(square).astype(int)
    seen = pixels[pixels[..., 3] >= 32]
    assert square.size == (128, 128) and (seen[:, 3] < 255).any()
    assert seen[:, 0].min() >= 250 and seen[:, 1:3].max() <= 5
    rows, columns = np.nonzero(pixels[..., 3])
    assert np.ptp(columns) + 1 == 128 and np.ptp(rows) + 1 == round(128 * 103 / 403)


@pytest.mark.skipif(not (SOURCE / "svg").is_dir(), reason="needs openclipart-png and openclipart-svg")
@pytest.mark.skipif(PIL.__version__ != MADE_WITH, reason=f"needs Pillow {MADE_WITH}")
def test_make_clipart_makes_the_files_that_ship(tmp_path):
    command = [sys.executable, CLIPART / "make_clipart.py", "--source", SOURCE, "--output", tmp_path]
    subprocess.run(command, check=True)
    for name in ("SHA256SUMS", "drawings.csv"):
        assert (tmp_path / name).read_bytes() == (CLIPART / name).read_bytes()
