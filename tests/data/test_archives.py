"""Archives of datasets, and `python -m course_utils fetch` (faults 2, 3 and 6 to 8).

CIFAR-10 is a stand-in on loopback."""

import hashlib
import pickle
import socket
import tarfile
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from serving import serve
from torchvision import datasets
from torchvision.models import ResNet50_Weights

from course_utils.__main__ import main
from course_utils.data import archives
from course_utils.data.archives import dataset_archives
from course_utils.data.splits import DOWNLOADED, load_splits
from course_utils.errors import DataError
from course_utils.settings import Settings

pytestmark = pytest.mark.usefixtures("no_network")

CIFAR10 = Settings(dataset="cifar10", images_per_class=5)


@pytest.fixture
def cifar10_server(tmp_path, monkeypatch):
    """Serve a small stand-in for CIFAR-10 on loopback; give the served archive and a way to stop."""
    served, folder, kind = tmp_path / "served", tmp_path / "cifar-10-batches-py", datasets.CIFAR10
    served.mkdir()
    folder.mkdir()
    random, sums = np.random.default_rng(0), {}

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()

    for name, _ in [*kind.train_list, *kind.test_list]:
        pixels = random.integers(0, 256, (20, 3072), dtype=np.uint8)
        write(name, {"data": pixels, "labels": [number % 10 for number in range(20)]})
    write("batches.meta", {"label_names": [f"kind {number}" for number in range(10)]})
    archive = served / kind.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(kind, name, [[file, sums[file]] for file, _ in getattr(kind, name)])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums["batches.meta"]})
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    # The classroom's own mirror is the only one, so that no test asks the real ones.
    monkeypatch.setitem(archives.MIRRORS, "CIFAR10", ())
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "downloads"))
    with ExitStack() as serving:
        monkeypatch.setenv("COURSE_MIRROR", serving.enter_context(serve(served)))
        yield archive, serving.close


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_fault_2_no_network_and_nothing_here(name, tmp_path, monkeypatch, refused):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "downloads"))
    file = dataset_archives(DOWNLOADED[name])[0]
    with refused(DataError, where=tmp_path / "downloads" / file.name) as caught:
        load_splits(Settings(dataset=name))
    assert all(url in caught.value.found for url in file.urls)
    assert str((tmp_path / "downloads" / file.name).parent) in caught.value.do
    assert 'profile="quick"' in caught.value.do


def test_fault_3_sound_data_need_no_network_and_no_right_to_write(
    cifar10_server, folder_for_all, ordinary_user, monkeypatch
):
    _, stop = cifar10_server
    monkeypatch.setenv("COURSE_DATA", str(folder_for_all))
    first = load_splits(CIFAR10)
    assert [len(part) for part in first[:3]] == [40, 10, 20]
    assert first.classes == [f"kind {number}" for number in range(10)] and first.test[3][1] == 3
    for lock in folder_for_all.glob("*.lock"):
        lock.unlink()
    stop()
    for path in [folder_for_all, *folder_for_all.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with monkeypatch.context() as patch, ordinary_user():
        patch.setattr(socket, "socket", None)
        assert load_splits(CIFAR10).train.indices == first.train.indices


@pytest.mark.parametrize(
    ("name", "damage"), [("batches.meta", "lost"), ("data_batch_3", "lost"), ("data_batch_3", "truncated")]
)
def test_fault_6_file_of_cifar10_is_unpacked_again(name, damage, cifar10_server, tmp_path):
    _, stop = cifar10_server
    load_splits(CIFAR10)
    stop()
    path = tmp_path / "downloads" / "cifar-10-batches-py" / name
    good = path.read_bytes()
    path.unlink() if damage == "lost" else path.write_bytes(good[:50])
    load_splits(CIFAR10)
    assert path.read_bytes() == good


def test_fault_7_archive_that_leaves_its_folder(cifar10_server, tmp_path, monkeypatch):
    archive, _ = cifar10_server
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"))
    with pytest.raises(DataError, match="could not be downloaded"):
        load_splits(CIFAR10)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    with pytest.raises(tarfile.OutsideDestinationError):
        load_splits(CIFAR10)
    assert not list(tmp_path.rglob("escaped"))


def test_fault_8_wrong_working_directory(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_DATA", "data")
    with refused(DataError, where=tmp_path / "data" / "cifar-10-python.tar.gz"):
        load_splits(CIFAR10)


def test_every_archive_of_torchvisions_datasets_has_two_addresses_with_https():
    for kind, count in ((datasets.CIFAR10, 1), (datasets.FashionMNIST, 4)):
        files = dataset_archives(kind)
        assert len(files) == count
        for file in files:
            assert len(file.urls) >= 2 and all(url.startswith("https://") for url in file.urls)
    assert dataset_archives(datasets.CIFAR10)[0].urls[0] == datasets.CIFAR10.url


def test_fetch_gets_images_and_weights(hub, cifar10_server, tmp_path, monkeypatch, capsys):
    archive, stop = cifar10_server
    torch.save({"weight": torch.ones(3)}, tmp_path / "new")
    name = f"resnet50-{hashlib.sha256((tmp_path / 'new').read_bytes()).hexdigest()[:8]}.pth"
    (tmp_path / "new").rename(archive.parent / name)
    monkeypatch.setattr(ResNet50_Weights.IMAGENET1K_V1.value, "url", f"https://nowhere/{name}")
    for _ in range(2):
        assert main(["fetch", "--profile", "full"]) == 0
        stop()  # the second time, all is here
    assert str(tmp_path / "hub") in capsys.readouterr().out
    assert main(["fetch"]) == 0, "what the quick profile needs ships"
