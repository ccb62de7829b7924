"""Pictures of your own: which folders are classes, which files are read, and how."""

import io
import os
import shutil
import tarfile
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.data.folder_report import check_images
from course_utils.data.folders import FolderOfClasses, folder_sources
from course_utils.data.image_io import load_rgb
from course_utils.data.loaders import labels_of
from course_utils.data.splits import load_splits
from course_utils.data.weights import backbone_weights
from course_utils.errors import DataError
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze
from course_utils.models.heads import replace_head
from course_utils.settings import REPOSITORY_FOLDER, Settings
from course_utils.training.loop import fit

PHOTOGRAPHS = REPOSITORY_FOLDER.parent / "shared" / "data" / "cifar10_jpeg.tar.xz"


def split_folder(root, **values):
    return load_splits(Settings(dataset=f"folder:{root}", **values), transform=np.array)


def paths(part):
    """Return the files of a split in its order."""
    if hasattr(part, "indices"):
        return [part.dataset.samples[index][0] for index in part.indices]
    return [path for path, _ in part.samples]


def test_class_folders_are_split_by_the_seed(tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"dog": 20, "cat": 20})
    splits = split_folder(root)
    assert splits.classes == ["cat", "dog"]
    parts = [set(paths(part)) for part in splits[:3]]
    assert [len(part) for part in parts] == [25, 7, 8]  # a fifth for testing, then a fifth of the rest
    assert len(set.union(*parts)) == 40
    assert np.bincount(labels_of(splits.test)).tolist() == [4, 4]
    again, other = split_folder(root), split_folder(root, seed=1)
    assert [paths(part) for part in again[:3]] == [paths(part) for part in splits[:3]]
    assert paths(other.test) != paths(splits.test)


def test_test_fraction_is_the_share_of_testing(tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"cat": 10, "dog": 10})
    assert len(split_folder(root, test_fraction=0.5).test) == 10


def test_label_is_the_number_of_the_folder(tmp_path, write_class_folders):
    splits = split_folder(write_class_folders(tmp_path / "pets", {"b": 9, "a": 9, "c": 9}))
    for part in splits[:3]:
        assert [splits.classes[label] for _, label in part] == [
            Path(path).parent.name for path in paths(part)
        ]


def test_train_and_test_folders_are_used_as_they_are(tmp_path, write_class_folders):
    write_class_folders(tmp_path / "train", {"cat": 10, "dog": 10})
    write_class_folders(tmp_path / "test", {"cat": 3, "dog": 4})
    splits = split_folder(tmp_path)
    assert splits.classes == ["cat", "dog"]
    assert [len(part) for part in splits[:3]] == [16, 4, 7]
    assert all(path.startswith(f"{tmp_path / 'test'}/") for path in paths(splits.test))


def test_val_folder_is_used_as_it_is(tmp_path, write_class_folders):
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        write_class_folders(tmp_path / part, {"cat": count, "dog": count})
    splits = split_folder(tmp_path)
    assert [len(part) for part in splits[:3]] == [12, 4, 6]
    assert all(path.startswith(f"{tmp_path / 'val'}/") for path in paths(splits.val))


def test_train_and_val_without_test_takes_test_from_train(tmp_path, write_class_folders):
    write_class_folders(tmp_path / "train", {"cat": 10, "dog": 10})
    write_class_folders(tmp_path / "val", {"cat": 2, "dog": 2})
    splits = split_folder(tmp_path)
    assert [len(part) for part in splits[:3]] == [16, 4, 4]
    assert not set(paths(splits.train)) & set(paths(splits.test))


def test_hidden_folders_are_no_classes(tmp_path, write_class_folders, write_image):
    root = write_class_folders(tmp_path / "pets", {"cat": 2, "dog": 2})
    for hidden in (".ipynb_checkpoints", "__MACOSX", ".git"):
        write_image(root / hidden / "a.png")
    assert FolderOfClasses(root).classes == ["cat", "dog"]
    assert list(folder_sources(root)) == ["train"]


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "__MACOSX"])
def test_hidden_folders_inside_a_class_are_not_read(hidden, tmp_path, write_class_folders, write_image):
    root = write_class_folders(tmp_path / "pets", {"cat": 2, "dog": 2})
    write_image(root / "cat" / hidden / "0-checkpoint.png")
    assert len(FolderOfClasses(root)) == 4


