"""Whatever comes in, a `CourseError` or a sound answer comes out; nothing hangs, and no file is changed.

What is learned from and what is kept: labels, weights, model files and training states.
"""

import contextlib
import io
import signal

import numpy as np
import pytest
import torch
from fuzzing import SEEDS, TEXT, examples, nothing_changes_in, only_course_errors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from small_networks import norm_net, same
from small_networks import state as weights_of
from soak import Noisy, spoil
from torchvision.models import shufflenet_v2_x0_5

from course_utils.models.saving import load_model, save_model
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
@examples(30)
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
@examples(30)
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
@examples(20)
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
