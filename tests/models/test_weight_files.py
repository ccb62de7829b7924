"""Files of weights: none that is damaged, altered, malicious or misfit is loaded (faults 21 to 25)."""

import hashlib
from pathlib import Path

import pytest
import torch
from damaged_files import DAMAGES, MakesAFolder
from safetensors.torch import save_file
from serving import serve
from small_networks import same
from torchvision import models

from course_utils.errors import WeightsError
from course_utils.models.backbones import build_backbone, load_backbone
from course_utils.models.weights import ResNet18_64px_Weights, backbone_weights, read_weights
from course_utils.settings import Settings

pytestmark = pytest.mark.usefixtures("no_network", "hub")

SHIPPED = ResNet18_64px_Weights.DEFAULT
SMALL = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1  # 1.4 million parameters: quick to write and read
NAME = "shufflenet_v2_x0_5"


@pytest.fixture
def refused_weights(refused):
    """Return a function that sees weights refused with a message about a file, and gives the error."""

    def check(weights, where, match=None):
        with refused(WeightsError, match=match, where=where) as caught:
            load_backbone(weights)
        return caught.value

    return check


# The file that ships


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_altered_shipped_weights_are_refused(damage, tmp_path, monkeypatch, refused_weights):
    altered = tmp_path / SHIPPED.path.name
    altered.write_bytes(damage(SHIPPED.path.read_bytes()))
    monkeypatch.setattr(SHIPPED.value, "url", str(altered))
    assert SHIPPED.meta["sha256"] in refused_weights(SHIPPED, altered, "SHA-256").expected
    assert altered.exists(), "nothing that a student owns is deleted"


# `weights="PATH.safetensors"`, for classrooms without a network


@pytest.fixture
def local(tmp_path):
    """Return a function that saves entries as a local file, and gives its weights and its path."""

    def save(state, backbone=NAME):
        path = tmp_path / "own.safetensors"
        path.write_bytes(state) if isinstance(state, bytes) else save_file(state, path)
        return backbone_weights(Settings(backbone=backbone, weights=str(path))), path

    return save


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_local_file_is_read_as_float32_and_may_know_other_classes(dtype, local):
    model = models.get_model(NAME, num_classes=3).to(dtype)
    loaded = load_backbone(local(model.state_dict())[0])
    expected = model.float().state_dict()
    assert loaded.fc.out_features == 3 and loaded.fc.weight.dtype == torch.float32
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_local_file_may_be_pickled_tensors_of_a_wrapped_network(prefix, tmp_path):
    state = build_backbone(NAME).state_dict()
    torch.save({f"{prefix}{name}": tensor for name, tensor in state.items()}, tmp_path / "own.pth")
    loaded = load_backbone(backbone_weights(Settings(backbone=NAME, weights=str(tmp_path / "own.pth"))))
    assert same(loaded.state_dict(), state)


@pytest.mark.parametrize("without", ["conv1.0.weight", "fc.weight"])
def test_local_weights_of_another_network_are_refused(without, local, refused_weights):
    state = build_backbone(NAME).state_dict()
    del state[without]
    error = refused_weights(*local(state), f"do not belong to a {NAME}")
    assert without in error.found and "Name the backbone" in error.do


def test_local_file_that_is_not_there_is_named_by_its_absolute_path(tmp_path, monkeypatch, refused_weights):
    monkeypatch.chdir(tmp_path)
    weights = backbone_weights(Settings(weights="gone.safetensors"))
    error = refused_weights(weights, tmp_path / "gone.safetensors", "cannot be read")
    assert error.do.startswith("Check the path") and str(tmp_path) in error.do


@pytest.mark.parametrize("content", [{"model": {"weight": torch.ones(3)}}, [1, 2]], ids=["nested", "a list"])
def test_local_file_of_something_else_than_tensors_is_refused(content, tmp_path, refused_weights):
    torch.save(content, tmp_path / "own.pth")
    weights = backbone_weights(Settings(backbone=NAME, weights=str(tmp_path / "own.pth")))
    refused_weights(weights, tmp_path / "own.pth", "cannot be read")


# torchvision's weights in the cache of torch.hub, which itself never checks them again


@pytest.fixture
def put(hub, monkeypatch):
    """Return a function that saves an object where torchvision would, or where it is served."""

    def save(content, folder=hub):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(content, folder / "new")
        real = hashlib.sha256((folder / "new").read_bytes()).hexdigest()[:8]
        path = (folder / "new").rename(folder / f"small-{real}.pth")
        monkeypatch.setattr(SMALL.value, "url", f"https://download.pytorch.org/models/{path.name}")
        return path

    return save


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_or_altered_weights_are_downloaded_again(damage, put, tmp_path, monkeypatch, refused_weights):
    path = put({"weight": torch.ones(3_000)})
    good = path.read_bytes()
    path.write_bytes(damage(good))
    refused_weights(SMALL, path, "could not be downloaded")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / path.name).write_bytes(good)
    with serve(tmp_path / "served") as address:
        monkeypatch.setenv("COURSE_MIRROR", address)
        assert torch.equal(read_weights(SMALL)["weight"], torch.ones(3_000))
    monkeypatch.delenv("COURSE_MIRROR")
    assert torch.equal(read_weights(SMALL)["weight"], torch.ones(3_000)), "now without a mirror"


@pytest.mark.parametrize("where", ["cache", "local file"])
def test_fault_23_malicious_weights(where, put, local, tmp_path, refused_weights):
    marker = tmp_path / "made by the attack"
    path = put({"weight": MakesAFolder(marker)})
    weights, path = (SMALL, path) if where == "cache" else local(path.read_bytes())
    error = refused_weights(weights, path, "cannot be read")
    assert not marker.exists()
    assert "weights_only" not in error.do, "never suggest to turn the protection off"


def test_fault_24_no_network_and_no_weights(hub, refused_weights, capsys):
    error = refused_weights(SMALL, hub / Path(SMALL.url).name, "could not be downloaded")
    assert SMALL.url in error.found and str(hub) in error.do and 'profile="quick"' in error.do
    assert "RANDOM" not in capsys.readouterr().out
    load_backbone(backbone_weights(Settings(backbone=NAME, weights="none")))
    assert "RANDOM WEIGHTS" in capsys.readouterr().out
