"""A folder with one of every fault: each is named, nothing is changed, and training goes on without it.

Where it can be shown, a test begins with what plain Pillow or torchvision makes of the same file.
"""

import hashlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch import nn
from torchvision import datasets
from torchvision.transforms import v2

from course_utils.data.folder_report import check_images
from course_utils.data.image_io import load_rgb, try_to_decode
from course_utils.data.splits import load_splits
from course_utils.errors import DataError
from course_utils.settings import Settings
from course_utils.training.loop import fit


@pytest.fixture
def pets(tmp_path, write_class_folders):
    return write_class_folders(tmp_path / "pets", {"cat": 12, "dog": 12})


def findings(root, path):
    """Return what is told about one path, as pairs of finding and action."""
    table = check_images(root)
    return list(table[table.path == path][["finding", "action"]].itertuples(index=False, name=None))


def photograph(size=(48, 32)):
    pixels = np.random.default_rng(7).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def fingerprints(root):
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else path.is_symlink()
        for path in sorted(root.rglob("*"))
    }


def test_sound_folder_has_no_rows(pets):
    table = check_images(pets)
    assert list(table.columns) == ["path", "finding", "detail", "action"]
    assert len(table) == 0


def truncated(path):
    content = io.BytesIO()
    photograph().save(content, "JPEG")
    path.write_bytes(content.getvalue()[:-200])


