"""Faults 21 to 24: what can lie in the cache of torch.hub. Each is first shown the plain way, then survived.

That nothing altered is loaded from the other kinds of files is shown in test_weights.py.
"""

import hashlib
import os
from pathlib import Path

import pytest
import torch
from torchvision import models

from course_utils.data.backbone_inputs import build_backbone
from course_utils.data.weights import backbone_weights, fetch_weights, read_weights
from course_utils.errors import WeightsError
from course_utils.models.backbones import load_backbone
from course_utils.settings import Settings

pytestmark = pytest.mark.usefixtures("no_network")

SMALL = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1  # 1.4 million parameters: quick to write and read


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch):
    """The folder in which torch.hub keeps weights, empty."""
    monkeypatch.delenv("COURSE_MIRROR", raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", None)  # so that set_dir below is undone at the end
    torch.hub.set_dir(str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def put(checkpoints, monkeypatch):
    """Return a function that saves an object where torchvision would, its real hash in its name."""

    def save(content, folder=checkpoints):
        torch.save(content, folder / "new")
        real = hashlib.sha256((folder / "new").read_bytes()).hexdigest()[:8]
        path = (folder / "new").rename(folder / f"small-{real}.pth")
        monkeypatch.setattr(SMALL.value, "url", f"https://download.pytorch.org/models/{path.name}")
        return path

    return save


def plain():
    return models.shufflenet_v2_x0_5(weights=SMALL, progress=False)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"<html>Please log in</html>"],
    ids=["truncated", "empty", "login page"],
)
def test_fault_21_damaged_weights(damage, put, assert_says_four_things):
    path = put(build_backbone("shufflenet_v2_x0_5").state_dict())
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(Exception) as told:
        plain()
    assert str(path) not in str(told.value), "the fault is not there"

    with pytest.raises(WeightsError) as caught:
        load_backbone(SMALL)
    assert_says_four_things(caught.value)
    assert caught.value.where == str(path) and f"{len(damaged):,} bytes" in caught.value.found
    assert path.with_name(f"{path.name}.bad").read_bytes() == damaged and not path.exists()


def test_fault_22_other_weights_under_that_name(put, assert_says_four_things):
    path = put(build_backbone("shufflenet_v2_x0_5").state_dict())
    torch.save(build_backbone("shufflenet_v2_x0_5").state_dict(), path)
    plain()  # loads them without a word

    with pytest.raises(WeightsError, match="damaged or altered") as caught:
        load_backbone(SMALL)
    assert_says_four_things(caught.value)
    assert not path.exists()


class RunsACommand:
    """An object that runs a shell command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_fault_23_malicious_weights(put, tmp_path, assert_says_four_things):
    marker = tmp_path / "marker"
    put({"weight": RunsACommand(f"touch {marker}")})
    with pytest.raises(RuntimeError, match="state_dict"):
        plain()
    assert marker.exists(), "the fault is not there"
    marker.unlink()

    with pytest.raises(WeightsError, match="read safely") as caught:
        load_backbone(SMALL)
    assert not marker.exists()
    assert_says_four_things(caught.value)
    assert "weights_only" not in caught.value.do, "never suggest to turn the protection off"


def test_fault_24_no_network_and_no_weights(checkpoints, assert_says_four_things, capsys):
    with pytest.raises(OSError) as told:
        plain()
    assert str(checkpoints) not in str(told.value), "the fault is not there"

    with pytest.raises(WeightsError, match="could not be downloaded") as caught:
        load_backbone(SMALL)
    assert_says_four_things(caught.value)
    assert caught.value.where == str(checkpoints / Path(SMALL.url).name)
    assert SMALL.url in caught.value.expected and str(checkpoints) in caught.value.do
    assert "RANDOM" not in capsys.readouterr().out
    load_backbone(backbone_weights(Settings(backbone="shufflenet_v2_x0_5", weights="none")))
    assert "RANDOM WEIGHTS" in capsys.readouterr().out


def test_weights_come_from_the_classrooms_own_mirror(put, checkpoints, tmp_path, monkeypatch):
    (tmp_path / "stick").mkdir()
    name = put({"weight": torch.ones(3)}, tmp_path / "stick").name
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "stick"))
    assert torch.equal(read_weights(SMALL)["weight"], torch.ones(3))
    assert (checkpoints / name).is_file()
    monkeypatch.delenv("COURSE_MIRROR")
    assert torch.equal(read_weights(SMALL)["weight"], torch.ones(3)), "now without a mirror"


def test_damaged_weights_in_a_folder_of_somebody_else(
    put, folder_for_all, ordinary_user, assert_says_four_things
):
    torch.hub.set_dir(str(folder_for_all))
    (folder_for_all / "checkpoints").mkdir()
    path = put({"weight": torch.ones(3)}, folder_for_all / "checkpoints")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    with ordinary_user():
        assert torch.equal(read_weights(SMALL)["weight"], torch.ones(3))
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    with ordinary_user(), pytest.raises(WeightsError, match="TORCH_HOME") as caught:
        read_weights(SMALL)
    assert_says_four_things(caught.value)
    path.parent.chmod(0o755)
    assert path.read_bytes() == b"damaged"


def test_fetch_replaces_damaged_weights(put, tmp_path, monkeypatch):
    settings = Settings(backbone="shufflenet_v2_x0_5", weights="IMAGENET1K_V1")
    path = put({"weight": torch.ones(3)})
    (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path))
    assert [row.state for row in fetch_weights(settings)] == ["sound"]
    path.write_bytes(b"damaged")
    assert [row.state for row in fetch_weights(settings)] == ["fetched"]
    assert torch.equal(read_weights(SMALL)["weight"], torch.ones(3))
    assert fetch_weights(Settings(weights="none")) == []
