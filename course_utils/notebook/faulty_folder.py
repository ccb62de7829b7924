"""A folder of pictures with the faults that real folders collect over the years (lesson 09)."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image


def write_faulty_folder(
    folder: Path, pictures: Iterable[tuple[Image.Image, int]], classes: Sequence[str]
) -> list[Path]:
    """Write the pictures of the first two classes into class folders, and plant sixteen faults among them.

    Args:
        folder: Where to make the class folders. It must not exist yet.
        pictures: Pairs of a PIL picture and its class number, with at least one pair for each of the two
            classes.
        classes: The names of the classes, in order.

    Returns:
        The paths of the planted faults. The first nine are unreadable or unusual files.
    """
    first, second = (folder / name.replace("/", "-") for name in classes[:2])
    for place in (first, second):
        place.mkdir(parents=True)
    for number, (picture, label) in enumerate(pictures):
        if label < 2:
            picture = picture.copy()
            picture.thumbnail((256, 256))  # no larger than the lesson needs
            picture.save((first, second)[label] / f"{number:04}.png")
    return [*_plant_files(first), *_plant_entries(second, first)]


def _plant_files(place: Path) -> list[Path]:
    """Write unreadable and unusual files, made from the first picture of a class folder."""
    source = min(place.glob("*.png"))
    picture = Image.open(source).convert("RGB")
    names = ["truncated.png", "empty.png", "login_page.jpg", "sixteen_bits.png", "for_printing.jpg"]
    names += ["on_its_side.jpg", "transparent.png", "animated.png", "really_a_gif.png"]
    paths = {Path(name).stem: place / name for name in names}
    paths["truncated"].write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    paths["empty"].touch()
    paths["login_page"].write_text("<html>Please log in</html>")
    grey = np.asarray(picture.convert("L")).astype(np.uint16)
    Image.fromarray(grey * 257).save(paths["sixteen_bits"])
    picture.convert("CMYK").save(paths["for_printing"])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # "rotate by 90 degrees clockwise to display"
    picture.rotate(90, expand=True).save(paths["on_its_side"], exif=exif)
    picture.convert("RGBA").rotate(20, expand=True).save(paths["transparent"])
    picture.save(paths["animated"], save_all=True, append_images=[picture.rotate(9)])
    picture.rotate(5).save(paths["really_a_gif"], format="GIF")
    return list(paths.values())


def _plant_entries(place: Path, other: Path) -> list[Path]:
    """Plant files and folders that are not pictures of a class, and copy one picture into another class."""
    source = min(place.glob("*.png"))
    doubled = other / "in_two_classes.png"
    shutil.copy(source, doubled)
    notes, companion, link = (place / name for name in ("notes.txt", "._truncated.png", "link"))
    notes.write_text("to be sorted")
    companion.write_bytes(b"\0\5\26\7")
    link.symlink_to(place.parent, target_is_directory=True)
    hidden = [place.parent / name for name in (".ipynb_checkpoints", "__MACOSX")]
    for left_behind in hidden:
        left_behind.mkdir()
        shutil.copy(source, left_behind)
    empty = place.parent / "empty_class"
    empty.mkdir()
    return [notes, companion, link, *hidden, empty, doubled]
