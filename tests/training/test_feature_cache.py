"""Features are found again if nothing has changed that they depend on, and only then."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_files import DAMAGES
from PIL import Image
from small_networks import Pictures, SmallNet, set_bfloat16, state
from small_pictures import usual
from torch import nn
from torch.utils.data import Subset
from torchvision.models import get_model
from torchvision.transforms import v2

from course_utils.__main__ import main
from course_utils.data.folders import FolderOfClasses
from course_utils.data.splits import load_splits
from course_utils.errors import ConfigError
from course_utils.models.freezing import freeze
from course_utils.settings import Settings
from course_utils.training import feature_cache
from course_utils.training.acceleration import multiplies_bfloat16
from course_utils.training.feature_cache import cached_features, evict, fingerprint, list_cache
from course_utils.training.loop import fit


@pytest.fixture
def model():
    torch.manual_seed(0)
    return get_model("resnet18", num_classes=2)


@pytest.fixture
def pets(tmp_path, write_class_folders):
    return FolderOfClasses(write_class_folders(tmp_path / "pets", {"cat": 5, "dog": 4}), usual())


@pytest.fixture
def extractions(monkeypatch):
    """Count how often features are computed, whether they can be kept or not."""
    counted = []

    def spy(real):
        def count(*arguments, **options):
            counted.append(options)
            return real(*arguments, **options)

        return count

    monkeypatch.setattr(feature_cache, "extract_features", spy(feature_cache.extract_features))
    return counted


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_the_second_time_features_come_from_disk_and_are_the_same(
    model, pets, extractions, feature_store, monkeypatch, has_bfloat16
):
    set_bfloat16(monkeypatch, has_bfloat16)
    first, second = (cached_features(model, pets).tensors for _ in range(2))
    assert len(extractions) == 1
    assert [path.suffix for path in feature_store.iterdir()] == [".safetensors"]
    assert torch.equal(first[0], first[0].bfloat16().float()) == has_bfloat16
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype


def test_fit_finds_them_and_learns_the_same(model, pets, extractions):
    freeze(model)
    head, histories = state(model.fc), []
    for _ in range(2):
        model.fc.load_state_dict(head)
        history = fit(model, pets, Subset(pets, [0, 8]), Settings(epochs=2, batch_size=4, device="cpu"))
        histories.append(history.to_frame().drop(columns="seconds"))
    assert len(extractions) == 2  # training and validation images, the first time
    assert histories[0].equals(histories[1])


def change_a_weight(model, pets, monkeypatch):
    model.layer4[1].conv2.weight.data[0, 0, 0, 0] += 1e-6


def change_a_running_mean(model, pets, monkeypatch):
    model.layer1[0].bn1.running_mean[3] += 1e-6


def change_a_layer_without_weights(model, pets, monkeypatch):
    model.relu = nn.GELU()


def change_a_pixel(model, pets, monkeypatch):
    path = pets.samples[4][0]
    pixels, status = np.array(Image.open(path)), Path(path).stat()
    pixels[3, 3, 0] ^= 1
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the time of the file does not tell


def change_a_label(model, pets, monkeypatch):
    pets.samples[0] = (pets.samples[0][0], 1)
    pets.targets[0] = 1


def change_the_order(model, pets, monkeypatch):
    pets.samples[0], pets.samples[1] = pets.samples[1], pets.samples[0]


def change_the_number_of_pictures(model, pets, monkeypatch):
    pets.samples.pop()
    pets.targets.pop()


def change_the_size(model, pets, monkeypatch):
    pets.transform = usual(40)


def change_the_normalisation(model, pets, monkeypatch):
    pets.transform.transforms[1].mean = [0.5, 0.5, 0.5]


def change_the_precision(model, pets, monkeypatch):
    set_bfloat16(monkeypatch, not multiplies_bfloat16(torch.device("cpu")))


def change_a_library(model, pets, monkeypatch):
    monkeypatch.setattr(feature_cache, "version", lambda package: f"{package} of tomorrow")


def change_the_code(model, pets, monkeypatch):
    real = Path.read_bytes
    own = Path(feature_cache.__file__).parents[1] / "data" / "preprocessing.py"
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + b"#" * (path == own))


CHANGES = [value for name, value in list(globals().items()) if name.startswith("change_")]


@pytest.mark.parametrize("change", CHANGES)
def test_features_are_computed_anew_when_anything_has_changed(model, pets, extractions, monkeypatch, change):
    cached_features(model, pets)
    cached_features(model, pets)
    assert len(extractions) == 1
    change(model, pets, monkeypatch)
    cached_features(model, pets)
    assert len(extractions) == 2


def test_another_pixel_in_memory_is_another_dataset(model):
    dataset = load_splits(Settings(images_per_class=3), usual()).val
    before = fingerprint(model, dataset)
    assert fingerprint(model, dataset) == before
    dataset.dataset.data = dataset.dataset.data.clone()
    dataset.dataset.data[dataset.indices[0], 5, 5] ^= 1
    assert fingerprint(model, dataset) != before


def test_a_new_head_does_not_change_them(model, pets, extractions):
    cached_features(model, pets)
    model.fc = nn.Linear(512, 7)
    cached_features(model, pets)
    assert len(extractions) == 1


def test_what_cannot_be_known_is_not_kept(model, pets, feature_store):
    cached_features(SmallNet(), Pictures(9))
    cached_features(model, Pictures(9, size=32))
    pets.transform = v2.Compose([*pets.transform.transforms, nn.Identity()])
    cached_features(model, pets)
    pets.transform = usual()
    model.layer4.register_forward_hook(lambda *_: None)
    cached_features(model, pets)
    assert not list(feature_store.iterdir())


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_computed_again_and_replaced(model, pets, extractions, damage):
    expected = cached_features(model, pets).tensors[0]
    path = list_cache()[0].path
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):
        assert torch.equal(cached_features(model, pets).tensors[0], expected)
    assert len(extractions) == 2
    assert len(list_cache()) == 1


def test_a_full_disk_costs_nothing_but_the_file(model, pets, feature_store, monkeypatch):
    def fail(tensors, path, metadata):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("course_utils.training.feature_cache.save_file", fail)
    assert cached_features(model, pets).tensors[0].shape == (9, 512)
    assert not list(feature_store.iterdir())


def test_a_folder_that_is_not_yours_costs_nothing_but_the_file(
    model, pets, monkeypatch, folder_for_all, ordinary_user
):
    monkeypatch.setenv("COURSE_FEATURES", str(folder_for_all / "features"))
    (folder_for_all / "features").mkdir(mode=0o555)
    dataset = load_splits(Settings(images_per_class=3), usual()).val
    with ordinary_user():
        assert cached_features(model, dataset).tensors[0].shape == (10, 512)
    assert not list((folder_for_all / "features").iterdir())


def fill(folder, sizes):
    """Write files of the store, the oldest first; give their paths."""
    paths = []
    for number, size in enumerate(sizes):
        paths.append(folder / f"{number:064}.safetensors")
        paths[-1].write_bytes(b"x" * size)
        used = time.time() - 1000 + number
        os.utime(paths[-1], (used, used))
    return paths


def test_what_was_not_used_for_the_longest_time_goes_first(feature_store):
    oldest, older, newest = fill(feature_store, [100, 100, 100])
    os.utime(oldest)  # used just now
    assert [file.path for file in evict(250)] == [older]
    assert [file.path for file in list_cache()] == [oldest, newest]


def test_reading_counts_as_use(model, pets):
    for _ in range(2):
        cached_features(model, pets)
        path = list_cache()[0].path
        assert path.stat().st_mtime > time.time() - 60
        os.utime(path, (0, 0))


def test_the_store_stays_below_its_limit(model, pets, feature_store, monkeypatch):
    old = fill(feature_store, [30_000, 30_000])
    monkeypatch.setenv("COURSE_FEATURES_GB", "0.00005")  # 50,000 bytes
    cached_features(model, pets)
    assert [path.exists() for path in old] == [False, True]
    assert len(list_cache()) == 2


@pytest.mark.parametrize(("has_bfloat16", "kept"), [(True, True), (False, False)])
def test_features_larger_than_the_limit_are_not_kept_and_drive_nothing_out(
    model, pets, feature_store, monkeypatch, has_bfloat16, kept
):
    old = fill(feature_store, [1000])
    set_bfloat16(monkeypatch, has_bfloat16)
    monkeypatch.setenv("COURSE_FEATURES_GB", "0.000012")  # 9 x 512 numbers of two bytes, not of four
    cached_features(model, pets)
    assert old[0].exists() and len(list_cache()) == 1 + kept


def test_other_files_are_never_removed(feature_store):
    fill(feature_store, [100])
    own = [feature_store / "thesis.safetensors", feature_store / "notes.txt"]
    for path in own:
        path.write_text("mine")
    assert len(evict(-1)) == 1
    assert sorted(feature_store.iterdir()) == sorted(own)


def test_nothing_is_read_or_written_where_nothing_is_kept(
    model, pets, extractions, feature_store, monkeypatch
):
    freeze(model)
    fit(model, pets, pets, Settings(epochs=1, device="cpu"), cache_features=False)
    assert not list(feature_store.iterdir())
    cached_features(model, pets)
    monkeypatch.setenv("COURSE_FEATURES_GB", "0")
    cached_features(model, pets)
    assert len(extractions) == 2


@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_an_error(model, pets, monkeypatch, value, capsys):
    monkeypatch.setenv("COURSE_FEATURES_GB", value)
    with pytest.raises(ConfigError):
        cached_features(model, pets)
    assert main(["features"]) == 2
    assert "COURSE_FEATURES_GB" in capsys.readouterr().err


def test_the_command_line_shows_and_clears_them(model, pets, feature_store, capsys):
    assert main(["features"]) == 0
    assert f"{feature_store}: 0 files" in capsys.readouterr().out
    cached_features(model, pets)
    assert main(["features"]) == 0
    assert "1 files" in capsys.readouterr().out
    assert main(["features", "--clear"]) == 0
    assert "removed 1 files" in capsys.readouterr().out
    assert not list(feature_store.iterdir())


def test_what_killed_saves_left_is_cleared_and_other_files_are_not(feature_store, capsys):
    left = feature_store / f".{'0' * 64}.safetensors.abcd1234.part"
    mine = [feature_store / name for name in (".thesis.abcd1234.part", f".{'0' * 64}.safetensors.part")]
    busy = feature_store / f".{'1' * 64}.safetensors.abcd1234.part"
    for path in (left, busy, *mine):
        path.write_bytes(b"x" * 1_000_000)
    fcntl = pytest.importorskip("fcntl")
    with busy.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["features", "--clear"]) == 0
        assert "removed 1 files, 1.0 MB" in capsys.readouterr().out
        assert sorted(feature_store.iterdir()) == sorted([busy, *mine])
    assert main(["features", "--clear"]) == 0
    assert sorted(feature_store.iterdir()) == sorted(mine)
