"""Archives of datasets, and `python -m course_utils fetch` (faults 2, 3 and 6 to 8).

CIFAR-10 is a stand-in on loopback. Each fault is first shown the plain way, then survived."""

import gzip
import hashlib
import os
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets
from torchvision.models import ResNet50_Weights

from course_utils.__main__ import main
from course_utils.data.archives import KNOWN, MIRRORS, dataset_files, fetch_dataset
from course_utils.data.splits import DOWNLOADED, load_splits
from course_utils.errors import DataError
from course_utils.notebook.machine import describe_machine
from course_utils.settings import DATASETS, Settings

pytestmark = pytest.mark.usefixtures("no_network")

CIFAR10 = Settings(dataset="cifar10", images_per_class=5)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# 2. and 3. No network


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_fault_2_no_network_and_nothing_here(name, tmp_path, monkeypatch, refused):
    kind = DOWNLOADED[name]
    with pytest.raises((OSError, RuntimeError)) as plain:
        kind(tmp_path, download=True)
    assert str(tmp_path) not in str(plain.value), "the fault is not there"

    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "downloads"))
    with refused(DataError) as caught:
        load_splits(Settings(dataset=name))
    file = dataset_files(kind)[0]
    assert caught.value.where == str(tmp_path / "downloads" / file.name)
    assert all(url in caught.value.expected for url in file.urls)
    assert str((tmp_path / "downloads" / file.name).parent) in caught.value.do
    assert 'profile="quick"' in caught.value.do
    assert isinstance(caught.value.__cause__, OSError)


def test_fault_3_sound_data_need_no_network_and_no_right_to_write(
    cifar10_server, folder_for_all, ordinary_user, monkeypatch
):
    """The plain way works here, too: this is no fault, only something to keep."""
    _, stop = cifar10_server
    monkeypatch.setenv("COURSE_DATA", str(folder_for_all))
    monkeypatch.setenv("COURSE_MIRROR", datasets.CIFAR10.url.rsplit("/", 1)[0])
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
        assert not os.access(folder_for_all, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
        datasets.CIFAR10(folder_for_all)
        assert load_splits(CIFAR10).train.indices == first.train.indices


# 6. to 8. What is unpacked


@pytest.mark.parametrize("damage", ["lost", "truncated"])
@pytest.mark.parametrize("name", ["batches.meta", "data_batch_3"])
def test_fault_6_file_of_cifar10_is_unpacked_again(name, damage, cifar10_server, tmp_path):
    _, stop = cifar10_server
    root = tmp_path / "downloads"
    load_splits(CIFAR10)
    stop()
    path = root / "cifar-10-batches-py" / name
    good = path.read_bytes()
    path.unlink() if damage == "lost" else path.write_bytes(good[:50])
    if name == "batches.meta":
        with pytest.raises(RuntimeError, match="You can use download=True"):
            datasets.CIFAR10(root, download=True)
    load_splits(CIFAR10)
    assert path.read_bytes() == good
    if damage == "truncated":
        assert path.with_name(f"{name}.bad").read_bytes() == good[:50]
    assert {path.name for path in root.iterdir() if path.is_dir()} == {"cifar-10-batches-py"}


@pytest.mark.parametrize(
    "hash_is_right", [False, True], ids=["other hash", "as if the hash were the attacker's"]
)
def test_fault_7_archive_that_leaves_its_folder(
    hash_is_right, cifar10_server, tmp_path, monkeypatch, refused
):
    archive, _ = cifar10_server
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"))
    (tmp_path / "plain" / "root").mkdir(parents=True)
    with tarfile.open(archive) as tar:  # as torchvision did before 0.29, and Python before 3.14
        tar.extractall(tmp_path / "plain" / "root", filter="fully_trusted")
    assert (tmp_path / "plain" / "escaped").exists(), "the fault is not there"
    if hash_is_right:
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    match = "Outside" if hash_is_right else "could not be downloaded"
    with refused(DataError, match, where=tmp_path / "downloads" / archive.name):
        load_splits(CIFAR10)
    assert not list(tmp_path.glob("downloads/**/escaped")) and not (tmp_path / "escaped").exists()
    assert files_in(tmp_path / "downloads") == ([archive.name] if hash_is_right else [])


def test_fault_8_wrong_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="not found or corrupted") as plain:
        datasets.CIFAR10("data")
    assert str(tmp_path) not in str(plain.value), "the fault is not there"
    monkeypatch.setenv("COURSE_DATA", "data")
    with pytest.raises(DataError) as caught:
        load_splits(CIFAR10)
    assert caught.value.where == str(tmp_path / "data" / "cifar-10-python.tar.gz")


