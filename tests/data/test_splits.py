"""Splits: how images are divided and prepared, and that what ships is verified."""

import hashlib
import math
import shutil

import numpy as np
import pytest
import torch
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Subset, TensorDataset

from course_utils.data.loaders import labels_of
from course_utils.data.splits import load_splits, stratified_split
from course_utils.errors import DataError
from course_utils.models.weights import ResNet18_64px_Weights
from course_utils.settings import Settings, shipped_data_folder

pytestmark = pytest.mark.usefixtures("no_network")

CLOTHES = [
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
]


@pytest.fixture(scope="module")
def splits():
    return load_splits(Settings())


def plain(picture):
    """Turn a picture into a tensor of its own pixels."""
    return torch.from_numpy(np.array(picture))


def pixel_hashes(subset):
    images = subset.dataset.data[subset.indices] if isinstance(subset, Subset) else subset.data
    return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images]


def counts(*parts):
    """Return how many images there are of each class."""
    return np.bincount(np.concatenate([labels_of(part) for part in parts])).tolist()


# The images that ship


def test_sample_is_split_by_class_and_no_picture_is_in_two_splits(splits):
    assert [counts(part) for part in splits[:3]] == [[240] * 10, [60] * 10, [200] * 10]
    assert splits.classes == CLOTHES
    train, val, test = (set(pixel_hashes(part)) for part in splits[:3])
    assert not train & val and not train & test and not val & test
    assert not set(splits.train.indices) & set(splits.val.indices)
    assert len({id(splits.train.dataset), id(splits.val.dataset), id(splits.test)}) == 3


@pytest.mark.parametrize("damage", [lambda content: content[:-20], None], ids=["cut", "missing"])
@pytest.mark.parametrize(
    "dataset, file",
    [
        ("fashion_mnist_sample", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
        ("fashion_mnist_sample", "SHA256SUMS"),
        ("clipart", "train/mammals/mucca.png"),
    ],
)
def test_damaged_or_missing_file_that_ships_is_a_data_error(
    dataset, file, damage, tmp_path, monkeypatch, refused
):
    shutil.copytree(shipped_data_folder() / dataset, tmp_path / dataset)
    path = tmp_path / dataset / file
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    monkeypatch.setattr("course_utils.data.splits.shipped_data_folder", lambda: tmp_path)
    with refused(DataError, match="missing or damaged") as caught:
        load_splits(Settings(dataset=dataset), plain)
    assert caught.value.where.startswith(str(tmp_path / dataset))
    assert f"data/{dataset}" in caught.value.do


# What is drawn


def test_same_seed_same_split_and_other_seed_other_split(splits):
    again, other = load_splits(Settings(seed=0), plain), load_splits(Settings(seed=1), plain)
    assert (again.train.indices, again.val.indices) == (splits.train.indices, splits.val.indices)
    assert other.val.indices != splits.val.indices
    assert pixel_hashes(other.test) == pixel_hashes(splits.test)


@pytest.mark.parametrize(
    "values, train, val",
    [({}, 8, 2), ({"val_fraction": 0.5}, 5, 5), ({"images_per_class": 2}, 1, 1)],
    ids=str,
)
def test_images_per_class_are_shared_by_training_and_validation(values, train, val):
    drawn = []
    for seed in (0, 1):
        part = load_splits(Settings(**{"images_per_class": 10, **values, "seed": seed}), plain)
        assert (counts(part.train), counts(part.val)) == ([train] * 10, [val] * 10)
        assert len(part.test) == 2000
        drawn.append({*part.train.indices, *part.val.indices})
    assert drawn[0] != drawn[1], "another seed draws other images"


@given(
    sizes=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    fraction=st.floats(0.02, 0.98),
    seed=st.integers(0, 99),
)
@examples(100)
def test_stratified_split_divides_the_images_and_has_every_class_on_both_sides(sizes, fraction, seed):
    labels, indices = np.repeat(np.arange(len(sizes)), sizes), np.arange(sum(sizes))
    dataset = TensorDataset(torch.from_numpy(indices), torch.from_numpy(labels))
    try:
        left, held_out = stratified_split(dataset, indices, fraction, seed)
    except DataError:
        assert math.ceil(len(labels) * fraction) > len(labels) - len(sizes), "no room for every class"
        return
    assert sorted([*left, *held_out]) == indices.tolist()
    assert set(labels[left]) == set(labels[held_out]) == set(labels)


@pytest.mark.parametrize("count, fraction, size", [(25, 0.14, 7), (13, 0.2, 6), (10, 0.2, 4)])
def test_shares_are_rounded_up(count, fraction, size):
    dataset = TensorDataset(torch.zeros(2 * count), torch.arange(2 * count) % 2)
    assert len(stratified_split(dataset, np.arange(2 * count), fraction, seed=0)[1]) == size


@pytest.mark.parametrize(
    "classes, match, found",
    [
        ({"only": 4}, "at least two classes", "1: only"),
        ({"cat": 2, "dog": 60}, "cannot be split", "left: cat"),  # one of two is held out for testing
    ],
)
def test_classes_that_cannot_be_split_are_refused(
    classes, match, found, tmp_path, write_class_folders, refused
):
    write_class_folders(tmp_path, classes)
    with refused(DataError, match=match, where=tmp_path) as caught:
        load_splits(Settings(dataset=f"folder:{tmp_path}"), plain)
    assert found in caught.value.found


# How images are prepared


def test_only_training_images_are_augmented():
    splits = load_splits(Settings(images_per_class=5), plain, train_transform=lambda _: torch.rand(4))
    same = [torch.equal(part[0][0], part[0][0]) for part in splits[:3]]
    assert same == [False, True, True]


def test_images_are_prepared_as_the_weights_want_them(splits):
    for part in splits[:3]:
        image, label = part[0]
        assert (image.shape, image.dtype) == ((3, 64, 64), torch.float32)
        assert isinstance(label, int) and 0 <= label < 10
    raw = Image.fromarray(splits.test.data[7].numpy()).convert("RGB")
    assert torch.equal(splits.test[7][0], ResNet18_64px_Weights.DEFAULT.transforms()(raw))
    small = load_splits(Settings(image_size=32, images_per_class=5))
    assert [part[0][0].shape for part in small[:3]] == [(3, 32, 32)] * 3
