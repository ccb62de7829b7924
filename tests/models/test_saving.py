"""What a model file gives back, and that nothing else is taken for one."""

import json

import pytest
import torch
from damaged_files import DAMAGES, MakesAFolder
from safetensors.torch import load_file, save_file
from small_networks import Pictures, same, seeded_net, some_settings
from small_networks import state as copy_of_state
from torchvision.models import shufflenet_v2_x0_5
from torchvision.transforms import v2

from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import CheckpointError
from course_utils.models.freezing import freeze, replace_head
from course_utils.models.saving import (
    _fingerprint,
    load_model,
    load_trained,
    save_model,
    save_trained,
    trained_entries,
)
from course_utils.training.loop import fit

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


# Files of what was trained


@pytest.mark.parametrize(
    "prepare", [freeze, lambda model: model.norm.requires_grad_(True), torch.nn.Module.requires_grad_]
)
def test_all_that_training_changed_is_in_the_file_and_nothing_else_is(prepare, tmp_path):
    model, pictures = seeded_net(is_frozen=True), Pictures(12, size=8)
    prepare(model)
    fit(model, pictures, pictures, some_settings(batch_size=6))
    received = seeded_net(is_frozen=True)
    before = received.state_dict()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    save_trained(model, tmp_path / "trained.safetensors")
    assert changed <= set(load_file(tmp_path / "trained.safetensors")) == set(trained_entries(model))
    load_trained(received, tmp_path / "trained.safetensors")
    assert same(received.state_dict(), model.state_dict())


@pytest.mark.parametrize(
    ("seed", "classes", "message"),
    [(1, 3, "another backbone"), (0, 2, "or of another shape: fc.bias, fc.weight")],
)
def test_another_backbone_is_refused_and_left_as_it_was(seed, classes, message, tmp_path):
    save_trained(seeded_net(is_frozen=True), tmp_path / "trained.safetensors")
    model = seeded_net(is_frozen=True, seed=seed)
    replace_head(model, classes)
    before = copy_of_state(model)
    with pytest.raises(CheckpointError, match=message):
        load_trained(model, tmp_path / "trained.safetensors")
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("damage", ["truncated", "empty"])
def test_file_of_trained_entries_that_is_damaged_is_reported_with_its_place(damage, tmp_path, refused):
    path = tmp_path / "trained.safetensors"
    save_trained(seeded_net(is_frozen=True), path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with refused(CheckpointError, match="cannot be loaded", where=path):
        load_trained(seeded_net(is_frozen=True), path)