def bomb(path):
    """A PNG of a few hundred bytes that says it has 400 million pixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


UNDECODABLE = {
    "truncated.jpg": truncated,
    "empty.png": lambda path: path.write_bytes(b""),
    "login.jpg": lambda path: path.write_bytes(b"<html>Please log in</html>"),
    "bomb.png": bomb,
    "decimal.tif": lambda path: Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(
        path
    ),
}


@pytest.mark.parametrize("name", [name for name in UNDECODABLE if name != "decimal.tif"])
def test_undecodable_picture_stops_plain_torchvision_in_mid_epoch(name, pets):
    UNDECODABLE[name](pets / "cat" / name)
    plain = datasets.ImageFolder(str(pets))
    place = [path for path, _ in plain.samples].index(str(pets / "cat" / name))
    with pytest.raises((OSError, Image.DecompressionBombError)):
        plain[place]


@pytest.mark.parametrize("name", UNDECODABLE)
def test_undecodable_picture_is_named(name, pets):
    UNDECODABLE[name](pets / "cat" / name)
    assert findings(pets, f"cat/{name}") == [("cannot be decoded", "left out")]
    assert str(pets) not in check_images(pets).to_string()


def sixteen_bits(path):
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(path)


def test_sixteen_bits_are_rescaled(pets):
    path = pets / "cat" / "deep.png"
    sixteen_bits(path)
    expected = np.arange(256).reshape(16, 16)
    plain = np.array(Image.open(path).convert("RGB"))[..., 0]
    assert (plain == 255).sum() >= 255  # everything but black is white
    assert np.array_equal(np.array(load_rgb(path))[..., 0], expected)
    assert findings(pets, "cat/deep.png") == [("16 bits for each value", "rescaled to 8 bits")]


@pytest.mark.parametrize("mode, dtype", [("I", np.int32), ("I;16", np.uint16)])
def test_sixteen_bit_tiff_is_rescaled(mode, dtype, tmp_path):
    Image.fromarray(np.array([[0, 257 * 3, 65535]], dtype=dtype)).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == mode
    assert np.array(load_rgb(tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 3, 255]


def test_numbers_of_an_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 100_000]], dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="unknown range"):
        load_rgb(tmp_path / "a.tif")


def test_exif_rotation_is_named_and_undone(pets):
    path, exif = pets / "cat" / "turned.jpg", Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photograph((48, 32)).save(path, exif=exif)
    assert Image.open(path).convert("RGB").size == (48, 32)
    assert load_rgb(path).size == (32, 48)
    assert findings(pets, "cat/turned.jpg") == [("turned, as its EXIF data says", "rotated upright")]


@pytest.mark.parametrize(
    "mode, name, finding",
    [
        ("CMYK", "a.jpg", "printing colours (CMYK)"),
        ("L", "a.png", "grey"),
        ("1", "a.png", "black and white"),
        ("P", "a.png", "a palette of colours"),
        ("LAB", "a.tif", "another colour mode"),
    ],
)
def test_colour_mode_is_named(mode, name, finding, pets):
    image = Image.new("LAB", (9, 9)) if mode == "LAB" else photograph().convert(mode)
    image.save(pets / "cat" / name)
    assert findings(pets, f"cat/{name}") == [(finding, "converted to RGB")]


def test_transparency_is_named(pets):
    photograph().convert("RGBA").rotate(20).save(pets / "cat" / "a.png")
    assert Image.open(pets / "cat" / "a.png").convert("RGB").getpixel((0, 0)) == (0, 0, 0)
    assert load_rgb(pets / "cat" / "a.png").getpixel((0, 0)) == (255, 255, 255)
    assert findings(pets, "cat/a.png") == [("transparent", "composited on white")]


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_first_frame_of_an_animated_picture_is_read_with_a_warning(name, pets):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#c80000", "#0000c8")]
    frames[0].save(pets / "cat" / name, save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(UserWarning, match="first frame"):
        assert load_rgb(pets / "cat" / name).getpixel((4, 4)) == (200, 0, 0)
    assert findings(pets, f"cat/{name}") == [("animated", "first frame")]
    first_frame = "Only the first frame of an animated picture is read."
    assert try_to_decode(pets / "cat" / name) == (
        "",
        (first_frame,),
    )  # told of later, when the folder is read


def test_wrong_extension_is_named(pets):
    photograph().save(pets / "cat" / "a.png", format="JPEG")
    assert findings(pets, "cat/a.png") == [("another file type than its name says", "read as JPEG")]


@pytest.mark.parametrize("name", ["notes.txt", "clip.mp4", "phone.heic", "moving.gif"])
def test_unsupported_file_is_named(name, pets):
    (pets / "cat" / name).write_bytes(b"something")
    assert findings(pets, f"cat/{name}") == [("not a type of picture that is read", "ignored")]


def test_what_programs_leave_behind_is_named(pets, write_image):
    (pets / "cat" / "._0.png").write_bytes(b"\0\5\26\7")
    (pets / "cat" / ".DS_Store").write_bytes(b"Bud1")
    for hidden in (".ipynb_checkpoints", "__MACOSX"):
        write_image(pets / hidden / "a.png")
    assert datasets.ImageFolder(str(pets)).classes == [".ipynb_checkpoints", "__MACOSX", "cat", "dog"]
    told = dict(check_images(pets)[["path", "finding"]].itertuples(index=False, name=None))
    assert told == {
        "cat/._0.png": "a companion file of macOS",
        "cat/.DS_Store": "a hidden file",
        ".ipynb_checkpoints": "a hidden folder",
        "__MACOSX": "a hidden folder",
    }
    assert load_splits(Settings(dataset=f"folder:{pets}")).classes == ["cat", "dog"]


def test_picture_beside_the_class_folders_is_named(pets, write_image):
    write_image(pets / "loose.png", seed=99)
    assert findings(pets, "loose.png") == [("in no class folder", "ignored")]


def test_picture_beside_the_class_folders_of_a_part_is_named(tmp_path, write_class_folders, write_image):
    for part in ("train", "test"):
        write_class_folders(tmp_path / part, {"cat": 8, "dog": 8})
    write_image(tmp_path / "train" / "loose.png", seed=99)
    assert findings(tmp_path, "train/loose.png") == [("in no class folder", "ignored")]
    splits = load_splits(Settings(dataset=f"folder:{tmp_path}"))
    assert len(splits.train) + len(splits.val) == 16


def test_empty_class_and_class_of_bad_pictures_are_named(pets):
    (pets / "emu").mkdir()
    (pets / "fox").mkdir()
    (pets / "fox" / "a.png").write_bytes(b"")
    assert findings(pets, "emu") == findings(pets, "fox") == [("a class without a picture", "left out")]


def test_loop_of_links_is_walked_once(pets):
    (pets / "cat" / "loop").symlink_to(pets, target_is_directory=True)
    assert len(datasets.ImageFolder(str(pets))) > 10 * 24
    assert findings(pets, "cat/loop") == [("a link to a folder", "ignored")]
    splits = load_splits(Settings(dataset=f"folder:{pets}"))
    assert sum(len(part) for part in splits[:3]) == 24


def test_each_real_file_is_read_once(pets, tmp_path, write_image):
    outside = write_image(tmp_path / "outside.png", seed=98)
    stored = write_image(pets / ".store" / "a.png", seed=97)
    links = {"out.png": outside, "again.png": pets / "cat" / "0.png", "from_store.png": stored}
    links |= {"twice.png": stored, "nowhere.png": pets / "gone.png"}
    for name, target in links.items():
        (pets / "dog" / name).symlink_to(target)
    table = check_images(pets).set_index("path")
    told = {name: table.finding.get(f"dog/{name}") for name in links}
    assert told == {
        "out.png": "a link out of the folder",
        "again.png": "a link to a picture that is read already",
        "from_store.png": None,
        "twice.png": "a link to a picture that is read already",
        "nowhere.png": "a link that leads nowhere",
    }
    train = load_splits(Settings(dataset=f"folder:{pets}")).train.dataset
    assert len(train) == 25
    assert str(pets / "dog" / "from_store.png") in [path for path, _ in train.samples]


def test_link_from_train_to_test_is_not_followed(tmp_path, write_class_folders):
    for part in ("train", "test"):
        write_class_folders(tmp_path / part, {"cat": 8, "dog": 8})
    (tmp_path / "train" / "cat" / "leak.png").symlink_to(tmp_path / "test" / "cat" / "0.png")
    told = [("a link to a picture that is read already", "ignored")]
    assert findings(tmp_path, "train/cat/leak.png") == told
    splits = load_splits(Settings(dataset=f"folder:{tmp_path}"))
    assert (len(splits.train) + len(splits.val), len(splits.test)) == (16, 16)


def test_same_pixels_in_another_file_type_are_found(pets):
    photograph().save(pets / "cat" / "a.png")
    photograph().save(pets / "cat" / "b.bmp")
    photograph().save(pets / "dog" / "c.webp", lossless=True)
    table = check_images(pets).set_index("path")
    assert table.finding.to_dict() == {
        "cat/b.bmp": "the same picture twice",
        "dog/c.webp": "the same picture in two classes",
    }
    assert set(table.detail) == {"cat/a.png"} and set(table.action) == {"both are kept"}


def test_same_picture_in_train_and_test_is_found(tmp_path, write_class_folders):
    for part in ("train", "test"):
        write_class_folders(tmp_path / part, {"cat": 3, "dog": 3})
        photograph().save(tmp_path / part / "dog" / "same.png")
    assert findings(tmp_path, "train/dog/same.png") == [("the same picture in two parts", "both are kept")]


def test_missing_folder_is_an_error(tmp_path, assert_says_four_things):
    with pytest.raises(DataError) as caught:
        check_images(tmp_path / "nowhere")
    assert_says_four_things(caught.value)


class TestTraining:
    """By default one error lists everything; with `skip_bad_images` training goes on."""

    @pytest.fixture
    def spoiled(self, pets):
        for number, (name, write) in enumerate(UNDECODABLE.items()):
            write(pets / ("cat", "dog")[number % 2] / name)
        (pets / "aardvark").mkdir()  # the first class: leaving it out moves every label
        return pets

    def test_one_error_lists_everything_before_training(self, spoiled, assert_says_four_things):
        with pytest.raises(DataError) as caught:
            load_splits(Settings(dataset=f"folder:{spoiled}"))
        assert_says_four_things(caught.value)
        assert caught.value.where == str(spoiled)
        for name in [*UNDECODABLE, "aardvark"]:
            assert name in caught.value.found
        assert "skip_bad_images=True" in caught.value.do and "check_images" in caught.value.do

    def test_training_goes_on_with_the_sound_ones(self, spoiled, capsys):
        before = fingerprints(spoiled)
        named = set(check_images(spoiled).path)
        settings = Settings(
            dataset=f"folder:{spoiled}", skip_bad_images=True, epochs=1, batch_size=8, device="cpu"
        )
        transform = v2.Compose([v2.Resize((8, 8)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
        splits = load_splits(settings, transform)
        assert capsys.readouterr().out.splitlines() == [
            "left out: 5 pictures that cannot be decoded; classes without a picture: aardvark"
        ]
        assert splits.classes == ["cat", "dog"]
        assert sum(len(part) for part in splits[:3]) == 24
        for path, label in splits.train.dataset.samples:
            assert f"/{splits.classes[label]}/" in path
        model = nn.Sequential()
        model.features, model.fc = nn.Flatten(), nn.Linear(192, 2)
        assert len(fit(model, splits.train, splits.val, settings).epochs) == 1
        assert fingerprints(spoiled) == before
        assert {"aardvark", "cat/truncated.jpg", "dog/empty.png"} <= named

    def test_class_that_is_empty_in_train_is_left_out_of_test_too(self, tmp_path, write_class_folders):
        write_class_folders(tmp_path / "train", {"ant": 0, "cat": 8, "dog": 8})
        write_class_folders(tmp_path / "test", {"ant": 3, "cat": 3, "dog": 3})
        splits = load_splits(Settings(dataset=f"folder:{tmp_path}", skip_bad_images=True), np.array)
        assert splits.classes == list(splits.test.classes) == ["cat", "dog"]
        assert {splits.classes[label] in path for path, label in splits.test.samples} == {True}
        assert len(splits.test) == 6

    def test_file_that_was_mended_is_read_again(self, spoiled, write_image):
        settings = Settings(dataset=f"folder:{spoiled}", skip_bad_images=True)
        before = load_splits(settings, np.array)
        write_image(spoiled / "dog" / "empty.png", seed=55)
        after = load_splits(settings, np.array)
        assert len(after.train.dataset) == len(before.train.dataset) + 1

    def test_every_picture_is_decoded_once(self, pets, monkeypatch):
        opened = []
        monkeypatch.setattr("course_utils.data.image_io.load_rgb", lambda path: opened.append(path))
        for _ in range(2):
            load_splits(Settings(dataset=f"folder:{pets}"), np.array)
        assert len(opened) == len(set(opened)) == 24


@pytest.mark.parametrize("file_type", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_damaged_picture_is_read_or_refused_and_nothing_else(file_type, tmp_path):
    content = io.BytesIO()
    photograph().save(content, file_type)
    sound, random = content.getvalue(), np.random.default_rng(3)
    path, refused = tmp_path / "a.png", 0
    for _ in range(60):
        spoiled = bytearray(sound[: random.integers(1, len(sound) + 1)])
        for place in random.integers(0, len(spoiled), 8):
            spoiled[place] = random.integers(256)
        path.write_bytes(spoiled)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert load_rgb(path).mode == "RGB"
            except DataError:
                refused += 1
    assert refused > 5
