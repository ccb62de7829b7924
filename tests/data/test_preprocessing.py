"""`Preprocessing`, and that a batch of 8-bit pictures is prepared as torchvision prepares each of them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from small_pictures import usual
from torch.utils.data import Subset
from torchvision import datasets
from torchvision.models import ResNet50_Weights, Swin_T_Weights
from torchvision.transforms import v2

from course_utils.data import preprocessing
from course_utils.data.folders import FolderOfClasses
from course_utils.data.image_io import load_rgb
from course_utils.data.loaders import make_loader
from course_utils.data.preprocessing import (
    Preprocessing,
    as_pixels,
    image_batches,
    in_memory,
    preprocessing_of,
)
from course_utils.data.splits import load_splits
from course_utils.errors import ConfigError
from course_utils.models.weights import ResNet18_64px_Weights, backbone_weights
from course_utils.settings import Settings, shipped_data_folder

CPU = torch.device("cpu")
SETTINGS = Settings(images_per_class=8)


def cifar10(count=70, transform=None):
    """CIFAR-10's own class, holding pictures of noise."""
    dataset = object.__new__(datasets.CIFAR10)
    dataset.data = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    dataset.targets = [number % 10 for number in range(count)]
    dataset.classes = [f"kind {number}" for number in range(10)]
    dataset.transform, dataset.target_transform = transform, None
    return dataset


def clipart(transform):
    return FolderOfClasses(shipped_data_folder() / "clipart" / "test", transform)


def one_shade(transform):
    """How much one of 256 shades is after normalisation, at most."""
    return 1 / 255 / min(transform.preprocessing.std)


def all_batches(dataset, batch_size=16, **options):
    batches = list(image_batches(dataset, batch_size, CPU, **options))
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def one_by_one(dataset):
    return torch.stack([image for image, _ in dataset]), torch.tensor([label for _, label in dataset])


WEIGHTS = [ResNet18_64px_Weights.DEFAULT, ResNet50_Weights.IMAGENET1K_V2, Swin_T_Weights.DEFAULT]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_transform_equals_torchvisions_own_to_the_last_bit(weights):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 240, 3), dtype=np.uint8))
    assert torch.equal(
        Preprocessing.from_weights(weights).transform()(picture), weights.transforms()(picture)
    )


def test_from_dict_reads_what_to_dict_wrote_and_older_files():
    own = Preprocessing(72, 64, (0.1, 0.2, 0.3), (1, 2, 3), v2.InterpolationMode.BICUBIC)
    described = json.loads(json.dumps(own.to_dict()))
    assert Preprocessing.from_dict(described) == own
    assert Preprocessing.from_dict({**described, "resize_size": [72]}) == own


def transform_of(name, size):
    weights = backbone_weights(Settings(backbone=name, weights="none"))
    return Preprocessing.from_weights(weights, size).transform()


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 64), ("maxvit_t", 64), ("inception_v3", 32)])
def test_a_size_that_the_network_cannot_take_is_an_error(name, size, refused):
    before = torch.get_rng_state()
    with refused(ConfigError, match=f"(?s){name} does not accept .* {size} pixels"):
        transform_of(name, size)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(np.arange(0, 64000, 1000, dtype=np.uint16).repeat(64).reshape(64, 64)),
        Image.new("RGBA", (64, 64), (200, 0, 0, 40)),
    ],
    ids=["16 bits", "transparent"],
)
def test_picture_of_another_mode_is_read_as_load_rgb_reads_it(picture):
    transform = Preprocessing.from_weights(ResNet18_64px_Weights.DEFAULT).transform()
    assert torch.equal(transform(picture), transform(load_rgb(picture)))


@pytest.mark.parametrize("size, resize", [(64, 64), (64, 72), (224, 232), (28, 40), (32, 48), (16, 18)])
def test_pictures_in_memory_differ_from_torchvisions_by_a_shade_or_two(size, resize):
    transform = usual(size, resize)
    for dataset in (cifar10(20, transform), Subset(load_splits(SETTINGS, transform).train, range(20))):
        images, labels = all_batches(dataset)
        expected, expected_labels = one_by_one(dataset)
        assert images.shape == (20, 3, size, size) and images.dtype == torch.float32
        shades = (images - expected).abs() / one_shade(transform)
        assert shades.max() < 2.01
        assert (shades > 1.01).float().mean() < 1e-3  # two shades are rare
        assert (shades > 0.5).float().mean() < 0.1
        assert torch.equal(labels, expected_labels)


