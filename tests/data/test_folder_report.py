"""The report on a folder: every fault is named, and nothing is changed."""

import os
from pathlib import Path

import pytest
from fuzzing import nothing_changes_in
from PIL import ExifTags, Image
from small_pictures import UNDECODABLE, animation, photograph, row

from course_utils.data.folder_report import check_images
from course_utils.data.splits import load_splits
from course_utils.settings import Settings


def findings(root):
    """Return each row of the report, by its path, as finding and action; check that nothing is changed."""
    with nothing_changes_in(root):
        table = check_images(root)
    assert list(table.columns) == ["path", "finding", "detail", "action"]
    assert str(root) not in table.to_string()
    return {row.path: (row.finding, row.action) for row in table.itertuples()}


def turned(path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photograph().save(path, exif=exif)


@pytest.mark.parametrize(
    "name, write, finding",
    [
        ("a.png", UNDECODABLE["truncated.png"], ("cannot be decoded", "left out")),
        ("deep.png", row([0, 65535], "uint16").save, ("16 bits for each value", "rescaled to 8 bits")),
        (
            "jpeg.png",
            lambda path: photograph().save(path, format="JPEG"),
            ("another file type than its name says", "read as JPEG"),
        ),
        ("turned.jpg", turned, ("turned, as its EXIF data says", "rotated upright")),
        ("a.jpg", photograph().convert("CMYK").save, ("printing colours (CMYK)", "converted to RGB")),
        ("a.tif", Image.new("LAB", (9, 9)).save, ("another colour mode", "converted to RGB")),
        ("a.png", photograph().convert("RGBA").rotate(20).save, ("transparent", "composited on white")),
        ("a.webp", animation, ("animated", "first frame")),
        ("pipe.png", os.mkfifo, ("not a file", "ignored")),
        ("phone.heic", Path.touch, ("not a type of picture that is read", "ignored")),
        ("._0.png", Path.touch, ("a companion file of macOS", "ignored")),
        (".DS_Store", Path.touch, ("a hidden file", "ignored")),
        ("__MACOSX", Path.mkdir, ("a hidden folder", "ignored")),
    ],
)
def test_every_fault_is_named(name, write, finding, pets):
    write(pets / "cat" / name)
    assert findings(pets) == {f"cat/{name}": finding}


def test_empty_class_and_class_of_bad_pictures_are_named(pets):
    for name in ("emu", "fox"):
        (pets / name).mkdir()
    (pets / "fox" / "a.png").write_bytes(b"")
    empty = ("a class without a picture", "left out")
    assert findings(pets) == {"emu": empty, "fox": empty, "fox/a.png": ("cannot be decoded", "left out")}


@pytest.mark.parametrize("split", ["", "train"])
def test_picture_beside_the_class_folders_is_named_and_not_read(
    split, tmp_path, write_class_folders, write_image
):
    for name in (split, "test") if split else (split,):
        write_class_folders(tmp_path / name, {"cat": 8, "dog": 8})
    write_image(tmp_path / split / "loose.png", seed=99)
    assert [*findings(tmp_path).values()] == [("in no class folder", "ignored")]
    assert len(load_splits(Settings(dataset=f"folder:{tmp_path}")).train.dataset) == 16


def test_links_are_named_and_not_read(pets, tmp_path, write_image):
    outside = write_image(tmp_path / "outside.png", seed=98)
    for name, target in {"out.png": outside, "nowhere.png": pets / "gone.png", "loop": pets}.items():
        (pets / "dog" / name).symlink_to(target)
    link = ("a link", "ignored")
    assert findings(pets) == {"dog/loop": link, "dog/nowhere.png": link, "dog/out.png": link}
    assert len(load_splits(Settings(dataset=f"folder:{pets}")).train.dataset) == 24


def test_same_pixels_in_another_file_type_are_found(pets):
    photograph().save(pets / "cat" / "a.png")
    photograph().save(pets / "cat" / "b.bmp")
    photograph().save(pets / "dog" / "c.webp", lossless=True)
    assert findings(pets) == {
        "cat/b.bmp": ("the same picture twice", "both are kept"),
        "dog/c.webp": ("the same picture in two classes", "both are kept"),
    }
    assert set(check_images(pets).detail) == {"cat/a.png"}


def test_same_picture_in_train_and_test_is_found(tmp_path, write_class_folders):
    for split in ("train", "test"):
        write_class_folders(tmp_path / split, {"cat": 8, "dog": 8})
        photograph().save(tmp_path / split / "dog" / "same.png")
    assert findings(tmp_path) == {"train/dog/same.png": ("the same picture in two parts", "both are kept")}
