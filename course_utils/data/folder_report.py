"""Report on a folder of pictures: what is wrong or unusual, and how the course handles it.

A folder that has grown over years holds unreadable pictures, pictures in every colour mode, and files that
are not pictures. `check_images` lists them all and changes none of them (lesson 09).
"""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from PIL import ExifTags, Image

from course_utils.data.folders import list_entries, pictures_by_class, split_folders
from course_utils.data.image_io import decoding_problem, load_rgb
from course_utils.data.loaders import progress_bar
from course_utils.errors import DataError, printable

MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey",
    "P": "a palette of colours",
    "PA": "a palette of colours",
    "CMYK": "printing colours (CMYK)",
}


def check_images(folder: str | Path) -> pd.DataFrame:
    """Decode every picture of a folder once, and list everything wrong or unusual. Nothing is changed.

    Args:
        folder: A folder of class folders, or of the folders train and test (and val) with class folders.

    Returns:
        One row for each finding (a picture can have several, a normal one has none): `path` (relative to
        `folder`), `finding`, `detail` and `action` (how the course handles it). "left out" assumes
        `Settings(skip_bad_images=True)`; without it, `load_splits` raises an error instead.

    Raises:
        DataError: If there is no such folder, or it has no folder in it.
    """
    root = Path(folder).expanduser().resolve()
    splits = split_folders(root)
    depth = 1 if splits["train"] == root else 2
    rows, readable, first_places = [], [], {}
    for path, ignored in progress_bar(list_entries(root, depth), desc="check", unit="file", leave=False):
        if ignored:
            rows.append((path, ignored, path.suffix.lower(), "ignored"))
            continue
        try:
            with warnings.catch_warnings(action="ignore"):  # an animated picture gets a row below
                picture = load_rgb(path)
        except DataError as error:
            rows.append((path, "cannot be decoded", decoding_problem(error), "left out"))
            continue
        readable.append(path)
        rows += [(path, *oddity) for oddity in _oddities(path)]
        pixels = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).digest()
        first = first_places.setdefault(pixels, path)
        if first is not path:
            place, other = path.relative_to(root), first.relative_to(root)
            rows.append(
                (path, _repetition(place.parts, other.parts, depth), other.as_posix(), "both are kept")
            )
    for split in splits.values():
        by_class = pictures_by_class(split, readable)
        empty = [split / name for name, found in by_class.items() if not found]
        rows += [(path, "a class without a picture", "", "left out") for path in empty]
    table = pd.DataFrame(rows, columns=["path", "finding", "detail", "action"])
    table["path"] = [printable(path.relative_to(root).as_posix()) for path in table.path]
    table["detail"] = [printable(detail) for detail in table.detail]
    return table.sort_values("path", kind="stable", ignore_index=True)


def _oddities(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield finding, detail and action for each oddity in the header of a readable picture."""
    with Image.open(path) as image:
        mode, kind = image.mode, image.format
        sixteen_bits = any("16" in str(tile.args) for tile in image.tile)  # first: reading empties them
        expected = Image.registered_extensions().get(path.suffix.lower())
        if expected != kind and kind != "MPO":  # MPO: a JPEG together with its own preview
            yield "another file type than its name says", f"{kind}, not {expected}", f"read as {kind}"
        if getattr(image, "is_animated", False) and kind != "MPO":
            yield "animated", f"{image.n_frames} frames", "first frame"
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            yield "turned, as its EXIF data says", "", "rotated upright"
        if sixteen_bits:
            yield "16 bits for each value", mode, "rescaled to 8 bits"
        elif mode in MODES or mode not in ("RGB", "RGBA"):
            yield MODES.get(mode, "another colour mode"), mode, "converted to RGB"
        if image.has_transparency_data:
            yield "transparent", mode, "composited on white"


def _repetition(path: tuple[str, ...], first: tuple[str, ...], depth: int) -> str:
    if path[depth - 1] != first[depth - 1]:
        return "the same picture in two classes"
    return "the same picture twice" if path[:depth] == first[:depth] else "the same picture in two parts"
