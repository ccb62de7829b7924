"""Faults 9 to 20: what torchvision and Pillow make of them. The course's half: tests/data."""

import unicodedata

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from small_pictures import STOP_PLAIN_TORCHVISION, animation, photograph, row
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

pytestmark = pytest.mark.kernels

TO_TENSOR = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])


def save_and_convert(image, path, **options):
    image.save(path, **options)
    with Image.open(path) as saved:
        return saved.convert("RGB")


@pytest.mark.parametrize("name", STOP_PLAIN_TORCHVISION)
def test_fault_9_undecodable_picture_stops_in_mid_epoch(name, pets):
    STOP_PLAIN_TORCHVISION[name](pets / "cat" / name)
    with pytest.raises((OSError, Image.DecompressionBombError)):
        list(ImageFolder(pets))


def test_fault_10_verify_passes_what_cannot_be_decoded(tmp_path):
    STOP_PLAIN_TORCHVISION["truncated.jpg"](tmp_path / "a.jpg")
    Image.open(tmp_path / "a.jpg").verify()
    assert not issubclass(Image.DecompressionBombError, (OSError, ValueError))


def test_fault_11_sixteen_bits_saturate(tmp_path):
    grey = save_and_convert(row([0, 771, 65535], "uint16"), tmp_path / "a.png")
    assert np.array(grey)[0, :, 0].tolist() == [0, 255, 255]


def test_fault_12_hidden_colours_come_to_light(tmp_path):
    drawing = save_and_convert(photograph().convert("RGBA").rotate(20), tmp_path / "a.png")
    assert drawing.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["CMYK", "RGBA", "LA"])
def test_fault_12_transform_of_a_picture_of_another_mode(mode):
    normalise = v2.Compose([TO_TENSOR, v2.Normalize([0.5] * 3, [0.5] * 3)])
    with pytest.raises(RuntimeError):
        normalise(Image.new(mode, (8, 8)))


def test_fault_13_rotation_and_frames_are_ignored_without_a_word(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    assert save_and_convert(photograph((48, 32)), tmp_path / "a.jpg", exif=exif).size == (48, 32)
    animation(tmp_path / "a.png", format="GIF")
    with Image.open(tmp_path / "a.png") as image:
        image.convert("RGB")  # and that is all: in this test run a warning is an error


def test_fault_14_companion_of_macos_is_taken_for_a_picture(pets):
    (pets / "cat" / "._0.jpg").write_bytes(b"\0\5\26\7")
    with pytest.raises(OSError):
        list(ImageFolder(pets))


def test_faults_15_and_16_empty_and_hidden_folders(pets, write_image):
    for hidden in (".ipynb_checkpoints", "__MACOSX"):
        write_image(pets / hidden / "a.png")
    assert ImageFolder(pets).classes == [".ipynb_checkpoints", "__MACOSX", "cat", "dog"]
    (pets / "emu").mkdir()
    with pytest.raises(FileNotFoundError, match="emu"):
        ImageFolder(pets)


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "Test"), ("train", "valid")])
def test_fault_17_splits_become_classes(names, tmp_path, write_class_folders):
    for name in names:
        write_class_folders(tmp_path / name, {"cat": 2, "dog": 2})
    assert ImageFolder(tmp_path).classes == sorted(names)


def test_fault_18_one_class_has_two_numbers(tmp_path, write_class_folders):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    for split, names in {"train": ["cat", composed], "val": [decomposed], "test": [composed]}.items():
        write_class_folders(tmp_path / split, {**dict.fromkeys(names, 2), "cafz": 2})
    numbers = [ImageFolder(tmp_path / split).class_to_idx["cafz"] for split in ("train", "val", "test")]
    assert numbers == [0, 1, 0]


def test_fault_19_loop_of_links_is_walked_again_and_again(pets):
    (pets / "cat" / "loop").symlink_to(pets, target_is_directory=True)
    assert len(ImageFolder(pets)) > 10 * 16


def test_fault_20_sizes_pil_pictures_and_no_picture_at_all(pets, write_image):
    write_image(pets / "dog" / "wide.png", seed=50, size=24)
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        list(DataLoader(ImageFolder(pets, TO_TENSOR), 17))
    with pytest.raises(TypeError):
        list(DataLoader(ImageFolder(pets), 8))
    assert list(DataLoader(TensorDataset(torch.empty(0)), 8)) == []  # a whole epoch without a step
