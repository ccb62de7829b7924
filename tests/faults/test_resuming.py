"""Faults 27 and 33 to 35, checkpoints: first what plain PyTorch makes of it, then what the course does."""

import copy
import itertools
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_networks import SmallNet
from torch import nn
from torch.utils.data import Dataset

from course_utils.errors import CheckpointError
from course_utils.models.freezing import freeze
from course_utils.settings import REPOSITORY_FOLDER, Settings, preserve_rng_state
from course_utils.training import loop as training
from course_utils.training.features import is_deterministic
from course_utils.training.loop import fit, train_one_epoch

EPOCHS = 4
FROZEN_AND_THAWED = pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])


class Pictures(Dataset):
    """Random pictures of three classes, with noise from all three sources of random numbers if asked for."""

    classes = ("cat", "dog", "ship")

    def __init__(self, count, noise=False):
        self.images = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(count))
        self.targets, self.noise = [number % 3 for number in range(count)], noise

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        noise = torch.rand(1) + random.random() + float(np.random.rand()) if self.noise else 0
        return self.images[index] * (1 + noise), self.targets[index]


def run(is_frozen, checkpoint=None, seed=5, stop_after=None):
    """Train a new network; return its weights and its epochs. It may be stopped after so many epochs."""
    torch.manual_seed(0)
    model = SmallNet()
    if is_frozen:
        freeze(model)
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(seed)

    there = checkpoint is not None and checkpoint.exists()
    epochs = len(torch.load(checkpoint, map_location="cpu", weights_only=True)["epochs"]) if there else 0
    next_epoch = itertools.count(epochs + 1)

    def train(*arguments):
        if next(next_epoch) > (EPOCHS if stop_after is None else stop_after):
            raise KeyboardInterrupt
        return train_one_epoch(*arguments)

    settings = Settings(epochs=EPOCHS, batch_size=8, lr=0.05, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train_one_epoch", train)
        history = fit(model, Pictures(25, noise=not is_frozen), Pictures(9), settings, checkpoint)
    return model.state_dict(), history.to_frame().drop(columns="seconds")


def same(one, other):
    weights = all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    return weights and one[1].equals(other[1])


# 34. Going on to the same bits


@FROZEN_AND_THAWED
@pytest.mark.parametrize("epoch", range(EPOCHS + 1))
def test_fault_34_going_on_after_every_epoch_gives_the_same_bits(tmp_path, is_frozen, epoch):
    expected = run(is_frozen)
    run(is_frozen, tmp_path / "run.pt", stop_after=epoch)
    assert (tmp_path / "run.pt").exists() == (epoch > 0)
    # Another process has other random numbers; a run that begins anew must begin with the same.
    assert same(run(is_frozen, tmp_path / "run.pt", seed=99 if epoch else 5), expected)


@FROZEN_AND_THAWED
def test_fault_34_stopping_after_each_epoch_in_turn_gives_the_same_bits(tmp_path, is_frozen):
    expected = run(is_frozen)
    for epoch in range(1, EPOCHS):
        run(is_frozen, tmp_path / "run.pt", seed=5 if epoch == 1 else epoch, stop_after=epoch)
    assert same(run(is_frozen, tmp_path / "run.pt", seed=99), expected)


STATES = ["network", "optimizer", "schedule", "generator", "torch", "numpy", "python"]


@pytest.mark.parametrize("dropped", STATES)
def test_fault_34_dropping_any_one_state_changes_the_bits(tmp_path, monkeypatch, dropped):
    """As in code that keeps the rest: the state is the one that a new process begins with."""
    expected = run(False)
    run(False, tmp_path / "run.pt", stop_after=2)
    new = {}

    def remember(path, run, identity):
        new.update(copy.deepcopy(state_of(run)))
        return load(path, run, identity)

    def state_of(run):
        name, keys, *position = np.random.get_state()
        return {
            **{part: getattr(run, part).state_dict() for part in ("network", "optimizer", "schedule")},
            "generator": run.generator.get_state(),
            "torch": torch.get_rng_state(),
            "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *position],
            "python": random.getstate(),
        }

    load = training.load_training_state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_training_state", remember)
        run(False, tmp_path / "nothing.pt", seed=99, stop_after=0)
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    kept = state if dropped in state else state["random_states"][0]
    kept[dropped] = new[dropped]
    torch.save(state, tmp_path / "run.pt")
    assert not same(run(False, tmp_path / "run.pt", seed=99), expected)


def test_fault_34_looking_ahead_leaves_all_three_sources_as_they_were():
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(3)
    with preserve_rng_state():
        expected = draw()
        is_deterministic(Pictures(20, noise=True))
    is_deterministic(Pictures(20, noise=True))
    assert draw() == expected


# 33. Killed, or no room, while saving


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for the size of files")
def test_fault_33_disk_that_is_full_while_saving(tmp_path, assert_says_four_things):
    import resource

    model, plain, ours = SmallNet(), tmp_path / "plain.pt", tmp_path / "run.pt"
    torch.save({"weights": model.state_dict(), "room": torch.zeros(5000)}, plain)
    run(True, ours, stop_after=1)
    before, old_limit = ours.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, old_limit[1]))
    try:
        with pytest.raises((RuntimeError, OSError)):
            torch.save({"weights": model.state_dict(), "room": torch.ones(5000)}, plain)
        with pytest.raises(CheckpointError, match="could not be written") as caught:
            run(True, ours, seed=99)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
    with pytest.raises(RuntimeError):
        torch.load(plain, weights_only=True)  # the plain way has lost the only checkpoint
    assert_says_four_things(caught.value)
    assert [epoch.epoch for epoch in caught.value.history.epochs] == [1, 2]
    assert ours.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.pt", "run.pt"]


