"""Folders of pictures: which folders are classes, which are splits, and which files are read."""

import os
import shutil
import subprocess
import sys
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from small_pictures import UNDECODABLE, animation, paths, photograph
from torch import nn
from torchvision.transforms import v2

from course_utils.data import image_io
from course_utils.data.folder_report import check_images
from course_utils.data.folders import FolderOfClasses
from course_utils.data.image_io import load_rgb
from course_utils.data.splits import load_splits
from course_utils.errors import DataError
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import REPOSITORY_FOLDER, Settings
from course_utils.training.loop import fit


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
    "names", [("train", "valid"), ("Train", "Test"), ("val", "test"), ("train", "test", "x")]
)
def test_splits_by_other_names_are_no_classes(names, tmp_path, write_class_folders, refused_folder):
    for name in names:
        write_class_folders(tmp_path / name, {"cat": 2, "dog": 2})
    error = refused_folder(tmp_path, "parts")
    assert all(name in error.found for name in names)


def test_classes_are_in_order_and_one_may_be_called_train(tmp_path, write_class_folders):
    write_class_folders(tmp_path, dict.fromkeys(("train", "boat", "ship", "car", "plane"), 3))
    assert split_folder(tmp_path).classes == ["boat", "car", "plane", "ship", "train"]


def test_classes_that_differ_between_splits_are_listed(tmp_path, write_class_folders, refused_folder):
    write_class_folders(tmp_path / "train", {"cat": 2, "dog": 2})
    write_class_folders(tmp_path / "test", {"dog": 2, "emu": 2})
    refused_folder(tmp_path, "missing: cat; extra: emu", tmp_path / "test")


def test_two_spellings_of_one_accent_are_one_class(tmp_path, write_class_folders):
    """ "café" as macOS writes it and as Linux writes it; as bytes they sort to different sides of "cafz"."""
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write_class_folders(tmp_path / "train", {composed: 5, "cafz": 5})
    write_class_folders(tmp_path / "test", {decomposed: 2, "cafz": 2})
    splits = split_folder(tmp_path)
    for samples in (splits.test.samples, splits.train.dataset.samples):
        assert {label for path, label in samples if "cafz" in path} == {splits.classes.index("cafz")}


def test_empty_class_is_a_data_error_that_names_it(pets, refused_folder):
    (pets / "emu").mkdir()
    refused_folder(pets, "emu: no picture in this class")
    with pytest.raises(DataError, match="emu"):
        FolderOfClasses(pets)
    (pets / "emu" / "a.gif").write_bytes(b"x")
    refused_folder(pets, r"emu: no picture of a type that is read \(\.gif: 1\)")


def test_folder_that_is_none_is_a_data_error(tmp_path, write_image, monkeypatch, refused_folder):
    picture = write_image(tmp_path / "loose" / "a.png")
    refused_folder(picture, "does not exist")
    refused_folder(picture.parent, "no class folders")
    monkeypatch.chdir(tmp_path)
    refused_folder("nowhere/pets", "does not exist", tmp_path / "nowhere" / "pets")


def test_folder_that_may_not_be_read_is_a_data_error(
    folder_for_all, write_class_folders, ordinary_user, refused_folder
):
    root = write_class_folders(folder_for_all / "pets", {"cat": 2, "dog": 2})
    root.chmod(0o311)
    with ordinary_user():
        refused_folder(root, "cannot be read")
    root.chmod(0o755)


@pytest.mark.parametrize("mode", [0o000, 0o444])
@pytest.mark.parametrize("place", ["dog", "dog/more"])
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


def test_folder_of_test_images_alone_says_that_training_images_are_missing(
    tmp_path, write_class_folders, refused_folder
):
    write_class_folders(tmp_path / "test", {"cat": 2, "dog": 2})
    error = refused_folder(tmp_path, "no folder train")
    assert f"folder:{tmp_path / 'test'}" in error.do


def test_class_of_links_out_of_the_folder_is_named_with_the_reason(
    pets, tmp_path, write_image, refused_folder
):
    write_image(tmp_path / "elsewhere" / "0.png", seed=99)
    (pets / "emu").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (pets / "fox").mkdir()
    (pets / "fox" / "0.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    error = refused_folder(pets, "cannot be used")
    assert "emu: no picture in this class; not read: a link to a folder (1)" in error.found
    assert "fox: no picture in this class; not read: a link out of the folder (1)" in error.found
    assert "copy what they lead to" in error.do
    with pytest.raises(DataError, match="a link to a folder"):
        FolderOfClasses(pets)


def test_other_names_of_jpeg_files_are_read(pets):
    for kind in ("jfif", "JPE"):
        photograph().save(pets / "cat" / f"photograph.{kind}", format="JPEG")
    assert len(FolderOfClasses(pets)) == 26


def test_class_folder_outside_ascii_in_a_python_that_reads_ascii_says_what_to_set(
    tmp_path, write_class_folders
):
    write_class_folders(tmp_path, {"hündin": 3, "kater": 3})
    code = "from pathlib import Path; from course_utils.data.folders import split_folders as split\n"
    code += (
        f"try: print(ascii(sorted(split(Path({str(tmp_path)!r})))))\nexcept Exception as error: print(error)"
    )
    told = []
    for utf8 in "01":
        own = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": utf8, "PYTHONPATH": str(REPOSITORY_FOLDER)}
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=own, capture_output=True)
        told.append(done.stdout.decode())
    assert "PYTHONUTF8=1" in told[0] and told[1] == "['train']\n"