def test_fashion_mnist_comes_the_same_way(tmp_path, monkeypatch):
    served, root, resources = tmp_path / "served" / "FashionMNIST" / "raw", tmp_path / "downloads", []
    served.mkdir(parents=True)
    labels = np.arange(30, dtype=np.uint8) % 10
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", np.zeros((30, 28, 28), np.uint8)), ("labels-idx1", labels)):
            name = f"{part}-{kind}-ubyte.gz"
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()  # as MNIST's files
            (served / name).write_bytes(gzip.compress(header + array.tobytes()))
            resources.append((name, hashlib.md5((served / name).read_bytes()).hexdigest()))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "served"))
    monkeypatch.setenv("COURSE_DATA", str(root))
    splits = load_splits(Settings(dataset="fashion_mnist"))
    assert len(splits.test) == 30 and len(splits.train) + len(splits.val) == 30
    monkeypatch.delenv("COURSE_MIRROR")
    for last in ("sound", "unpacked"):
        rows = fetch_dataset(datasets.FashionMNIST, root)
        assert [row.state for row in rows] == ["sound"] * 3 + [last]
        (root / "FashionMNIST/raw/t10k-labels-idx1-ubyte").unlink()


def test_every_file_of_torchvisions_datasets_has_a_sha256_and_an_address_with_https():
    for kind, count in ((datasets.CIFAR10, 1), (datasets.FashionMNIST, 4)):
        files = dataset_files(kind)
        assert len(files) == count
        for file in files:
            assert len(file.sha256) == 64 and file.size and len(file.urls) >= 2
            assert all(url.startswith("https://") for url in file.urls)
            assert all(len(content.sha256 or 2 * content.md5) == 64 for content in file.contents)
    assert dataset_files(datasets.CIFAR10)[0].urls[0] == datasets.CIFAR10.url


def test_machine_says_whether_a_dataset_is_here_also_a_new_one(cifar10_server, tmp_path, monkeypatch):
    def images(name):
        return describe_machine(Settings(dataset=name)).loc["images"].tolist()

    not_yet = "not yet: it is downloaded when a lesson first needs it"
    assert images("cifar10") == ["cifar10", not_yet, True]
    load_splits(CIFAR10)
    assert images("cifar10") == ["cifar10", "downloaded", True]
    (tmp_path / "downloads" / "cifar-10-batches-py" / "batches.meta").unlink()
    assert images("cifar10") == ["cifar10", not_yet, True]
    monkeypatch.setattr("course_utils.settings.DATASETS", (*DATASETS, "cifar100"))
    monkeypatch.setitem(DOWNLOADED, "cifar100", datasets.CIFAR100)
    monkeypatch.setitem(MIRRORS, "CIFAR100", ())
    assert images("cifar100") == ["cifar100", not_yet, True]


SOURCE = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not SOURCE.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_sums_of_what_is_in_fashion_mnist_are_those_of_its_files():
    """Debian packs the same files anew: what is in them has the same sums."""
    for name, md5 in datasets.FashionMNIST.resources:
        unpacked = gzip.decompress((SOURCE / name).read_bytes())
        assert hashlib.sha256(unpacked).hexdigest() == KNOWN[md5][2]


def test_fetch_gets_everything_and_then_says_that_it_is_there(
    hub, cifar10_server, tmp_path, monkeypatch, capsys
):
    archive, stop = cifar10_server
    content = b"as good as weights"
    name = f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (archive.parent / name).write_bytes(content)
    weights = ResNet50_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(weights, "url", f"https://download.pytorch.org/models/{name}")
    for state, other in (("fetched", "sound"), ("sound", "fetched")):
        assert main(["fetch", "--profile", "full"]) == 0
        printed = capsys.readouterr().out
        assert printed.count(state) == 2 and other not in printed and "bytes" in printed
        assert str(tmp_path / "downloads" / "cifar-10-batches-py") in printed
        assert str(tmp_path / "hub") in printed
        if state == "fetched":
            stop()


def test_fetch_tells_what_it_could_not_get_and_what_is_there(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "downloads"))
    assert main(["fetch", "--profile", "full", "-p", "dataset", "clipart"]) == 2
    printed = capsys.readouterr()
    assert "clipart" in printed.out and "sound" in printed.out
    assert printed.err.startswith("WeightsError: ") and "do next:" in printed.err
    assert "DataError" not in printed.err


def test_fetch_in_the_quick_profile_has_everything_and_refuses_a_typo(capsys):
    assert main(["fetch"]) == 0
    assert capsys.readouterr().out.count("sound") == 2
    assert main(["fetch", "-p", "datset", "cifar10"]) == 2
    assert "Did you mean 'dataset'" in capsys.readouterr().err
