"""How files are written, and what a model file gives back."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_networks import same
from torchvision.models import ResNet50_Weights, Swin_T_Weights, shufflenet_v2_x0_5
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from course_utils.data.backbone_inputs import backbone_transform
from course_utils.data.weights import ResNet18_64px_Weights, backbone_weights
from course_utils.errors import CheckpointError
from course_utils.models import saving as checkpoints
from course_utils.models.saving import load_model, model_transform, save_model, write_atomically
from course_utils.settings import Settings


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


HALF_WRITTEN = """
import sys
from pathlib import Path
from course_utils.data.files import write_atomically

def write(part):
    part.write_bytes(b"half of it")
    print(part, flush=True)
    sys.stdin.read()

write_atomically(Path(sys.argv[1]), write)
"""


@pytest.fixture
def half_written():
    """Return a function that starts to write a file in a process of its own; gives it, and the half file."""
    started = []

    def start(path):
        command = [sys.executable, "-W", "ignore", "-c", HALF_WRITTEN, str(path)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1], Path(started[-1].stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs locks that end with their process")
def test_what_a_killed_save_left_is_removed_by_the_next_one(tmp_path, half_written):
    path = tmp_path / "file"
    others = [tmp_path / ".file.part", tmp_path / ".file.notes.part", tmp_path / ".other.abcd1234.part"]
    for other in others:
        other.write_text("mine")
    process, left = half_written(path)
    process.kill()
    process.wait()
    assert left.read_bytes() == b"half of it"
    write_atomically(path, lambda part: part.write_text("whole"))
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs locks that end with their process")
def test_a_save_that_is_under_way_is_left_alone(tmp_path, half_written):
    path = tmp_path / "file"
    process, part = half_written(path)
    write_atomically(path, lambda part: part.write_text("of another"))
    assert part.read_bytes() == b"half of it"
    process.communicate()  # its input ends, and so it goes on
    assert (process.returncode, path.read_bytes()) == (0, b"half of it")
    assert os.listdir(tmp_path) == ["file"]


KILLED_WHILE_SAVING = """
import os, signal, sys, time
import torch
from safetensors.torch import load_file
from torchvision.models import shufflenet_v2_x0_5
from course_utils.models import saving as checkpoints

torch.set_num_threads(1)  # threads do not survive a fork
path, network = sys.argv[1], shufflenet_v2_x0_5(num_classes=2)
save_file, replace = checkpoints.save_file, os.replace

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def save(value):
    for tensor in network.state_dict().values():
        tensor.fill_(value)
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b"], "image_size": 32}
    checkpoints.save_model(network, path, **names, transform=None)

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
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["Mövenschiß", "猫", "été d'or"]}
    save_model(model, path, **names, image_size=48, transform=None)
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
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b", "c"]}
    save_model(saved[0], path, **names, image_size=32, transform=None)
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


@pytest.mark.parametrize(
    ("backbone", "classes"),
    [
        ("shufflenet_v2_x1_0", ["a", "b", "c"]),
        ("no_such_network", ["a", "b", "c"]),
        ("shufflenet_v2_x0_5", ["a", "b"]),
        ("shufflenet_v2_x0_5", ["a", "b", "c", "d"]),
        ("shufflenet_v2_x0_5", ["a"]),
    ],
)
def test_what_could_not_be_read_again_is_neither_saved_nor_loaded(
    saved, tmp_path, assert_says_four_things, backbone, classes
):
    path = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError) as caught:
        save_model(saved[0], path, backbone=backbone, classes=classes, image_size=32, transform=None)
    assert_says_four_things(caught.value)
    assert caught.value.where == str(path)
    assert not list(tmp_path.iterdir())
    card = {"backbone": backbone, "classes": classes, "image_size": 32, "preprocessing": None}
    state = saved[0].state_dict()
    described = {"course": json.dumps({**card, "sha256": checkpoints._fingerprint(state, card)})}
    save_file(state, path, described)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert_says_four_things(caught.value)
    assert backbone in caught.value.expected


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


def test_model_file_gives_back_a_preprocessing_without_antialiasing(saved, tmp_path):
    transform = backbone_transform(ResNet18_64px_Weights.DEFAULT)
    transform.transforms[-1].antialias = False
    path, names = tmp_path / "model.safetensors", {"backbone": "shufflenet_v2_x0_5", "image_size": None}
    save_model(saved[0], path, **names, classes=["a", "b", "c"], transform=transform)
    again = model_transform(load_model(path)[1])
    # Of a PIL picture the resizing is always antialiased; of a tensor only if it is asked for.
    pixels = torch.randint(256, (3, 90, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(pixels), transform(pixels))


def test_model_file_without_its_preprocessing_says_so(saved, assert_says_four_things):
    with pytest.raises(CheckpointError, match="preprocessing") as caught:
        model_transform(load_model(saved[1])[1])
    assert_says_four_things(caught.value)


@pytest.mark.parametrize("name", ["resnet18", "convnext_base.fb_in22k_ft_in1k_384"], ids=["crop", "squash"])
def test_preprocessing_of_timm_comes_back_to_the_bit(saved, tmp_path, name):
    pytest.importorskip("timm")
    transform = backbone_transform(backbone_weights(Settings(backbone=f"timm/{name}", weights="none")), 48)
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b", "c"], "image_size": 48}
    save_model(saved[0], tmp_path / "model.safetensors", **names, transform=transform)
    again = model_transform(load_model(tmp_path / "model.safetensors")[1])
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    assert torch.equal(again(Image.fromarray(pixels)), transform(Image.fromarray(pixels)))


PRESET = ResNet18_64px_Weights.DEFAULT.transforms()


@pytest.mark.parametrize(
    "transform",
    [
        v2.Compose([v2.RGB(), v2.RandomHorizontalFlip(), PRESET]),
        v2.Compose([v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
        v2.Compose([v2.RGB(), PRESET, torch.nn.Identity()]),
    ],
    ids=["a step before", "no preset", "a step after"],
)
def test_preprocessing_that_cannot_be_written_down_is_refused(
    saved, tmp_path, assert_says_four_things, transform
):
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b", "c"], "image_size": 48}
    with pytest.raises(CheckpointError, match="preprocessing") as caught:
        save_model(saved[0], tmp_path / "model.safetensors", **names, transform=transform)
    assert_says_four_things(caught.value)
    assert not list(tmp_path.iterdir())


def test_preprocessing_keeps_how_it_resizes(saved, tmp_path):
    for smooth in (True, False):
        preset = ImageClassification(crop_size=48, resize_size=48, antialias=smooth)
        names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b", "c"], "image_size": 48}
        save_model(saved[0], tmp_path / "model.safetensors", **names, transform=preset)
        again = model_transform(load_model(tmp_path / "model.safetensors")[1])
        assert again.transforms[-1].antialias == smooth
