"""What a model file gives back, and that nothing else is taken for one."""

import json

import pytest
import torch
from damaged_files import DAMAGES, MakesAFolder
from safetensors.torch import save_file
from small_networks import same
from torchvision.models import shufflenet_v2_x0_5
from torchvision.transforms import v2

from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import CheckpointError
from course_utils.models.saving import _fingerprint, load_model, save_model

NAME = "shufflenet_v2_x0_5"
CLASSES = ["Mövenschiß", "猫", "été d'or"]


def save(model, path, **changed):
    names = {"backbone": NAME, "classes": CLASSES, "image_size": 48, "transform": None}
    save_model(model, path, **{**names, **changed})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a trained network of three classes and the path of its model file."""
    torch.manual_seed(0)
    model = shufflenet_v2_x0_5(num_classes=3)
    model(torch.randn(4, 3, 32, 32))  # so that the BatchNorm buffers are not those of a new network
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save(model, path)
    return model, path


def test_model_file_gives_back_the_network_and_how_to_use_it(saved, tmp_path):
    model, _ = saved
    path = tmp_path / "model.safetensors"
    path.write_text("older")
    save(model, path)
    loaded, card = load_model(path)
    assert card == {"backbone": NAME, "classes": CLASSES, "image_size": 48, "preprocessing": None}
    assert same(loaded.state_dict(), model.state_dict())
    assert not any(module.training for module in loaded.modules())
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(loaded(images), model.eval()(images))


@pytest.mark.parametrize("damage", ["missing", "folder", "another tool's", *DAMAGES])
def test_file_that_is_no_whole_model_file_is_an_error(saved, tmp_path, refused, damage):
    path = tmp_path / "model.safetensors"
    if damage == "folder":
        path.mkdir()
    elif damage == "another tool's":
        save_file({"weight": torch.zeros(3)}, path)
    elif damage != "missing":
        path.write_bytes(DAMAGES[damage](saved[1].read_bytes()))
    with refused(CheckpointError, where=path):
        load_model(path)


def test_fault_23_model_file_of_pickles_is_refused(tmp_path, refused):
    path, marker = tmp_path / "model.safetensors", tmp_path / "made by the attack"
    torch.save({"weight": MakesAFolder(marker)}, path)
    with refused(CheckpointError):
        load_model(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("backbone", "classes"),
    [("shufflenet_v2_x1_0", "abc"), ("no_such_network", "abc"), (NAME, "ab"), (NAME, "abcd")],
)
def test_what_could_not_be_read_again_is_neither_saved_nor_loaded(
    saved, tmp_path, refused, backbone, classes
):
    path, state = tmp_path / "model.safetensors", saved[0].state_dict()
    with refused(CheckpointError, where=path):
        save(saved[0], path, backbone=backbone, classes=[*classes])
    assert not list(tmp_path.iterdir())
    card = {"backbone": backbone, "classes": [*classes], "image_size": 32, "preprocessing": None}
    save_file(state, path, {"course": json.dumps({**card, "sha256": _fingerprint(state, card)})})
    with refused(CheckpointError) as caught:
        load_model(path)
    assert backbone in caught.value.expected


def test_model_file_gives_back_the_preprocessing(saved, tmp_path):
    own = Preprocessing(72, 64, (0.1, 0.2, 0.3), (1, 2, 3), v2.InterpolationMode.BICUBIC, antialias=False)
    save(saved[0], tmp_path / "model.safetensors", transform=own.transform())
    assert Preprocessing.from_dict(load_model(tmp_path / "model.safetensors")[1]["preprocessing"]) == own


def test_model_file_without_its_preprocessing_says_so(saved, refused):
    with refused(CheckpointError, match="preprocessing"):
        Preprocessing.from_dict(load_model(saved[1])[1]["preprocessing"]).transform()


def test_preprocessing_that_cannot_be_written_down_is_refused(saved, tmp_path, refused):
    steps = [v2.RGB(), v2.RandomHorizontalFlip(), v2.ToImage()]
    path = tmp_path / "model.safetensors"
    with refused(CheckpointError, match="no attribute 'preprocessing'"):
        save(saved[0], path, transform=v2.Compose(steps))
    assert not list(tmp_path.iterdir())