def test_hidden_files_and_other_files_are_not_read(tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"cat": 2, "dog": 2})
    for name in ("._0.jpg", ".DS_Store", "notes.txt", "clip.mp4"):
        (root / "cat" / name).write_bytes(b"no picture")
    assert len(FolderOfClasses(root)) == 4


def test_capital_letters_in_a_file_type_are_fine(tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"cat": 2})
    shutil.copy(root / "cat" / "0.png", root / "cat" / "0.PNG")
    assert len(FolderOfClasses(root)) == 3


def test_empty_class_is_a_data_error_that_names_it(tmp_path, write_class_folders, assert_says_four_things):
    root = write_class_folders(tmp_path / "pets", {"cat": 3, "dog": 3, "emu": 0})
    for read in (split_folder, FolderOfClasses):
        with pytest.raises(DataError, match="emu") as caught:
            read(root)
        assert_says_four_things(caught.value)
        assert str(root) in str(caught.value)


def test_missing_folder_is_a_data_error_with_its_absolute_path(
    tmp_path, monkeypatch, assert_says_four_things
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="does not exist") as caught:
        split_folder("nowhere/pets")
    assert_says_four_things(caught.value)
    assert caught.value.where == str(tmp_path / "nowhere" / "pets")


def test_file_or_folder_without_classes_is_a_data_error(tmp_path, write_image, assert_says_four_things):
    picture = write_image(tmp_path / "loose" / "a.png")
    for root in (picture, picture.parent):
        with pytest.raises(DataError) as caught:
            split_folder(root)
        assert_says_four_things(caught.value)
        assert caught.value.where == str(root)


def test_different_classes_in_train_and_test_are_listed(
    tmp_path, write_class_folders, assert_says_four_things
):
    write_class_folders(tmp_path / "train", {"cat": 2, "dog": 2})
    write_class_folders(tmp_path / "test", {"dog": 2, "emu": 2})
    with pytest.raises(DataError, match="missing: cat; extra: emu") as caught:
        split_folder(tmp_path)
    assert_says_four_things(caught.value)
    assert caught.value.where == str(tmp_path / "test")


def test_two_spellings_of_one_accent_are_one_class(tmp_path, write_class_folders):
    """ "café" as macOS writes it and as Linux writes it; as bytes they sort to different sides of "cafz"."""
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert sorted([composed, "cafz"]) != [composed, "cafz"] and sorted([decomposed, "cafz"])[0] == decomposed
    write_class_folders(tmp_path / "train", {composed: 5, "cafz": 5})
    write_class_folders(tmp_path / "test", {decomposed: 2, "cafz": 2})
    splits = split_folder(tmp_path)
    label = splits.classes.index("cafz")
    assert {label for path, label in splits.test.samples if "cafz" in path} == {label}
    assert {one for path, one in splits.train.dataset.samples if "cafz" in path} == {label}


def test_types_that_are_not_read_are_counted_and_reported(tmp_path, write_class_folders, capsys):
    root = write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 5})
    for name in ("a.avif", "b.AVIF", "c.gif", ".DS_Store", "._0.png"):
        (root / "cat" / name).write_bytes(b"x")
    (root / "dog" / "link").symlink_to(root, target_is_directory=True)
    for _ in range(2):
        split_folder(root)
        assert capsys.readouterr().out.splitlines() == [
            "not read: a link to a folder (1); not a type of picture that is read (.avif: 2, .gif: 1)"
        ]


def test_class_of_nothing_but_gifs_says_why_it_is_empty(tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 5, "emu": 0})
    (root / "emu" / "a.gif").write_bytes(b"x")
    with pytest.raises(DataError, match=r"emu: no picture of a type that is read \(\.gif: 1\) in this class"):
        split_folder(root)


