"""Fault 31, extra processes that read images: first what PyTorch's loader says, then what the course says."""

import os
import pickle

import pytest
import torch
from small_networks import ChangedPictures as Pictures
from torch.utils.data import DataLoader

from course_utils.data import load_splits, make_loader
from course_utils.errors import CourseError, DataError
from course_utils.settings import Settings


@pytest.mark.filterwarnings("ignore:Got pickle error")
def test_fault_31_what_is_defined_in_a_notebook_cannot_be_handed_to_a_process(assert_says_four_things):
    dataset = Pictures(8, change=lambda read, image, label: (image, label))  # a lambda does not pickle
    with pytest.raises((AttributeError, pickle.PicklingError)):
        next(iter(DataLoader(dataset, 4, num_workers=1, multiprocessing_context="spawn")))
    loader = make_loader(dataset, 4, num_workers=1)
    loader.multiprocessing_context = "spawn"  # the only way on Windows and macOS
    with pytest.raises(DataError, match="num_workers=0") as caught:
        next(iter(loader))
    assert_says_four_things(caught.value)
    assert caught.value.__cause__ is not None


def test_fault_31_what_the_package_defines_can_be_handed_over(tmp_path, write_class_folders):
    assert Settings().num_workers == 0
    write_class_folders(tmp_path / "pets", {"cat": 6, "dog": 6})
    for dataset in ("fashion_mnist_sample", f"folder:{tmp_path / 'pets'}"):
        train = load_splits(Settings(dataset=dataset)).train
        again = pickle.loads(pickle.dumps(train))
        assert torch.equal(again[0][0], train[0][0])
        pickle.dumps(make_loader(train, 4).collate_fn)


def test_fault_31_error_in_a_process_keeps_the_path_and_suggests_none(assert_says_four_things):
    def fail(read, image, label):
        raise DataError("A picture.", where="/pets/cat/1.png", expected="a", found="b", do="c")

    with pytest.raises(RuntimeError) as plain:
        list(DataLoader(Pictures(8, change=fail), 4, num_workers=1))
    assert not isinstance(plain.value, CourseError)
    with pytest.raises(DataError, match="num_workers=0") as caught:
        list(make_loader(Pictures(8, change=fail), 4, num_workers=1))
    assert_says_four_things(caught.value)
    assert "/pets/cat/1.png" in caught.value.found


def test_fault_31_process_that_dies(assert_says_four_things):
    dataset = Pictures(8, change=lambda *_: os._exit(1))
    with pytest.raises(DataError, match="num_workers=0") as caught:
        list(make_loader(dataset, 4, num_workers=1))
    assert_says_four_things(caught.value)
