"""Loaders: an order that can be repeated, and batches prepared as torchvision prepares each picture."""

import numpy as np
import pytest
import torch
from small_pictures import usual
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision import datasets
from torchvision.transforms import v2

from course_utils.data import loaders
from course_utils.data.folders import FolderOfClasses
from course_utils.data.loaders import (
    check_labels,
    classes_of,
    image_batches,
    in_memory,
    labels_of,
    make_loader,
    preprocessing_of,
    progress_bar,
)
from course_utils.data.splits import load_splits
from course_utils.errors import DataError
from course_utils.models.freezing import freeze
from course_utils.settings import Settings, shipped_data_folder
from course_utils.training.loop import fit

TO_TENSOR = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])


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
    assert sorted(epochs[0]) == order(make_loader(numbers, 8)) == list(range(50))


class Nothing(Dataset):
    classes, targets = ("cat", "dog"), ()

    def __len__(self):
        return 0


def labelled(*labels):
    dataset = Nothing()  # it has no images to read
    dataset.targets = list(labels)
    return dataset


def test_labels_are_known_without_reading_images():
    nested = Subset(Subset(labelled(0, 1, 1, 0, 1), [4, 3, 2]), [1, 0])
    assert labels_of(nested).tolist() == [0, 1] and classes_of(nested) == ["cat", "dog"]
    assert labels_of(TensorDataset(torch.zeros(2, 4), torch.tensor([1, 0]))).tolist() == [1, 0]


@pytest.mark.parametrize("labels", [[0.0, 1.0], ["cat", "dog"], [[0], [1]]], ids=str)
def test_labels_that_are_not_whole_numbers_are_refused(labels, refused):
    with refused(DataError, "not whole numbers"):
        labels_of(labelled(*labels))


def test_check_labels_names_the_first_sample_that_has_no_class(refused):
    check_labels(labelled(0, 1), ["cat", "dog"])
    with refused(DataError, where="sample 1 (2 of 4 samples are wrong)"):
        check_labels(labelled(0, 2, 1, -1), ["cat", "dog"])


# 20. Images that cannot become a batch


def fit_head(dataset):
    model = nn.Sequential()
    model.fc = nn.Linear(4, 2)
    freeze(model)
    fit(model, dataset, dataset, Settings(device="cpu"))


def test_fault_20_images_of_mixed_size(pets, write_image, refused):
    write_image(pets / "dog" / "wide.png", seed=50, size=24)
    with refused(DataError, match="one batch") as caught:
        list(make_loader(FolderOfClasses(pets, TO_TENSOR), 25))
    assert "[3, 16, 16], [3, 24, 24]" in caught.value.found and "v2.Resize" in caught.value.do


@pytest.mark.parametrize(
    "use", [lambda dataset: list(make_loader(dataset, 17)), fit_head], ids=["loader", "fit"]
)
def test_fault_20_pictures_that_are_no_tensors_and_no_image_at_all(use, pets, refused):
    with refused(DataError, match="tensors"):
        use(FolderOfClasses(pets))
    with refused(DataError, match="no images"):
        use(Nothing())


@pytest.mark.parametrize("rank, shown", [("0", True), ("1", False)])
def test_only_the_main_process_shows_a_bar(rank, shown, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    assert list(progress_bar(range(3), desc="pictures")) == [0, 1, 2]
    assert ("pictures" in capsys.readouterr().err) == shown


def test_progress_bar_stays_unless_it_is_inside_another():
    options = {"total": 1, "leave": None}  # which a notebook's bar would take for False
    with progress_bar(desc="runs", **options) as outer, progress_bar(desc="epochs", **options) as inner:
        assert (outer.leave, inner.leave) == (True, False)


def fail(_):
    raise DataError("A picture.", where="/pets/cat/1.png", expected="a", found="b", do="c")


def test_fault_31_error_in_a_process_keeps_the_path(pets):
    with pytest.raises(RuntimeError, match=r"/pets/cat/1\.png"):
        list(make_loader(FolderOfClasses(pets, fail), 4, num_workers=1))


# Whole batches of 8-bit pictures

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


@pytest.mark.parametrize("size, resize", [(64, 64), (224, 232), (28, 40)])
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
    for batch_size in (1, 64, 100):
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
    "a step after it": cifar10(6, v2.Compose([v2.RGB(), PRESET, v2.RandomErasing()])),
    "another way to read": doubled(),
    "other labels": with_labels_changed(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_dataset_does_besides_is_never_left_out(name):
    dataset = OTHERS[name]
    assert preprocessing_of(dataset) is None
    assert in_memory(dataset) is dataset
    if name in ("another way to read", "other labels"):  # which give tensors, and always the same
        for batches, samples in zip(all_batches(dataset), one_by_one(dataset), strict=True):
            assert torch.equal(batches, samples)


def test_a_loader_of_pixels_has_the_order_of_a_loader_of_pictures():
    dataset = Subset(Subset(cifar10(40, usual()), range(35, 1, -1)), range(5, 32))
    pictures, pixels = (
        list(make_loader(part, 8, shuffle=True, seed=3)) for part in (dataset, in_memory(dataset))
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
    monkeypatch.setattr(loaders, "MEMORY", 9 * 3 * 32 * 32)
    assert in_memory(dataset) is not dataset
    monkeypatch.setattr(loaders, "MEMORY", 9 * 3 * 32 * 32 - 1)
    assert in_memory(dataset) is dataset