PLAIN_KILLED = """
import os, signal, sys, torch
class Dies:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)
torch.save({"first": torch.zeros(100_000), "second": Dies()}, sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_fault_33_process_that_is_killed_loses_at_most_one_epoch(tmp_path):
    path = tmp_path / "plain.pt"
    torch.save({"first": torch.zeros(3)}, path)
    # torch.save has opened the final name before it knows what it will write.
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", PLAIN_KILLED, str(path)], timeout=60)
    assert killed.returncode == -9
    with pytest.raises((RuntimeError, EOFError)):
        torch.load(path, weights_only=True)
    soak = [sys.executable, "-W", "ignore", str(REPOSITORY_FOLDER / "benchmarks" / "soak.py")]
    options = ["--kills", "4", "--images", "0", "--pairs", "0", "--output", str(tmp_path / "soak.csv")]
    result = subprocess.run([*soak, *options], capture_output=True, text=True, timeout=90)
    assert result.returncode == 0, result.stdout + result.stderr
    assert ",4,4,0," in (tmp_path / "soak.csv").read_text()


# 35. Going on with something else


def test_fault_35_strict_false_loads_nothing_without_a_word(tmp_path, assert_says_four_things):
    wrapped, model = nn.DataParallel(SmallNet()), SmallNet()
    before = copy.deepcopy(model.state_dict())
    model.load_state_dict(wrapped.state_dict(), strict=False)  # no exception, and no weight
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    run(False, tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    state["network"] = {f"module.{name}": tensor for name, tensor in state["network"].items()}
    torch.save(state, tmp_path / "run.pt")
    torch.manual_seed(0)
    model = SmallNet()
    before = copy.deepcopy(model.state_dict())
    settings = Settings(epochs=EPOCHS, batch_size=8, lr=0.05, device="cpu")
    with pytest.raises(CheckpointError, match="Missing key") as caught:
        fit(model, Pictures(25, noise=True), Pictures(9), settings, tmp_path / "run.pt")
    assert_says_four_things(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_fault_35_other_images_are_refused_with_the_difference(tmp_path, assert_says_four_things):
    run(True, tmp_path / "run.pt")
    model = SmallNet()
    freeze(model)
    settings = Settings(epochs=EPOCHS, batch_size=8, lr=0.05, device="cpu")
    with pytest.raises(CheckpointError) as caught:
        fit(model, Pictures(26), Pictures(9), settings, tmp_path / "run.pt")
    assert_says_four_things(caught.value)
    assert (caught.value.expected, caught.value.found) == ("train_images=26", "train_images=25")


def test_altered_training_state_is_refused_though_torch_reads_it(tmp_path, assert_says_four_things):
    path = tmp_path / "run.pt"
    run(True, path)
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["network"]["weight"].numpy().tobytes()
    content[content.index(weights)] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    with pytest.raises(CheckpointError, match="altered") as caught:
        run(True, path)
    assert_says_four_things(caught.value)
    assert caught.value.where == str(path)


# 27. Written on a graphics card


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a file from a graphics card can be read as it is")
def test_fault_27_checkpoint_of_a_graphics_card_is_read_on_a_cpu(tmp_path, monkeypatch):
    expected = run(True)
    with monkeypatch.context() as patch:  # tensors are written as if they lay on a graphics card
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
        run(True, tmp_path / "run.pt", stop_after=2)
    with pytest.raises(RuntimeError, match="on a CUDA device"):
        torch.load(tmp_path / "run.pt", weights_only=True)
    assert same(run(True, tmp_path / "run.pt", seed=99), expected)
