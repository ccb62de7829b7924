"""Fault 31, extra processes that read images: what fails in one is reported with the way out."""

import os
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from small_networks import Pictures

from course_utils.data import loaders
from course_utils.data.loaders import make_loader
from course_utils.data.splits import load_splits
from course_utils.errors import ConfigError, DataError
from course_utils.settings import Settings


@pytest.mark.filterwarnings("ignore:Got pickle error")
def test_fault_31_what_is_defined_in_a_notebook_cannot_be_handed_to_a_process(refused):
    dataset = Pictures(8, change=lambda read, image: image)  # a lambda does not pickle
    loader = make_loader(dataset, 4, num_workers=1)
    loader.multiprocessing_context = "spawn"  # the only way on Windows and macOS
    with refused(DataError, match="num_workers=0") as caught:
        next(iter(loader))
    assert caught.value.__cause__ is not None


def test_fault_31_what_the_package_defines_can_be_handed_over(tmp_path, write_class_folders):
    assert Settings().num_workers == 0
    write_class_folders(tmp_path / "pets", {"cat": 6, "dog": 6})
    for dataset in ("fashion_mnist_sample", f"folder:{tmp_path / 'pets'}"):
        train = load_splits(Settings(dataset=dataset)).train
        again = pickle.loads(pickle.dumps(train))
        assert torch.equal(again[0][0], train[0][0])
        pickle.dumps(make_loader(train, 4).collate_fn)


def fail(*_):
    raise DataError("A picture.", where="/pets/cat/1.png", expected="a", found="b", do="c")


@pytest.mark.parametrize(
    "change, found", [(fail, "/pets/cat/1.png"), (lambda *_: os._exit(1), "exited")], ids=["error", "dies"]
)
def test_fault_31_error_in_a_process_keeps_the_path_and_suggests_none(change, found, refused):
    with refused(DataError, match="num_workers=0") as caught:
        list(make_loader(Pictures(8, change=change), 4, num_workers=1))
    assert found in caught.value.found


NO_ROOM = {
    "full": "unable to allocate shared memory(shm) for file </torch_16740_1_0>: No space left on device (28)",
    "killed": "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
    "workers are out of shared memory. Please try to raise your shared memory limit.",
}


@pytest.mark.parametrize("message", NO_ROOM.values(), ids=NO_ROOM)
def test_too_little_shared_memory_is_no_fault_of_the_images(message, monkeypatch, refused):
    def collate_without_room(samples):
        raise RuntimeError(message)

    monkeypatch.setattr(loaders, "default_collate", collate_without_room)
    loader = make_loader(Pictures(8), 4, num_workers=1)
    loader.multiprocessing_context = "fork"
    with refused(ConfigError, match="shared memory") as caught:
        list(loader)
    assert "num_workers=0" in caught.value.do and "--shm-size" in caught.value.do
    assert caught.value.__cause__ is not None


TWO_WORKERS = """
from small_networks import Pictures
from course_utils.data import make_loader
list(make_loader(Pictures(64), 32, num_workers=2))
"""


@pytest.mark.kernels
def test_64_kilobytes_of_shared_memory(tmp_path):
    """On a real one, where this machine lets a process have its own."""
    own = [shutil.which("unshare") or "unshare", "--map-root-user", "--mount", "sh", "-c"]
    small = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    try:
        subprocess.run([*own, small], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system of its own: {error}")
    command = f'{small} && exec "$@"'
    run = subprocess.run(
        [*own, command, "sh", sys.executable, "-c", TWO_WORKERS],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    last = run.stderr[run.stderr.index("ConfigError") :]
    assert "too little shared memory" in last and "65,536 bytes in all" in last
