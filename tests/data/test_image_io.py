"""Image files: every kind of picture comes as RGB, or as an error that says why not."""

import numpy as np
import pytest
from PIL import ExifTags, Image
from small_pictures import UNDECODABLE, animation, photograph, row

from course_utils.data.image_io import load_rgb
from course_utils.errors import DataError

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def with_palette():
    image = row([0, 1]).convert("P")
    image.putpalette([0, 0, 0, 10, 20, 30])
    return image


@pytest.mark.parametrize(
    "image, name, expected",
    [
        (row([(200, 0, 0, 255), (0, 200, 0, 0)]), "a.png", [(200, 0, 0), WHITE]),
        (row([(0, 0, 0, 51)]), "a.png", [(204, 204, 204)]),
        (with_palette(), "a.png", [WHITE, (10, 20, 30)]),
        (row([77]), "a.png", [(77, 77, 77)]),
        (row([(77, 0)]), "a.png", [WHITE]),
        (Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "a.jpg", [WHITE] * 8),
        (Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "a.jpg", [BLACK] * 8),
        (row(range(0, 65536, 1285), "uint16"), "a.png", [(grey,) * 3 for grey in range(0, 256, 5)]),
        (
            row([128, 129, 385, 386, 65406, 65407], "uint16"),
            "a.png",
            [(grey,) * 3 for grey in (0, 1, 1, 2, 254, 255)],
        ),
        (row([0, 771, 65535], "uint16"), "a.tif", [BLACK, (3, 3, 3), WHITE]),
        (row([0, 771, 65535], "int32"), "a.tif", [BLACK, (3, 3, 3), WHITE]),
    ],
    ids=[
        *("transparent", "half transparent", "palette", "grey", "grey with alpha", "no ink", "all ink"),
        *("16-bit PNG", "16-bit PNG, rounded", "16-bit TIFF", "32-bit TIFF"),
    ],
)
def test_pixels_of_every_mode(image, name, expected, tmp_path):
    image.save(tmp_path / name, **({"transparency": 0} if image.mode == "P" else {}))
    with Image.open(tmp_path / name) as saved:
        assert saved.mode == image.mode
    loaded = load_rgb(tmp_path / name)
    assert loaded.mode == "RGB"
    difference = np.array(loaded, dtype=int)[0] - np.array(expected)
    assert np.abs(difference).max() <= (2 if name.endswith("jpg") else 0)


def test_picture_is_turned_upright(tmp_path):
    image, exif = row([(255, 0, 0), BLACK, BLACK]), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    loaded = load_rgb(tmp_path / "a.png")
    assert loaded.size == (1, 3) and loaded.getpixel((0, 0)) == (255, 0, 0)


def test_first_frame_of_an_animated_picture_is_read_with_a_warning(tmp_path):
    animation(tmp_path / "a.webp")
    with pytest.warns(UserWarning, match="Only the first of"):
        assert load_rgb(tmp_path / "a.webp").getpixel((4, 4)) == (200, 0, 0)


@pytest.mark.parametrize("name", [*UNDECODABLE, "missing.png"])
def test_what_cannot_be_decoded_is_a_data_error_with_its_absolute_path(name, tmp_path, monkeypatch, refused):
    if name != "missing.png":
        UNDECODABLE[name](tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with refused(DataError) as caught:
        load_rgb(name)
    assert caught.value.where == str(tmp_path / name) and caught.value.__cause__ is not None


def test_fault_10_picture_that_is_open_already(tmp_path, refused):
    image = photograph()
    assert np.array_equal(np.array(load_rgb(image)), np.array(image))
    image.load()
    UNDECODABLE["truncated.jpg"](tmp_path / "a.jpg")
    for picture in (row([0.5], "float32"), Image.open(tmp_path / "a.jpg")):
        with refused(DataError, where="a PIL picture"):
            load_rgb(picture)
