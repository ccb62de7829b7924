"""Pictures in tar files give the features that the folder gives, one tar file at a time."""

import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import get_model

from course_utils.data.folders import FolderOfClasses
from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import DataError
from course_utils.scale import streaming
from course_utils.scale.streaming import stream_features, write_tars
from course_utils.training.features import extract_features

PREPROCESSING = Preprocessing(resize_size=32, crop_size=32)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return get_model("resnet18", num_classes=2)


@pytest.fixture
def pets(tmp_path, write_class_folders):
    folder = write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 4})
    return FolderOfClasses(folder, PREPROCESSING.transform())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "features"


@pytest.fixture
def tars(tmp_path, pets):
    return write_tars(pets, tmp_path / "tars", images_per_tar=4)


def test_every_picture_is_in_one_tar_file_as_it_was(pets, tars):
    assert [path.name for path in tars] == [f"pictures-00000{number}.tar" for number in range(3)]
    contents = []
    for path in tars:
        with tarfile.open(path) as tar:
            names = tar.getnames()
            assert [name.partition(".")[2] for name in names] == ["cls", "png"] * (len(names) // 2)
            contents += [tar.extractfile(name).read() for name in names if name.endswith(".png")]
    assert contents == [Path(file).read_bytes() for file, _ in pets.samples]


def test_features_are_those_of_the_folder(model, pets, tars, folder, in_float32):
    kept = [load_file(path) for path in stream_features(model, tars, PREPROCESSING, folder)]
    features, labels = extract_features(model, pets).tensors
    torch.testing.assert_close(torch.cat([shard["features"] for shard in kept]), features)
    assert torch.equal(torch.cat([shard["labels"] for shard in kept]), labels)
    assert isinstance(model.fc, torch.nn.Linear) and model.training


def test_only_what_is_missing_is_computed_again(model, tars, folder, monkeypatch):
    first = stream_features(model, tars, PREPROCESSING, folder)
    first[1].unlink()
    read, real = [], streaming.read_tar

    def spy(path, preset):
        read.append(path)
        return real(path, preset)

    monkeypatch.setattr(streaming, "read_tar", spy)
    assert stream_features(model, tars, PREPROCESSING, folder) == first
    assert read == [tars[1]]


def cut(path):
    path.write_bytes(path.read_bytes()[:1500])


def spoil_a_picture(path):
    path.write_bytes(path.read_bytes().replace(b"\x89PNG", b"\x00\x00\x00\x00", 1))


def replace_by_a_page(path):
    path.write_bytes(b"<html>Please log in</html>")


@pytest.mark.parametrize("spoil", [cut, spoil_a_picture, replace_by_a_page, lambda path: path.unlink()])
def test_a_damaged_tar_file_is_named_and_the_shards_before_it_are_kept(model, tars, folder, spoil):
    spoil(tars[1])
    with pytest.raises(DataError, match=r"pictures-000001\.tar"):
        stream_features(model, tars, PREPROCESSING, folder)
    assert len(list(folder.glob("*"))) == 1
    assert isinstance(model.fc, torch.nn.Linear)
