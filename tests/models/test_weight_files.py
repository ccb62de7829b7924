"""Files of weights: none that is damaged, altered, malicious or misfit is loaded (faults 21 to 25)."""

import hashlib
from pathlib import Path

import pytest
import safetensors.torch
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
WEIGHT = "conv5.0.weight"


@pytest.fixture
def refused_weights(refused):
    """Return a function that sees weights refused with a message about a file, and gives the error."""

    def check(weights, where, match=None, load=load_backbone):
        with refused(WeightsError, match=match, where=where) as caught:
            load(weights)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_local_file_is_read_as_float32_and_may_know_other_classes(dtype, local):
    model = models.get_model(NAME, num_classes=3).to(dtype)
    loaded = load_backbone(local(model.state_dict())[0])
    expected = model.float().state_dict()
    assert loaded.fc.out_features == 3 and loaded.fc.weight.dtype == torch.float32
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


def with_value(value, dtype=torch.float32):
    def change(state):
        state[WEIGHT] = state[WEIGHT].to(dtype)
        state[WEIGHT][3, 5] = value
        return state

    return change


def replaced(name, change):
    return lambda state: {**state, name: change(state[name])}


def renamed(prefix):
    return lambda state: {f"{prefix}{name}": tensor for name, tensor in state.items()}


NOT_ONE = f"do not belong to a {NAME}"
MISFITS = {
    "NaN": (with_value(torch.nan), WEIGHT, "nan", "diverged"),
    "infinity in float16": (with_value(torch.inf, torch.float16), WEIGHT, "inf", "diverged"),
    "int32": (replaced(WEIGHT, lambda t: t.to(torch.int32)), WEIGHT, "int32", "float32"),
    "bool": (replaced(WEIGHT, lambda t: t.bool()), WEIGHT, "bool", "float32"),
    "complex64": (replaced(WEIGHT, lambda t: t.to(torch.complex64)), WEIGHT, "complex64", "float32"),
    "a prefix": (renamed("module."), "begin", "module.conv1.0.weight", "removeprefix('module.')"),
    "a scalar head": (replaced("fc.weight", lambda _: torch.zeros(())), NOT_ONE, "", ""),
    "a head without outputs": (replaced("fc.weight", lambda _: torch.zeros(0, 1024)), NOT_ONE, "", ""),
    "another network": (
        *(lambda _: build_backbone("mobilenet_v3_small").state_dict(), NOT_ONE),
        *("Missing key", "Name the backbone"),
    ),
}


@pytest.mark.parametrize("change, match, found, advice", MISFITS.values(), ids=MISFITS.keys())
def test_local_weights_that_do_not_fit_are_refused_by_name(
    change, match, found, advice, local, refused_weights
):
    try:
        weights, path = local(change(build_backbone(NAME).state_dict()))
    except KeyError as error:
        pytest.skip(f"this safetensors writes no {error}")
    error = refused_weights(weights, path, match)
    assert found in error.found and advice in error.do


def test_pickled_weights_are_refused_with_the_lines_that_convert_them(tmp_path, monkeypatch, refused_weights):
    state = build_backbone(NAME).state_dict()
    path, settings = tmp_path / "own.pth", Settings(backbone=NAME, weights=str(tmp_path / "own.pth"))
    state["fc.weight"] = state["fc.weight"].T.contiguous().T  # as no .safetensors file can hold it
    state["fc.bias"] = state["fc.weight"][:, 0]
    torch.save(state, path)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: pytest.fail("the file was read"))
        error = refused_weights(settings, path, ".pth", load=backbone_weights)
    lines = "\n".join(line.strip() for line in error.do.splitlines()[1:])
    exec(lines, {"torch": torch, "safetensors": safetensors})
    loaded = load_backbone(
        backbone_weights(Settings(backbone=NAME, weights=str(path.with_suffix(".safetensors"))))
    )
    assert same(loaded.state_dict(), state)


def test_local_file_that_is_not_there_is_named_by_its_absolute_path(tmp_path, monkeypatch, refused_weights):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "gone.safetensors"
    error = refused_weights(Settings(weights=path.name), path, load=backbone_weights)
    assert error.do.startswith("Check the path") and str(tmp_path) in error.do


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
