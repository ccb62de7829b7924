"""Where the images come from, how they are split and in which order they reach the network."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision import datasets, models

from course_utils.data import splits as data
from course_utils.data.backbone_inputs import backbone_transform
from course_utils.data.loaders import classes_of, labels_of, make_loader
from course_utils.data.splits import check_class_sizes, load_splits
from course_utils.data.weights import ResNet18_64px_Weights
from course_utils.errors import DataError
from course_utils.settings import Settings

pytestmark = pytest.mark.usefixtures("no_network")

SAMPLE = data.shipped_data_folder() / "fashion_mnist_sample"
SOURCE = Path("/usr/share/datasets/fashion-mnist")
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


def test_sample_is_split_into_2400_600_and_2000_images(splits):
    assert [len(splits.train), len(splits.val), len(splits.test)] == [2400, 600, 2000]
    assert splits.classes == CLOTHES


def test_every_class_has_the_same_share_of_each_split(splits):
    for part, count in ((splits.train, 240), (splits.val, 60), (splits.test, 200)):
        assert np.bincount(labels_of(part)).tolist() == [count] * 10


def test_splits_share_no_picture(splits):
    """Leakage, by the hash of the pixels and by the index."""
    train, val, test = (set(pixel_hashes(part)) for part in splits[:3])
    assert not train & val and not train & test and not val & test
    assert not set(splits.train.indices) & set(splits.val.indices)


def test_shipped_files_match_their_sha256sums():
    lines = (SAMPLE / "SHA256SUMS").read_text().splitlines()
    listed = {name: expected for expected, name in map(str.split, lines)}
    files = {str(path.relative_to(SAMPLE)): path for path in (SAMPLE / "FashionMNIST/raw").iterdir()}
    assert listed == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


@pytest.mark.skipif(not SOURCE.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_make_sample_makes_the_files_that_ship(tmp_path):
    command = [sys.executable, SAMPLE / "make_sample.py", "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == (SAMPLE / "SHA256SUMS").read_text().split()


def test_same_seed_same_split_and_other_seed_other_split(splits):
    again, other = load_splits(Settings(seed=0), plain), load_splits(Settings(seed=1), plain)
    assert (again.train.indices, again.val.indices) == (splits.train.indices, splits.val.indices)
    assert other.val.indices != splits.val.indices
    assert pixel_hashes(other.test) == pixel_hashes(splits.test)


def test_images_per_class_are_shared_by_training_and_validation():
    small = load_splits(Settings(images_per_class=10), plain)
    assert np.bincount(labels_of(small.train)).tolist() == [8] * 10
    assert np.bincount(labels_of(small.val)).tolist() == [2] * 10
    assert len(small.test) == 2000
    other = load_splits(Settings(images_per_class=10, seed=1), plain)
    drawn = [{*one.train.indices, *one.val.indices} for one in (small, other)]
    assert drawn[0] != drawn[1], "another seed draws other images"


def test_val_fraction_is_the_share_of_validation():
    half = load_splits(Settings(images_per_class=10, val_fraction=0.5), plain)
    assert (len(half.train), len(half.val)) == (50, 50)


def test_too_few_images_for_the_fraction_is_a_data_error(assert_says_four_things):
    with pytest.raises(DataError) as caught:
        load_splits(Settings(images_per_class=2, val_fraction=0.9), plain)
    assert_says_four_things(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


def test_validation_gets_an_image_of_every_class_however_few_there_are():
    splits = load_splits(Settings(images_per_class=2), plain)
    assert sorted(labels_of(splits.train)) == sorted(labels_of(splits.val)) == list(range(10))


def test_only_training_images_are_augmented():
    splits = load_splits(Settings(images_per_class=5), plain, train_transform=lambda _: torch.rand(4))
    assert not torch.equal(splits.train[0][0], splits.train[0][0])
    assert torch.equal(splits.val[0][0], splits.val[0][0])
    assert torch.equal(splits.test[0][0], splits.test[0][0])


def test_splits_do_not_share_a_dataset_object(splits):
    assert len({id(splits.train.dataset), id(splits.val.dataset), id(splits.test)}) == 3


def test_images_are_float32_of_three_channels_and_64_pixels(splits):
    for part in splits[:3]:
        image, label = part[0]
        assert (image.shape, image.dtype) == ((3, 64, 64), torch.float32)
        assert isinstance(label, int) and 0 <= label < 10


def test_images_are_prepared_as_the_weights_want_them(splits):
    raw = Image.fromarray(splits.test.data[7].numpy()).convert("RGB")
    assert torch.equal(splits.test[7][0], ResNet18_64px_Weights.DEFAULT.transforms()(raw))


@pytest.mark.parametrize(
    "weights, size",
    [
        (ResNet18_64px_Weights.DEFAULT, 32),
        (models.ResNet50_Weights.IMAGENET1K_V2, 32),
        (models.ViT_B_16_Weights.IMAGENET1K_V1, 224),  # a vision transformer takes no other size
    ],
)
def test_normalisation_is_that_of_the_weights(weights, size):
    mean, std = torch.tensor(weights.transforms().mean), torch.tensor(weights.transforms().std)
    transform = backbone_transform(weights, image_size=size)
    black, white = (transform(Image.new("L", (40, 40), value)) for value in (0, 255))
    torch.testing.assert_close(black, (-mean / std)[:, None, None].expand(3, size, size))
    torch.testing.assert_close(white, ((1 - mean) / std)[:, None, None].expand(3, size, size))


def test_image_size_of_the_settings_wins():
    splits = load_splits(Settings(image_size=32, images_per_class=5))
    assert [part[0][0].shape for part in splits[:3]] == [(3, 32, 32)] * 3


@pytest.mark.parametrize("name", ["train-images", "train-labels", "t10k-images", "t10k-labels"])
@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:1000], lambda _: b"<html>Please log in</html>"],
    ids=["truncated", "login page"],
)
def test_damaged_sample_is_a_data_error(name, damage, tmp_path, monkeypatch, assert_says_four_things):
    shutil.copytree(SAMPLE, tmp_path / SAMPLE.name)
    (path,) = (tmp_path / SAMPLE.name / "FashionMNIST/raw").glob(f"{name}*")
    path.write_bytes(damage(path.read_bytes()))
    monkeypatch.setattr(data, "shipped_data_folder", lambda: tmp_path)
    with pytest.raises(DataError, match=str(tmp_path)) as caught:
        load_splits(Settings(), plain)
    assert_says_four_things(caught.value)


def order(loader):
    return [number.item() for (batch,) in loader for number in batch]


def test_order_of_a_loader_follows_from_its_seed_alone():
    numbers = TensorDataset(torch.arange(50))
    torch.manual_seed(1)
    first = make_loader(numbers, 8, shuffle=True, seed=3)
    torch.manual_seed(2)
    again = make_loader(numbers, 8, shuffle=True, seed=3)
    epochs = [order(first), order(first)]
    assert epochs == [order(again), order(again)]
    assert epochs[0] != epochs[1], "every epoch has an order of its own"
    assert epochs[0] != order(make_loader(numbers, 8, shuffle=True, seed=4))
    assert sorted(epochs[0]) == list(range(50))


def test_order_without_shuffle_is_that_of_the_dataset():
    assert order(make_loader(TensorDataset(torch.arange(9)), 4)) == list(range(9))


def test_a_single_class_is_a_data_error(tmp_path, write_class_folders, assert_says_four_things):
    write_class_folders(tmp_path, {"only": 4})
    with pytest.raises(DataError, match="nothing to tell apart") as caught:
        load_splits(Settings(dataset=f"folder:{tmp_path}"), plain)
    assert_says_four_things(caught.value)
    assert str(tmp_path) in str(caught.value.where) and "only" in caught.value.found


def test_classes_that_are_too_small_are_named(tmp_path, write_class_folders, assert_says_four_things):
    write_class_folders(tmp_path, {"ants": 12, "bees": 6, "moths": 12})
    splits = load_splits(Settings(dataset=f"folder:{tmp_path}"), plain)
    check_class_sizes(splits.train, at_least=2)
    with pytest.raises(DataError, match="too few images") as caught:
        check_class_sizes(splits.train, at_least=5)
    assert_says_four_things(caught.value)
    assert "bees: " in caught.value.found and "ants" not in caught.value.found


def test_empty_dataset_is_a_data_error(assert_says_four_things):
    with pytest.raises(DataError) as caught:
        make_loader(TensorDataset(torch.empty(0)), 4)
    assert_says_four_things(caught.value)


def test_labels_are_known_without_reading_images(splits):
    nested = Subset(splits.train, [5, 3, 1])
    assert labels_of(nested).tolist() == [nested[index][1] for index in range(3)]
    tensors = TensorDataset(torch.zeros(2, 4), torch.tensor([1, 0]))
    assert labels_of(tensors).tolist() == [1, 0]
    assert classes_of(nested) == splits.classes


@pytest.mark.parametrize("ask", [labels_of, classes_of])
def test_dataset_without_labels_or_classes_is_a_data_error(ask, assert_says_four_things):
    with pytest.raises(DataError) as caught:
        ask(Dataset())
    assert_says_four_things(caught.value)


def test_cifar10_is_downloaded_once_and_then_works_offline(cifar10_server):
    _, stop = cifar10_server
    settings = Settings(dataset="cifar10", images_per_class=5)
    splits = load_splits(settings, plain)
    assert [len(part) for part in splits[:3]] == [40, 10, 20]
    assert splits.classes == [f"kind {number}" for number in range(10)]
    assert splits.test[3][0].shape == (32, 32, 3) and splits.test[3][1] == 3
    stop()
    assert load_splits(settings, plain).train.indices == splits.train.indices


def test_damaged_download_is_a_data_error_and_the_next_try_repairs_it(
    cifar10_server, tmp_path, assert_says_four_things
):
    archive, _ = cifar10_server
    good = archive.read_bytes()
    archive.write_bytes(b"<html>Please log in</html>")
    with pytest.raises(DataError) as caught:
        load_splits(Settings(dataset="cifar10"), plain)
    assert_says_four_things(caught.value)
    assert datasets.CIFAR10.url in str(caught.value)
    archive.write_bytes(good)
    assert len(load_splits(Settings(dataset="cifar10"), plain).train) == 80


@pytest.mark.parametrize(
    "name, address", [("cifar10", "https://www.cs.toronto.edu"), ("fashion_mnist", "http")]
)
def test_download_without_network_names_address_and_folder(
    name, address, tmp_path, monkeypatch, assert_says_four_things
):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "downloads"))
    with pytest.raises(DataError) as caught:
        load_splits(Settings(dataset=name), plain)
    assert_says_four_things(caught.value)
    assert address in caught.value.expected
    assert caught.value.where.startswith(str(tmp_path / "downloads"))
    assert 'profile="quick"' in caught.value.do
    assert isinstance(caught.value.__cause__, (OSError, RuntimeError))


@pytest.mark.parametrize("small, seed", [(3, 0), (3, 1), (4, 0), (7, 2)])
def test_each_part_has_an_image_of_a_small_class(small, seed, tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"cat": small, "dog": 60})
    splits = load_splits(Settings(dataset=f"folder:{root}", seed=seed))
    parts = [labels_of(part).tolist() for part in splits[:3]]
    assert all(set(labels) == {0, 1} for labels in parts)
    assert sum(map(len, parts)) == small + 60


def test_class_that_has_too_few_images_for_all_parts_is_refused(
    tmp_path, write_class_folders, assert_says_four_things
):
    root = write_class_folders(tmp_path / "pets", {"cat": 2, "dog": 60})
    with pytest.raises(DataError, match="too few") as caught:
        load_splits(Settings(dataset=f"folder:{root}"))
    assert_says_four_things(caught.value)
    assert "3 images" in caught.value.expected and caught.value.found == "cat: 2"
    assert caught.value.where == str(root)


def test_two_images_are_enough_where_a_folder_has_test_images(tmp_path, write_class_folders):
    for part in ("train", "test"):
        write_class_folders(tmp_path / part, {"cat": 2, "dog": 60})
    splits = load_splits(Settings(dataset=f"folder:{tmp_path}"))
    assert [labels_of(part).tolist().count(0) for part in splits[:3]] == [1, 1, 2]