@pytest.mark.parametrize("place", ["", "train"])
def test_class_folder_whose_name_is_not_utf8_is_refused_by_name(
    place, tmp_path, write_class_folders, assert_says_four_things
):
    root = write_class_folders(tmp_path / "pets" / place, {"cat": 5, "dog": 5})
    os.rename(root / "dog", os.path.join(os.fsencode(root), b"caf\xe9"))
    with pytest.raises(DataError, match="UTF-8") as caught:
        split_folder(tmp_path / "pets")
    assert_says_four_things(caught.value)
    assert r"b'caf\xe9'" in caught.value.found and str(root) in caught.value.where
    str(caught.value).encode()  # a screen can show it


def test_file_whose_name_is_not_utf8_is_read_and_can_be_told_of(tmp_path, write_class_folders, capsys):
    root = write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 5})
    odd = os.path.join(os.fsencode(root / "dog"), b"caf\xe9")
    shutil.copy(root / "dog" / "0.png", odd + b".png")
    assert len(FolderOfClasses(root)) == 11
    for kind in (b".gif", b".jpg"):
        Path(os.fsdecode(odd + kind)).write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        split_folder(root)
    told = [str(caught.value), check_images(root).to_string()]
    assert all(r"caf\udce9.jpg" in text.encode().decode() for text in told)


def test_pipe_among_the_pictures_is_not_read(tmp_path, write_class_folders, capsys, assert_says_four_things):
    root = write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 5})
    os.mkfifo(root / "cat" / "pipe.png")
    assert len(FolderOfClasses(root)) == 10
    split_folder(root)
    assert "not read: not a regular file (1)" in capsys.readouterr().out
    assert check_images(root).finding.tolist() == ["not a regular file"]
    with pytest.raises(DataError, match="regular file") as caught:
        load_rgb(root / "cat" / "pipe.png")
    assert_says_four_things(caught.value)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (10, 1_001)], ids=str)
def test_picture_that_would_become_gigabytes_is_refused(size, tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 5})
    Image.new("RGB", size).save(root / "cat" / "strip.png")
    with pytest.raises(DataError, match=rf"strip.png: ValueError: {size[0]} x {size[1]} pixels: one side"):
        split_folder(root)


def test_pictures_of_three_pixels_are_trained_and_drawn(tmp_path, write_class_folders, write_image):
    root = write_class_folders(tmp_path / "pets", {"cat": 0, "dog": 0})
    for number in range(20):
        write_image(root / ("cat", "dog")[number % 2] / f"{number}.png", seed=number, size=3)
    settings = Settings(dataset=f"folder:{root}", epochs=1, image_size=32, device="cpu")
    splits = load_splits(settings)
    model = load_backbone(backbone_weights(settings))
    replace_head(model, num_classes=2)
    freeze(model)
    assert len(fit(model, splits.train, splits.val, settings).epochs) == 1
    assert check_images(root).empty


def test_a_run_whose_features_are_on_disk_says_the_same_as_the_first(
    tmp_path, write_class_folders, feature_store, recwarn, capsys
):
    root = write_class_folders(tmp_path / "pets", {"cat": 10, "dog": 10})
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(root / "cat" / "moving.png", save_all=True, append_images=frames[1:])
    settings = Settings(dataset=f"folder:{root}", epochs=2, image_size=32, device="cpu")
    told = []
    for _ in range(2):
        splits = load_splits(settings)
        model = load_backbone(backbone_weights(settings))
        torch.manual_seed(0)
        replace_head(model, num_classes=2)
        freeze(model)
        warnings.simplefilter("always")
        history = fit(model, splits.train, splits.val, settings).to_frame().drop(columns="seconds")
        told.append((capsys.readouterr().out, [str(one.message) for one in recwarn.list], history.to_dict()))
        recwarn.clear()
        assert list(feature_store.glob("*.safetensors"))
    assert told[0] == told[1]
    assert "Only the first frame of an animated picture is read: cat/moving.png" in told[0][0]


