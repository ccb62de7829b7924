"""Whatever comes in, a `CourseError` or a sound answer comes out; nothing hangs, and no file is changed.

What is learned from and what is kept: labels, weights, model files and training states.
"""

import contextlib
import io
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import SEEDS, TEXT, examples, nothing_changes_in, only_course_errors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from small_networks import norm_net, same
from small_networks import state as weights_of
from soak import Noisy, spoil
from torchvision.models import shufflenet_v2_x0_5

from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze
from course_utils.models.saving import load_model, save_model
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training.loop import fit

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM to end what hangs")


# Bytes of checkpoints, and what is in them

SETTINGS = Settings(epochs=2, batch_size=8, device="cpu")


def a_network():
    torch.manual_seed(0)
    return norm_net()


def train(path, network=None):
    network = network or a_network()
    with contextlib.redirect_stderr(io.StringIO()):
        fit(network, Noisy(25, False), Noisy(9, False), SETTINGS, path)
    return network.state_dict()


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "run.pt"
    return path, train(path)


@given(seed=SEEDS)
@examples(120)
def test_bytes_of_training_states(state, seed):
    path, weights = state
    sound = path.read_bytes()
    path.write_bytes(spoil(sound, np.random.default_rng(seed)))
    network = a_network()
    before = weights_of(network)
    try:
        with nothing_changes_in(path.parent):
            try:
                with only_course_errors():
                    assert same(train(path, network), weights), "an altered file was gone on from"
                    before = weights
            finally:
                assert same(weights_of(network), before), "refused, and yet the network was changed"
    finally:
        path.write_bytes(sound)


ODD = st.one_of(
    st.none(),
    st.integers(-2, 2**40),
    st.floats(),
    TEXT,
    st.sampled_from([[], {}, [1, 2], {"a": 1}, (), [{}], [None] * 5]),
    st.sampled_from(
        [torch.zeros(3), torch.zeros(0), torch.tensor(1.0), torch.zeros(5056, dtype=torch.uint8)]
    ),
)


@given(part=st.integers(0, 10), odd=ODD, inner=st.booleans())
@examples(120)
def test_parts_of_training_states(state, part, odd, inner):
    path, _ = state
    sound, content = path.read_bytes(), torch.load(path, weights_only=True)
    name = sorted(content)[part % len(content)]
    if inner and isinstance(content[name], dict) and content[name]:
        content[name] = {**content[name], next(iter(content[name])): odd}
    else:
        content[name] = odd
    torch.save(content, path)
    network = a_network()
    try:
        with only_course_errors():
            train(path, network)
        assert [file.name for file in path.parent.iterdir()] == [path.name]
    finally:
        path.write_bytes(sound)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b"], "image_size": 48, "transform": None}
    save_model(shufflenet_v2_x0_5(num_classes=2), path, **names)
    return path


@given(seed=SEEDS, in_header=st.booleans())
@examples(50)
def test_bytes_of_model_files(model_file, seed, in_header):
    sound, draw = model_file.read_bytes(), np.random.default_rng(seed)
    cut = 8 + int.from_bytes(sound[:8], "little") if in_header else 0
    spoiled = spoil(sound[:cut], draw) + sound[cut:] if in_header else spoil(sound, draw)
    expected = load_file(model_file)
    model_file.write_bytes(spoiled)
    try:
        with nothing_changes_in(model_file.parent), only_course_errors():
            assert same(load_model(model_file)[0].state_dict(), expected), "an altered file was read"
    finally:
        model_file.write_bytes(sound)


# Dictionaries of weights

SHAPES = st.lists(st.integers(0, 5), max_size=4)
TYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8])


@given(
    place=st.integers(0, 10_000),
    shape=SHAPES,
    dtype=TYPES,
    change=st.sampled_from(["replace", "drop", "rename", "add", "nothing"]),
)
@examples(40)
def test_dictionaries_of_weights(model_file, place, shape, dtype, change):
    state = load_file(model_file)
    name = sorted(state)[place % len(state)] if place % 3 else "fc.weight"
    if change in ("replace", "add"):
        state[name if change == "replace" else f"x.{name}"] = torch.zeros(shape, dtype=dtype)
    elif change != "nothing":
        tensor = state.pop(name)
        if change == "rename":
            state[f"module.{name}"] = tensor
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.safetensors"
        save_file(state, path)
        with nothing_changes_in(folder), only_course_errors():
            load_backbone(backbone_weights(Settings(backbone="shufflenet_v2_x0_5", weights=str(path))))
            # A missing counter of batches is 0: PyTorch reads files from before it was there.
            assert change in ("nothing", "replace") or name.endswith("num_batches_tracked")


# Arrays of labels

LABELS = st.one_of(
    st.lists(st.integers(-(2**70), 2**70), max_size=26),
    st.lists(st.integers(-1, 3), min_size=25, max_size=25),
    st.lists(
        st.one_of(st.integers(0, 2), st.floats(), st.none(), TEXT, st.booleans()), min_size=25, max_size=25
    ),
    st.lists(st.lists(st.integers(0, 2), max_size=3), max_size=25),
    st.sampled_from([None, "cat", 3, np.zeros((25, 3)), np.full(25, np.nan), torch.zeros(25), [2**63] * 25]),
)


@given(labels=LABELS, is_frozen=st.booleans())
@examples(120)
def test_arrays_of_labels(labels, is_frozen):
    dataset, network = Noisy(25, False), a_network()
    dataset.targets = labels
    if is_frozen:
        freeze(network)
    before = weights_of(network)
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            with only_course_errors():
                fit(network, dataset, Noisy(9, False), SETTINGS)
                before = weights_of(network)
        finally:
            assert same(weights_of(network), before)
