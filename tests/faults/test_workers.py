"""Fault 31, extra processes that read images: none unless asked for, and errors keep their text."""

import pytest
from small_networks import Pictures

from course_utils.data import loaders
from course_utils.data.loaders import make_loader
from course_utils.errors import DataError


def fail(*_):
    raise DataError("A picture.", where="/pets/cat/1.png", expected="a", found="b", do="c")


def test_fault_31_error_in_a_process_keeps_the_path():
    with pytest.raises(RuntimeError, match=r"/pets/cat/1\.png"):
        list(make_loader(Pictures(8, change=fail), 4, num_workers=1))


def test_too_little_shared_memory_is_no_fault_of_the_images(monkeypatch):
    message = "unable to allocate shared memory(shm) for file </torch_1_0>: No space left on device (28)"

    def collate_without_room(samples):
        raise RuntimeError(message)

    monkeypatch.setattr(loaders, "default_collate", collate_without_room)
    with pytest.raises(RuntimeError, match="shared memory"):
        list(make_loader(Pictures(8), 4))