@pytest.mark.parametrize("place", ["", "train"])
def test_class_folder_whose_name_is_not_utf8_is_refused_by_name(
    place, tmp_path, write_class_folders, refused
):
    root = write_class_folders(tmp_path / "pets" / place, {"cat": 5, "dog": 5})
    os.rename(root / "dog", os.path.join(os.fsencode(root), b"caf\xe9"))
    with refused(DataError, match="cannot be printed") as caught:
        split_folder(tmp_path / "pets")
    assert r"b'caf\xe9'" in caught.value.found and str(root) in caught.value.where
    str(caught.value).encode()  # a screen can show it


# Files


def test_hidden_folders_and_what_is_no_picture_are_not_read(pets, write_image, capsys):
    for hidden in (".ipynb_checkpoints", "__MACOSX", ".git"):
        write_image(pets / hidden / "a.png")
        write_image(pets / "cat" / hidden / "0-checkpoint.png")
    for name in ("a.avif", "b.AVIF", "c.gif", ".DS_Store", "._0.png", "._1.jpg"):
        (pets / "cat" / name).write_bytes(b"x")
    shutil.copy(pets / "cat" / "0.png", pets / "cat" / "0.PNG")
    os.mkfifo(pets / "cat" / "pipe.png")
    (pets / "dog" / "link").symlink_to(pets, target_is_directory=True)
    assert FolderOfClasses(pets).classes == ["cat", "dog"] and len(FolderOfClasses(pets)) == 25
    for _ in range(2):
        split_folder(pets)
        assert capsys.readouterr().out.splitlines() == [
            "not read: a link to a folder (1); not a regular file (1); "
            "not a type of picture that is read (.avif: 2, .gif: 1)"
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
        settings = Settings(
            dataset=f"folder:{spoiled}", skip_bad_images=True, epochs=1, batch_size=8, device="cpu"
        )
        transform = v2.Compose([v2.Resize((8, 8)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
        splits = load_splits(settings, transform)
        assert capsys.readouterr().out.splitlines() == [
            f"left out: {len(UNDECODABLE)} pictures that cannot be decoded; "
            "classes without a picture: aardvark"
        ]
        assert splits.classes == ["cat", "dog"]
        assert sum(len(part) for part in splits[:3]) == 24
        for path, label in splits.train.dataset.samples:
            assert f"/{splits.classes[label]}/" in path
        model = nn.Sequential()
        model.features, model.fc = nn.Flatten(), nn.Linear(192, 2)
        assert len(fit(model, splits.train, splits.val, settings).epochs) == 1
        write_image(spoiled / "cat" / "empty.png", seed=55)  # mended: it is read again
        assert len(load_splits(settings, transform).train.dataset) == 25

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

    def test_every_picture_is_decoded_once(self, pets, monkeypatch):
        decoded = []
        monkeypatch.setattr(image_io, "load_rgb", lambda file: decoded.append(file) or load_rgb(file))
        for _ in range(2):
            split_folder(pets)
        assert len(decoded) == 24


# Training on them


def test_fit_opens_each_picture_once(pets):
    settings = Settings(dataset=f"folder:{pets}", epochs=1, image_size=32, device="cpu")
    splits, opened = load_splits(settings), Counter()
    for sources in {split.dataset for split in splits[:3]}:
        load = sources.loader
        sources.loader = lambda path, load=load: opened.update([path]) or load(path)
    model = load_backbone(backbone_weights(settings))
    replace_head(model, num_classes=2)
    freeze(model)
    fit(model, splits.train, splits.val, settings)
    assert opened == Counter({*paths(splits.train), *paths(splits.val)})
    model.fc.requires_grad_(False)
    model.layer4.requires_grad_(True)
    fit(model, splits.train, splits.val, settings)
    assert set(opened.values()) == {2}


def test_pictures_of_three_pixels_are_learned_and_a_warning_about_one_is_printed_once(
    tmp_path, write_image, recwarn, capsys
):
    root = tmp_path / "pets"
    for number in range(20):
        write_image(root / ("cat", "dog")[number % 2] / f"{number}.png", seed=number, size=3)
    animation(root / "cat" / "moving.png")
    settings = Settings(dataset=f"folder:{root}", epochs=2, image_size=32, device="cpu")
    warnings.simplefilter("always")
    splits, model = load_splits(settings), load_backbone(backbone_weights(settings))
    replace_head(model, num_classes=2)
    freeze(model)
    assert len(fit(model, splits.train, splits.val, settings).epochs) == 2
    told = capsys.readouterr().out
    assert told.count("Only the first frame of an animated picture is read: cat/moving.png") == 1
    assert not recwarn.list
