"""Whatever comes in, a `CourseError` or a sound answer comes out; nothing hangs, and no file is changed.

Folders and pictures. The examples are the same in every run
(`derandomize`); a longer search is the soak (`make soak`).
"""

import contextlib
import io
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fuzzing import SEEDS, examples, nothing_changes_in, only_course_errors
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from soak import FORMATS, some_pictures, spoil

from course_utils.data.folder_report import check_images
from course_utils.data.image_io import load_rgb
from course_utils.data.splits import load_splits
from course_utils.settings import Settings

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM to end what hangs")


# Trees of folders

PLAIN = ("cat", "dog", "train", "test", "val", "valid", ".git", "__MACOSX", "café", "cafe\u0301", "notes.txt")
PICTURES = ("a.png", "é.jpg", "._a.png", "x.PNG", "b.gif")
STRANGE = (" ", os.fsdecode(b"\xff.png"), "a" * 200, "-p", "%s", "'")
NAMES = st.sampled_from([*PLAIN, *PICTURES, *STRANGE])
LINKS = {"link to root": ".", "link to nothing": "gone", "link outside": "../out.png"}
KINDS = st.sampled_from(["folder", "picture", "empty", "text", *LINKS])
PLACES = st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3), KINDS), max_size=14)


def plant(root, places):
    for number, (names, kind) in enumerate(places):
        path = root.joinpath(*names)
        with contextlib.suppress(OSError):  # a file in the place of a folder, or a name twice
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() or path.is_symlink():
                continue
            if kind == "folder":
                path.mkdir()
            elif kind == "picture":
                Image.new("RGB", (4 + number, 4), (number, 9, 9)).save(path, "PNG")
            elif kind in LINKS:
                path.symlink_to(root / LINKS[kind])
            else:
                path.write_bytes(b"" if kind == "empty" else b"hello")


@given(places=PLACES, skip=st.booleans(), sound=st.booleans())
@examples(40)
def test_trees_of_folders(places, skip, sound):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pets"
        root.mkdir()
        Image.new("RGB", (5, 5)).save(Path(folder) / "out.png")
        if sound:  # so that there is something to go on with
            folders = ("cat", "dog", ".git")
            sound_ones = [([folders[number % 3], f"{number}.png"], "picture") for number in range(18)]
            places = [*places[:3], *sound_ones]
        plant(root, places)
        with nothing_changes_in(folder):
            with only_course_errors():
                check_images(root)
            with only_course_errors(), contextlib.redirect_stdout(io.StringIO()):
                splits = load_splits(Settings(dataset=f"folder:{root}", skip_bad_images=skip))
                assert not any(name.startswith(".") for name in splits.classes)
                for part in splits[:3]:
                    for index in range(len(part)):
                        image, label = part[index]
                        assert image.shape == (3, 64, 64) and 0 <= label < len(splits.classes)


# Bytes of pictures


@given(file_format=st.sampled_from(FORMATS), seed=SEEDS)
@examples(100)
def test_bytes_of_pictures(file_format, seed):
    draw = np.random.default_rng(seed)
    spoiled = spoil(some_pictures(file_format)[0], draw)
    with only_course_errors():
        picture = load_rgb(io.BytesIO(spoiled))
        assert picture.mode == "RGB" and len(picture.tobytes()) == 3 * picture.width * picture.height