@pytest.mark.parametrize(
    "dataset", [cifar10(70, usual()), Subset(clipart(usual()), range(70))], ids=["in memory", "in folders"]
)
def test_batches_hold_every_image_once_and_in_order(dataset):
    expected, labels = one_by_one(dataset)
    for batch_size in (1, 64, 70, 100):
        sizes = [len(own) for _, own in image_batches(dataset, batch_size, CPU)]
        assert sum(sizes) == 70 and set(sizes[:-1]) <= {batch_size}
        images, found = all_batches(dataset, batch_size)
        assert torch.equal(found, labels)
        # Pictures in folders do not differ at all, those in memory by a shade or two.
        allowed = 1e-5 if isinstance(dataset, Subset) else 2.01 * one_shade(usual())
        assert (images - expected).abs().max() <= allowed


class Doubled(datasets.CIFAR10):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return 2 * image, label


def doubled():
    dataset = cifar10(6, usual())
    dataset.__class__ = Doubled
    return dataset


def with_labels_changed():
    dataset = cifar10(6, usual())
    dataset.target_transform = lambda label: 9 - label
    return dataset


PRESET = usual()
OTHERS = {
    "no transform": cifar10(6),
    "another first step": cifar10(6, v2.Compose([v2.RandomHorizontalFlip(), PRESET])),
    "one more step": cifar10(6, v2.Compose([v2.RGB(), v2.RandomHorizontalFlip(), PRESET])),
    "a step after it": cifar10(6, v2.Compose([v2.RGB(), PRESET, v2.RandomErasing()])),
    "another preset": cifar10(6, v2.Compose([v2.RGB(), v2.PILToTensor()])),
    "another way to read": doubled(),
    "other labels": with_labels_changed(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_dataset_does_besides_is_never_left_out(name):
    dataset = OTHERS[name]
    assert preprocessing_of(dataset) is None
    assert as_pixels(dataset) is None
    assert in_memory(dataset) is dataset
    if name in ("another way to read", "other labels"):  # which give tensors, and always the same
        for batches, samples in zip(all_batches(dataset), one_by_one(dataset), strict=True):
            assert torch.equal(batches, samples)


def test_a_loader_of_pixels_has_the_order_of_a_loader_of_pictures():
    dataset = Subset(Subset(cifar10(40, usual()), range(35, 1, -1)), range(5, 32))
    pictures, pixels = (
        list(make_loader(part, 8, shuffle=True, seed=3)) for part in (dataset, as_pixels(dataset))
    )
    assert len(pictures) == len(pixels) == 4
    for (images, labels), (same_images, same_labels) in zip(pictures, pixels, strict=True):
        assert torch.equal(labels, same_labels)
        assert (images - same_images).abs().max() <= one_shade(usual()) + 1e-5


def test_pictures_of_a_folder_are_read_once_and_prepared_as_before(tmp_path, write_class_folders):
    root = write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 4})
    read, dataset = [], FolderOfClasses(root, usual(32, 40))
    load = dataset.loader
    dataset.loader = lambda path: read.append(path) or load(path)
    kept = in_memory(Subset(dataset, [8, 0, 3]))
    assert set(read) == {dataset.samples[number][0] for number in (8, 0, 3)}
    read.clear()
    for _ in range(3):
        images, labels = next(iter(make_loader(kept, 3)))
    assert not read
    assert kept.classes == ["cat", "dog"]
    assert labels.tolist() == [1, 0, 0]
    torch.testing.assert_close(images, torch.stack([dataset[i][0] for i in (8, 0, 3)]), rtol=0, atol=1e-5)


def test_more_pictures_than_there_is_memory_for_are_read_each_time(
    monkeypatch, tmp_path, write_class_folders
):
    dataset = FolderOfClasses(write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 4}), usual(32))
    monkeypatch.setattr(preprocessing, "MEMORY", 9 * 3 * 32 * 32)
    assert in_memory(dataset) is not dataset
    monkeypatch.setattr(preprocessing, "MEMORY", 9 * 3 * 32 * 32 - 1)
    assert in_memory(dataset) is dataset
