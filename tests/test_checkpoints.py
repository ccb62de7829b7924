"""How files are written, and what a model file gives back."""

import errno
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_networks import same
from torchvision.models import ResNet50_Weights, Swin_T_Weights, shufflenet_v2_x0_5

from course_utils.backbones import backbone_transform
from course_utils.checkpoints import load_model, model_transform, save_model, write_atomically
from course_utils.errors import CheckpointError
from course_utils.weights import ResNet18_64px_Weights


def test_file_is_written_into_a_new_folder(tmp_path):
    write_atomically(tmp_path / "new" / "file", lambda part: part.write_text("hello"))
    assert (tmp_path / "new" / "file").read_text() == "hello"
    assert os.listdir(tmp_path / "new") == ["file"]


@pytest.mark.parametrize(
    "error, told",
    [
        (OSError(errno.ENOSPC, "No space left on device"), CheckpointError),
        (RuntimeError("PytorchStreamWriter failed writing file"), CheckpointError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full disk", "torch on a full disk", "Ctrl-C"],
)
def test_old_file_survives_a_write_that_fails(tmp_path, error, told):
    path = tmp_path / "file"
    path.write_text("old")

    def fail_half_way(part):
        part.write_text("ne")
        raise error

    with pytest.raises(told) as caught:
        write_atomically(path, fail_half_way)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
    if told is CheckpointError:
        assert str(path) in str(caught.value)
        assert str(error) in str(caught.value)
        assert caught.value.__cause__ is error


def test_file_that_cannot_be_written_is_an_error_with_its_path(tmp_path, assert_says_four_things):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError) as caught:
        write_atomically(tmp_path / "file" / "below", lambda part: part.write_text("hello"))
    assert_says_four_things(caught.value)
    assert str(tmp_path / "file" / "below") in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("mask, expected", [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_permissions_follow_the_umask(tmp_path, mask, expected):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", lambda part: part.write_text("hello"))
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == expected


KILLED_WHILE_SAVING = """
import os, signal, sys, time
import torch
from safetensors.torch import load_file
from torch import nn
from course_utils import checkpoints

torch.set_num_threads(1)  # threads do not survive a fork
path, network = sys.argv[1], nn.Linear(1000, 1000)
save_file, replace = checkpoints.save_file, os.replace

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def save(value):
    nn.init.constant_(network.weight, value)
    nn.init.constant_(network.bias, value)
    checkpoints.save_model(network, path, backbone="none", classes=["a", "b"], image_size=32)

def half_written(state, part, metadata):
    save_file(state, part, metadata)
    os.truncate(part, os.path.getsize(part) // 2)
    die()

def in_a_child(work, delay=None):
    child = os.fork()
    if child == 0:
        work()
        os._exit(1)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    values = {float(value) for tensor in load_file(path).values() for value in tensor.unique()}
    assert len(values) == 1, values
    return values.pop()

def save_for_ever():
    value = 1
    while True:
        value += 1
        save(value)

save(1)
checkpoints.save_file = half_written
print("half written:", in_a_child(lambda: save(2)))
checkpoints.save_file, os.replace = save_file, lambda *names: die()
print("not yet in place:", in_a_child(lambda: save(3)))
os.replace = lambda *names: (replace(*names), die())
print("in place:", in_a_child(lambda: save(4)))
os.replace = replace
print("at any time:", all(in_a_child(save_for_ever, delay) for delay in (0.3, 0.31, 0.32, 0.33)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_model_file_is_whole_after_a_process_was_killed_in_mid_save(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", KILLED_WHILE_SAVING, str(tmp_path / "model.safetensors")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    expected = ["half written: 1.0", "not yet in place: 1.0", "in place: 4.0", "at any time: True"]
    assert result.stdout.splitlines() == expected, result.stderr


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a trained network of three classes and the path of its model file."""
    torch.manual_seed(0)
    model = shufflenet_v2_x0_5(num_classes=3)
    model(torch.randn(4, 3, 32, 32))  # so that the BatchNorm buffers are not those of a new network
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save_model(
        model, path, backbone="shufflenet_v2_x0_5", classes=["Mövenschiß", "猫", "été d'or"], image_size=48
    )
    return model, path


def test_model_file_gives_back_the_network_and_how_to_use_it(saved):
    model, path = saved
    loaded, card = load_model(path)
    assert card == {
        "backbone": "shufflenet_v2_x0_5",
        "classes": ["Mövenschiß", "猫", "été d'or"],
        "image_size": 48,
        "preprocessing": None,
    }
    assert same(loaded.state_dict(), model.state_dict())
    assert not any(module.training for module in loaded.modules())
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(loaded(images), model.eval()(images))


def test_saving_replaces_an_older_file(saved, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("older")
    save_model(saved[0], path, backbone="shufflenet_v2_x0_5", classes=["a", "b", "c"], image_size=32)
    assert load_model(path)[1]["classes"] == ["a", "b", "c"]


@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "text", "truncated", "another tool's"])
def test_file_that_is_no_whole_model_file_is_an_error(saved, tmp_path, assert_says_four_things, damage):
    path = tmp_path / "model.safetensors"
    content = saved[1].read_bytes()
    if damage == "folder":
        path.mkdir()
    elif damage == "another tool's":
        save_file({"weight": torch.zeros(3)}, path)
    elif damage != "missing":
        path.write_bytes(
            {"empty": b"", "text": b"<html>log in</html>", "truncated": content[: len(content) // 2]}[damage]
        )
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert_says_four_things(caught.value)
    assert str(path) in str(caught.value)


def test_model_file_with_the_name_of_another_backbone_is_an_error(saved, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(saved[0], path, backbone="shufflenet_v2_x1_0", classes=["a", "b", "c"], image_size=32)
    with pytest.raises(CheckpointError, match="shufflenet_v2_x1_0"):
        load_model(path)


@pytest.mark.parametrize("place", ["a weight", "the name of a class", "the size"])
def test_one_altered_byte_is_refused_by_name(saved, tmp_path, assert_says_four_things, place):
    content = bytearray(saved[1].read_bytes())
    at = {
        "a weight": len(content) - 1000,
        "the name of a class": content.index("été d".encode()) + len("été d".encode()) - 1,
        "the size": content.index(b": 48") + 3,
    }[place]
    content[at] ^= 1
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    load_file(path)  # safetensors itself sees nothing wrong
    with pytest.raises(CheckpointError, match="altered") as caught:
        load_model(path)
    assert_says_four_things(caught.value)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("image_size", [None, 48])
@pytest.mark.parametrize(
    "weights",
    [ResNet18_64px_Weights.DEFAULT, ResNet50_Weights.IMAGENET1K_V2, Swin_T_Weights.DEFAULT],
    ids=str,
)
def test_model_file_gives_back_the_preprocessing(saved, tmp_path, weights, image_size):
    transform = backbone_transform(weights, image_size)
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b", "c"], "image_size": image_size}
    save_model(saved[0], tmp_path / "model.safetensors", **names, transform=transform)
    again = model_transform(load_model(tmp_path / "model.safetensors")[1])
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert("RGB")
    assert torch.equal(again(picture), transform(picture))


def test_model_file_without_its_preprocessing_says_so(saved, assert_says_four_things):
    with pytest.raises(CheckpointError, match="preprocessing") as caught:
        model_transform(load_model(saved[1])[1])
    assert_says_four_things(caught.value)
