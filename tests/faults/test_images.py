"""Faults 9 to 20: first what plain torchvision or Pillow makes of it, then what the course does.

Most of them are shown in test_image_checks.py and test_folders.py; here is what those do not show.
"""

import io
import random
import shutil
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets
from torchvision.transforms import v2

from course_utils.data import loaders
from course_utils.data.folders import FolderOfClasses, folder_sources
from course_utils.data.image_io import as_rgb, load_rgb
from course_utils.data.loaders import classes_of, make_loader
from course_utils.data.splits import load_splits
from course_utils.errors import DataError
from course_utils.evaluation.metrics import predict
from course_utils.models.freezing import freeze
from course_utils.settings import Settings
from course_utils.training.loop import fit

TO_TENSOR = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])


def truncated_jpeg(path):
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG")
    path.write_bytes(content.getvalue()[: len(content.getvalue()) // 2])


def test_fault_10_verify_passes_what_cannot_be_decoded(tmp_path, assert_says_four_things):
    truncated_jpeg(tmp_path / "a.jpg")
    Image.open(tmp_path / "a.jpg").verify()  # the plain way says nothing
    assert not issubclass(Image.DecompressionBombError, (OSError, ValueError))
    with pytest.raises(DataError) as caught:
        load_rgb(tmp_path / "a.jpg")
    assert_says_four_things(caught.value)
    assert caught.value.where == str(tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "LA"])
def test_fault_12_transform_of_one_picture_of_another_mode(mode, tmp_path):
    path = tmp_path / "a.tif"
    Image.new(mode, (8, 8)).save(path)
    plain = v2.Compose([TO_TENSOR, v2.Normalize([0.5] * 3, [0.5] * 3)])
    with Image.open(path) as image:
        if mode == "L":  # one channel is spread over three without a word
            assert plain(image).shape == (3, 8, 8)
        else:
            with pytest.raises(RuntimeError):
                plain(image)
    assert plain(load_rgb(path)).shape == (3, 8, 8)


def test_fault_13_moving_picture_is_read_without_a_word(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.png", "GIF", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "GIF"
        image.convert("RGB")  # and that is all: under pytest here, a warning would be an error
    with pytest.warns(UserWarning, match="first frame"):
        assert load_rgb(tmp_path / "a.png").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("fault", ["truncated", "unknown range"])
def test_fault_10_picture_that_is_open_already(fault, tmp_path, assert_says_four_things):
    truncated_jpeg(tmp_path / "a.jpg")
    picture = Image.new("F", (4, 4), 0.5) if fault == "unknown range" else Image.open(tmp_path / "a.jpg")
    with pytest.raises((OSError, ValueError)):
        as_rgb(picture)
    with pytest.raises(DataError) as caught:
        predict(nn.Linear(1, 2), picture, TO_TENSOR, ["cat", "dog"])
    assert_says_four_things(caught.value)


@pytest.fixture
def pets(tmp_path, write_class_folders):
    return write_class_folders(tmp_path / "pets", {"cat": 8, "dog": 8})


def test_fault_14_companion_of_macos_is_taken_for_a_picture(pets):
    (pets / "cat" / "._0.jpg").write_bytes(b"\0\5\26\7")
    with pytest.raises(OSError):
        list(datasets.ImageFolder(str(pets)))
    assert len(FolderOfClasses(pets)) == len(list(FolderOfClasses(pets))) == 16


def test_fault_15_empty_class_is_named(pets, assert_says_four_things):
    (pets / "emu").mkdir()
    with pytest.raises(FileNotFoundError, match="emu"):
        datasets.ImageFolder(str(pets))
    with pytest.raises(DataError, match="emu") as caught:
        load_splits(Settings(dataset=f"folder:{pets}"))
    assert_says_four_things(caught.value)


def test_fault_17_parent_of_train_and_val(tmp_path, write_class_folders):
    for part in ("train", "val"):
        write_class_folders(tmp_path / part, {"cat": 8, "dog": 8})
    assert datasets.ImageFolder(str(tmp_path)).classes == ["train", "val"]
    assert load_splits(Settings(dataset=f"folder:{tmp_path}")).classes == ["cat", "dog"]


@pytest.mark.parametrize(
    "names", [("train", "valid"), ("Train", "Test"), ("val", "test"), ("train", "test", "x")]
)
def test_fault_17_parts_by_other_names_are_no_classes(
    names, tmp_path, write_class_folders, assert_says_four_things
):
    for name in names:
        write_class_folders(tmp_path / name, {"cat": 2, "dog": 2})
    assert len(datasets.ImageFolder(str(tmp_path)).classes) == len(names)
    with pytest.raises(DataError, match="parts") as caught:
        folder_sources(tmp_path)
    assert_says_four_things(caught.value)
    assert all(name in caught.value.found for name in names)


def test_fault_17_class_may_be_called_train(tmp_path, write_class_folders):
    write_class_folders(tmp_path, {"train": 5, "ship": 5})
    assert load_splits(Settings(dataset=f"folder:{tmp_path}")).classes == ["ship", "train"]


def test_fault_18_one_class_has_two_numbers(tmp_path, write_class_folders, assert_says_four_things):
    write_class_folders(tmp_path / "train", {"cat": 5, "dog": 5})
    write_class_folders(tmp_path / "val", {"dog": 5})
    train, val = (datasets.ImageFolder(str(tmp_path / part)) for part in ("train", "val"))
    assert (train.class_to_idx["dog"], val.class_to_idx["dog"]) == (1, 0)
    with pytest.raises(DataError, match="missing: cat") as caught:
        load_splits(Settings(dataset=f"folder:{tmp_path}"))
    assert_says_four_things(caught.value)


def test_fault_18_two_spellings_of_one_accent(tmp_path, write_class_folders):
    spellings = {
        part: unicodedata.normalize(form, "café") for part, form in (("train", "NFC"), ("test", "NFD"))
    }
    for part, name in spellings.items():
        write_class_folders(tmp_path / part, {name: 6, "cafz": 6})
    plain = [datasets.ImageFolder(str(tmp_path / part)).class_to_idx["cafz"] for part in spellings]
    assert plain == [0, 1]
    sources = folder_sources(tmp_path)
    assert len({sources[part](None).class_to_idx["cafz"] for part in spellings}) == 1


@pytest.fixture
def mixed_sizes(pets, write_image):
    write_image(pets / "dog" / "wide.png", seed=50, size=24)
    return FolderOfClasses(pets, transform=TO_TENSOR)


def test_fault_20_images_of_mixed_size(mixed_sizes, assert_says_four_things):
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        list(DataLoader(mixed_sizes, 17))
    with pytest.raises(DataError, match="one batch") as caught:
        make_loader(mixed_sizes, 17)
    assert_says_four_things(caught.value)
    assert "[3, 16, 16], [3, 24, 24]" in caught.value.found
    assert "v2.Resize" in caught.value.do


def test_fault_20_probe_leaves_the_random_numbers_as_they_were(pets):
    def noisy(picture):
        return TO_TENSOR(picture) + torch.rand(1) + random.random() + float(np.random.rand())

    def draw(probe):
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(3)
        if probe:
            make_loader(FolderOfClasses(pets, transform=noisy), 8)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw(probe=True) == draw(probe=False)


def test_fault_20_a_rare_size_is_told_when_its_batch_comes(mixed_sizes, monkeypatch, assert_says_four_things):
    monkeypatch.setattr(loaders, "PROBED", 1)
    with pytest.raises(DataError, match="one batch") as caught:
        list(make_loader(mixed_sizes, 17))
    assert_says_four_things(caught.value)


def test_fault_20_pictures_that_are_no_tensors(pets, assert_says_four_things):
    with pytest.raises(TypeError):
        list(DataLoader(FolderOfClasses(pets), 8))
    with pytest.raises(DataError, match="tensors of one size") as caught:
        make_loader(FolderOfClasses(pets), 8)
    assert_says_four_things(caught.value)


def test_fault_20_no_image_at_all(assert_says_four_things):
    class Nothing(Dataset):
        classes, targets = ("cat", "dog"), ()

        def __len__(self):
            return 0

    assert list(DataLoader(Nothing(), 8)) == []  # a whole epoch without a step
    model = nn.Sequential()
    model.fc = nn.Linear(4, len(classes_of(Nothing())))
    freeze(model)
    for work in (make_loader, lambda dataset, _: fit(model, dataset, dataset, Settings(device="cpu"))):
        with pytest.raises(DataError, match="nothing to load") as caught:
            work(Nothing(), 8)
        assert_says_four_things(caught.value)


def test_folder_that_may_not_be_read_is_a_data_error(pets, monkeypatch, assert_says_four_things):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(DataError, match="cannot be read") as caught:
        load_splits(Settings(dataset=f"folder:{pets}"))
    assert_says_four_things(caught.value)


def test_sums_of_the_shipped_images_that_are_missing_are_a_data_error(tmp_path, monkeypatch):
    (tmp_path / "fashion_mnist_sample").mkdir()
    monkeypatch.setattr("course_utils.data.splits.shipped_data_folder", lambda: tmp_path)
    with pytest.raises(DataError, match="SHA256SUMS"):
        load_splits(Settings())
    shutil.rmtree(tmp_path / "fashion_mnist_sample")