class TestLoadRgb:
    """One way to read every kind of picture."""

    def save(self, image, path, **options):
        image.save(path, **options)
        loaded = load_rgb(path)
        assert loaded.mode == "RGB"
        return loaded

    def test_colours_hidden_under_transparency_become_white(self, tmp_path):
        image = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
        image.putpixel((1, 0), (0, 200, 0, 0))
        loaded = self.save(image, tmp_path / "a.png")
        assert [loaded.getpixel((x, 0)) for x in (0, 1)] == [(200, 0, 0), (255, 255, 255)]

    def test_half_transparent_is_mixed_with_white(self, tmp_path):
        loaded = self.save(Image.new("RGBA", (1, 1), (0, 0, 0, 51)), tmp_path / "a.png")
        assert loaded.getpixel((0, 0)) == (204, 204, 204)

    def test_palette_with_a_transparent_colour(self, tmp_path):
        image = Image.new("P", (2, 1), 0)
        image.putpalette([0, 0, 0, 10, 20, 30])
        image.putpixel((1, 0), 1)
        loaded = self.save(image, tmp_path / "a.png", transparency=0)
        assert [loaded.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (10, 20, 30)]

    def test_grey_becomes_three_equal_channels(self, tmp_path):
        assert self.save(Image.new("L", (1, 1), 77), tmp_path / "a.png").getpixel((0, 0)) == (77, 77, 77)

    def test_grey_with_alpha(self, tmp_path):
        loaded = self.save(Image.new("LA", (1, 1), (77, 0)), tmp_path / "a.png")
        assert loaded.getpixel((0, 0)) == (255, 255, 255)

    @pytest.mark.parametrize("inks, colour", [((0, 0, 0, 0), 255), ((0, 0, 0, 255), 0)])
    def test_printing_colours(self, inks, colour, tmp_path):
        loaded = self.save(Image.new("CMYK", (8, 8), inks), tmp_path / "a.jpg")
        assert np.abs(np.array(loaded).astype(int) - colour).max() <= 2

    def test_picture_is_turned_upright(self, tmp_path):
        image = Image.new("RGB", (4, 2), "black")
        image.putpixel((0, 0), (255, 0, 0))
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
        loaded = self.save(image, tmp_path / "a.png", exif=exif)
        assert loaded.size == (2, 4)
        assert loaded.getpixel((1, 0)) == (255, 0, 0)

    @pytest.mark.parametrize("file_type", ["png", "jpg", "webp", "gif", "bmp"])
    def test_truncated_picture_is_a_data_error_with_its_absolute_path(
        self, file_type, tmp_path, write_image, monkeypatch, assert_says_four_things
    ):
        path = write_image(tmp_path / f"a.{file_type}", size=64)
        path.write_bytes(path.read_bytes()[:-400])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DataError) as caught:
            load_rgb(path.name)
        assert_says_four_things(caught.value)
        assert caught.value.where == str(path)
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>", None])
    def test_no_picture_at_all_is_a_data_error(self, content, tmp_path, assert_says_four_things):
        path = tmp_path / "a.png"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_rgb(path)
        assert_says_four_things(caught.value)


def test_damaged_picture_in_a_folder_is_named(tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"cat": 3, "dog": 3})
    bad = root / "dog" / "1.png"
    bad.write_bytes(bad.read_bytes()[:100])
    pictures = FolderOfClasses(root)
    index = [path for path, _ in pictures.samples].index(str(bad))
    with pytest.raises(DataError, match=str(bad)):
        pictures[index]


@pytest.mark.skipif(not PHOTOGRAPHS.is_file(), reason=f"needs {PHOTOGRAPHS}, which is not in the repository")
def test_real_photographs_are_read(tmp_path):
    count = 0
    with tarfile.open(PHOTOGRAPHS, "r|xz") as archive:
        for member in archive:
            if member.name.endswith(".jpg"):
                content = archive.extractfile(member).read()
                reference = np.array(Image.open(io.BytesIO(content)))
                path = tmp_path / f"{count}.jpg"
                path.write_bytes(content)
                assert np.array_equal(np.array(load_rgb(path)), reference)
                assert reference.shape == (32, 32, 3)
                count += 1
            if count == 5:
                break
    assert count == 5
