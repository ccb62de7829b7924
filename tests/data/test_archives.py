"""Archives of datasets, and `python -m course_utils fetch` (faults 2, 3 and 6 to 8).

CIFAR-10 is a stand-in on loopback."""

import hashlib
import socket
import tarfile

import pytest
from torchvision import datasets
from torchvision.models import ResNet50_Weights

from course_utils.__main__ import main
from course_utils.data.archives import dataset_files
from course_utils.data.splits import DOWNLOADED, load_splits
from course_utils.errors import DataError
from course_utils.settings import Settings

pytestmark = pytest.mark.usefixtures("no_network")

CIFAR10 = Settings(dataset="cifar10", images_per_class=5)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# 2. and 3. No network


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_fault_2_no_network_and_nothing_here(name, tmp_path, monkeypatch, refused):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "downloads"))
    file = dataset_files(DOWNLOADED[name])[0]
    with refused(DataError, where=tmp_path / "downloads" / file.name) as caught:
        load_splits(Settings(dataset=name))
    assert all(url in caught.value.expected for url in file.urls)
    assert str((tmp_path / "downloads" / file.name).parent) in caught.value.do
    assert 'profile="quick"' in caught.value.do
    assert isinstance(caught.value.__cause__, OSError)


def test_fault_3_sound_data_need_no_network_and_no_right_to_write(
    cifar10_server, folder_for_all, ordinary_user, monkeypatch
):
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
        assert load_splits(CIFAR10).train.indices == first.train.indices


# 6. to 8. What is unpacked


@pytest.mark.parametrize(
    ("name", "damage"), [("batches.meta", "lost"), ("data_batch_3", "lost"), ("data_batch_3", "truncated")]
)
def test_fault_6_file_of_cifar10_is_unpacked_again(name, damage, cifar10_server, tmp_path):
    _, stop = cifar10_server
    root = tmp_path / "downloads"
    load_splits(CIFAR10)
    stop()
    path = root / "cifar-10-batches-py" / name
    good = path.read_bytes()
    path.unlink() if damage == "lost" else path.write_bytes(good[:50])
    load_splits(CIFAR10)
    assert path.read_bytes() == good
    if damage == "truncated":
        assert path.with_name(f"{name}.bad").read_bytes() == good[:50]
    assert {path.name for path in root.iterdir() if path.is_dir()} == {"cifar-10-batches-py"}


@pytest.mark.parametrize("hash_is_right", [False, True])
def test_fault_7_archive_that_leaves_its_folder(
    hash_is_right, cifar10_server, tmp_path, monkeypatch, refused
):
    archive, _ = cifar10_server
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"))
    if hash_is_right:
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    match = "Outside" if hash_is_right else "could not be downloaded"
    with refused(DataError, match, where=tmp_path / "downloads" / archive.name):
        load_splits(CIFAR10)
    assert not list(tmp_path.glob("downloads/**/escaped")) and not (tmp_path / "escaped").exists()
    assert files_in(tmp_path / "downloads") == ([archive.name] if hash_is_right else [])


def test_fault_8_wrong_working_directory(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_DATA", "data")
    with refused(DataError, where=tmp_path / "data" / "cifar-10-python.tar.gz"):
        load_splits(CIFAR10)


def test_every_file_of_torchvisions_datasets_has_a_sha256_and_an_address_with_https():
    for kind, count in ((datasets.CIFAR10, 1), (datasets.FashionMNIST, 4)):
        files = dataset_files(kind)
        assert len(files) == count
        for file in files:
            assert len(file.sha256) == 64 and file.size and len(file.urls) >= 2
            assert all(url.startswith("https://") for url in file.urls)
            assert all(len(content.sha256 or 2 * content.md5) == 64 for content in file.contents)
    assert dataset_files(datasets.CIFAR10)[0].urls[0] == datasets.CIFAR10.url


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
    assert main(["fetch"]) == 0, "what the quick profile needs ships"
    assert capsys.readouterr().out.count("sound") == 2
