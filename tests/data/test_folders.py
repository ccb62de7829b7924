"""Folders of pictures: which folders are classes, which are splits, and which files are read."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from small_pictures import UNDECODABLE, paths, photograph

from course_utils.data.folder_report import check_images
from course_utils.data.folders import FolderOfClasses
from course_utils.data.splits import load_splits
from course_utils.errors import DataError
from course_utils.settings import Settings


def split_folder(root, **values):
    return load_splits(Settings(dataset=f"folder:{root}", **values), transform=np.array)


@pytest.fixture
def refused_folder(refused):
    """Return a function that sees a folder refused, and gives the error."""

    def check(root, match, where=None):
        with refused(DataError, match, where=where or root) as caught:
            split_folder(root)
        return caught.value

    return check


# Classes and splits


@pytest.mark.parametrize(
    "counts, sizes",
    [
        ({"": 20}, [25, 7, 8]),  # a fifth for testing, then a fifth of the rest
        ({"train": 10, "test": 3}, [16, 4, 6]),
        ({"train": 6, "val": 2, "test": 3}, [12, 4, 6]),
        ({"train": 10, "val": 2}, [16, 4, 4]),
    ],
    ids=str,
)
def test_splits_that_a_folder_has_are_used_and_others_drawn(counts, sizes, tmp_path, write_class_folders):
    for split, count in counts.items():
        write_class_folders(tmp_path / split, {"dog": count, "cat": count})
    splits, again = split_folder(tmp_path), split_folder(tmp_path)
    assert splits.classes == ["cat", "dog"]
    assert [len(part) for part in splits[:3]] == sizes
    assert len({path for part in splits[:3] for path in paths(part)}) == sum(sizes)
    for name, part, same in zip(("train", "val", "test"), splits[:3], again[:3], strict=True):
        folder = tmp_path / (name if name in counts else "train" if "train" in counts else "")
        assert all(Path(path).parent.parent == folder for path in paths(part))
        assert [splits.classes[label] for _, label in part] == [
            Path(path).parent.name for path in paths(part)
        ]
        assert paths(same) == paths(part)


def test_seed_and_fraction_decide_what_is_drawn(pets):
    splits, other = split_folder(pets), split_folder(pets, seed=1, test_fraction=0.5)
    assert set(paths(splits.test)) - set(paths(other.test)) and len(other.test) == 12


@pytest.mark.parametrize(
    ("folders", "match", "where"),
    [
        ("train/cat valid/cat", "(?s)parts.*train, valid", ""),
        ("Train/cat Test/cat", "(?s)parts.*Test, Train", ""),
        ("val/cat test/cat", "(?s)parts.*test, val", ""),
        ("train/cat test/cat x/cat", "(?s)parts.*test, train, x", ""),
        ("train/cat train/dog test/dog test/emu", "missing: cat; extra: emu", "test"),
    ],
)
def test_folders_that_are_neither_classes_nor_splits_are_refused_with_the_reason(
    folders, match, where, tmp_path, write_image, refused_folder
):
    for seed, folder in enumerate(folders.split()):
        for number in range(2):
            write_image(tmp_path / folder / f"{number}.png", seed=[seed, number])
    refused_folder(tmp_path, match, tmp_path / where)


def test_classes_are_in_order_and_one_may_be_called_train(tmp_path, write_class_folders):
    write_class_folders(tmp_path, dict.fromkeys(("train", "boat", "ship", "car", "plane"), 3))
    assert split_folder(tmp_path).classes == ["boat", "car", "plane", "ship", "train"]


def test_empty_class_is_a_data_error_that_names_it(pets, refused_folder):
    (pets / "emu").mkdir()
    refused_folder(pets, "emu: no picture in this class")
    with pytest.raises(DataError, match="emu"):
        FolderOfClasses(pets)


def test_folder_that_is_none_is_a_data_error(tmp_path, write_image, monkeypatch, refused_folder):
    picture = write_image(tmp_path / "loose" / "a.png")
    refused_folder(picture, "does not exist")
    refused_folder(picture.parent, "no class folders")
    monkeypatch.chdir(tmp_path)
    refused_folder("nowhere/pets", "does not exist", tmp_path / "nowhere" / "pets")


@pytest.mark.parametrize(("place", "mode"), [("", 0o311), ("dog", 0o000), ("dog/more", 0o000)])
def test_unreadable_folder_of_pictures_is_a_data_error_that_names_it(
    place, mode, folder_for_all, write_class_folders, write_image, ordinary_user, refused
):
    root = write_class_folders(folder_for_all / "pets", {"cat": 3, "dog": 3})
    write_image(root / "dog" / "more" / "0.png")
    (root / place).chmod(mode)
    with ordinary_user(), refused(DataError, match="cannot be read") as caught:
        split_folder(root, skip_bad_images=True)
    (root / place).chmod(0o755)
    assert caught.value.where.startswith(str(root / place)) and "PermissionError" in caught.value.found


def test_two_spellings_of_one_accent_are_one_class(tmp_path, write_class_folders):
    """ "café" as macOS writes it and as Linux writes it; as bytes they sort to different sides of "cafz"."""
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write_class_folders(tmp_path / "train", {composed: 5, "cafz": 5})
    write_class_folders(tmp_path / "test", {decomposed: 2, "cafz": 2})
    splits = split_folder(tmp_path)
    for samples in (splits.test.samples, splits.train.dataset.samples):
        assert {label for path, label in samples if "cafz" in path} == {splits.classes.index("cafz")}


def test_class_that_is_a_link_is_empty(pets, tmp_path, write_image, refused_folder):
    write_image(tmp_path / "elsewhere" / "0.png", seed=99)
    (pets / "emu").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    error = refused_folder(pets, "emu: no picture in this class")
    assert "Links are not followed" in error.do


# Files


def test_hidden_folders_and_what_is_no_picture_are_not_read(pets, write_image, capsys):
    for hidden in (".ipynb_checkpoints", "__MACOSX", ".git"):
        write_image(pets / hidden / "a.png")
        write_image(pets / "cat" / hidden / "0-checkpoint.png")
    for name in ("a.avif", "b.AVIF", "c.gif", ".DS_Store", "._0.png", "._1.jpg"):
        (pets / "cat" / name).write_bytes(b"x")
    for name in ("0.PNG", "photograph.jfif", "photograph.JPE"):
        photograph().save(pets / "cat" / name, format="PNG" if name == "0.PNG" else "JPEG")
    os.mkfifo(pets / "cat" / "pipe.png")
    (pets / "dog" / "link").symlink_to(pets, target_is_directory=True)
    assert FolderOfClasses(pets).classes == ["cat", "dog"] and len(FolderOfClasses(pets)) == 27
    for _ in range(2):
        split_folder(pets)
        assert capsys.readouterr().out.splitlines() == [
            "not read: a link (1); not a file (1); not a type of picture that is read (3)"
        ]


def test_file_whose_name_is_not_utf8_is_read_and_can_be_reported(pets):
    odd = os.path.join(os.fsencode(pets / "dog"), b"caf\xe9")
    shutil.copy(pets / "dog" / "0.png", odd + b".png")
    assert len(FolderOfClasses(pets)) == 25
    for kind in (b".gif", b".jpg"):
        Path(os.fsdecode(odd + kind)).write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        split_folder(pets)
    reports = [str(caught.value), check_images(pets).to_string()]
    assert all(r"caf\udce9.jpg" in text.encode().decode() for text in reports)


class TestBadPictures:
    """By default one error lists everything; with `skip_bad_images` training goes on."""

    @pytest.fixture
    def spoiled(self, pets):
        for number, (name, write) in enumerate(UNDECODABLE.items()):
            write(pets / ("cat", "dog")[number % 2] / name)
        (pets / "aardvark").mkdir()  # the first class: leaving it out moves every label
        return pets

    def test_one_error_lists_everything_before_training(self, spoiled, refused_folder):
        error = refused_folder(spoiled, "cannot be used as it is")
        assert all(name in error.found for name in [*UNDECODABLE, "aardvark"])
        assert "skip_bad_images=True" in error.do and "check_images" in error.do

    def test_training_goes_on_with_the_readable_ones(self, spoiled, capsys, write_image):
        splits = split_folder(spoiled, skip_bad_images=True)
        assert capsys.readouterr().out.splitlines() == [
            f"left out: {len(UNDECODABLE)} pictures that cannot be decoded; "
            "classes without a picture: aardvark"
        ]
        assert splits.classes == ["cat", "dog"]
        assert sum(len([*part]) for part in splits[:3]) == 24
        assert all(f"/{splits.classes[label]}/" in path for path, label in splits.train.dataset.samples)
        write_image(spoiled / "cat" / "empty.png", seed=55)  # mended: it is read again
        assert len(split_folder(spoiled, skip_bad_images=True).train.dataset) == 25

    def test_class_that_is_empty_in_train_is_left_out_of_test_too(self, tmp_path, write_class_folders):
        write_class_folders(tmp_path / "train", {"ant": 0, "cat": 8, "dog": 8})
        write_class_folders(tmp_path / "test", {"ant": 3, "cat": 3, "dog": 3})
        splits = split_folder(tmp_path, skip_bad_images=True)
        assert splits.classes == list(splits.test.classes) == ["cat", "dog"]
        assert {splits.classes[label] in path for path, label in splits.test.samples} == {True}
        assert len(splits.test) == 6

    def test_damaged_later_a_picture_is_named_when_it_is_read(self, pets):
        pictures, bad = FolderOfClasses(pets), pets / "dog" / "1.png"
        bad.write_bytes(bad.read_bytes()[:100])
        with pytest.raises(DataError, match=str(bad)):
            pictures[pictures.samples.index((str(bad), 1))]
