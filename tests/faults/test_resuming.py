"""Faults 27 and 33 to 35: what an interrupted run goes on from, and what it loses."""

import functools
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_networks import Pictures, same, seeded_net, some_settings, state

from course_utils.errors import CheckpointError
from course_utils.settings import REPOSITORY_FOLDER
from course_utils.training.loop import fit

EPOCHS = 4
SETTINGS = some_settings(epochs=EPOCHS, lr=0.02)
VAL = Pictures(9, seed=12)  # at this rate, the last epoch is the best: what is lost shows in its weights


def noisy(read, image):
    """Add noise from all three sources of random numbers."""
    return image * (1 + torch.rand(1) + random.random() + float(np.random.rand()))


def stop_after(head, epochs):
    """Press Ctrl-C when a head is used in training after so many epochs."""
    begun, in_training = 0, False

    def look(module, inputs):
        nonlocal begun, in_training
        begun, in_training = begun + (module.training and not in_training), module.training
        if begun > epochs:
            raise KeyboardInterrupt

    head.register_forward_pre_hook(look)


def run(is_frozen, checkpoint=None, seed=5, epochs=EPOCHS, images=25):
    """Train a new network for so many of its epochs; return its weights and its history."""
    model = seeded_net(is_frozen)
    stop_after(model.fc, epochs)
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(seed)
    train = Pictures(images, seed=25, change=None if is_frozen else noisy)
    history = fit(model, train, VAL, SETTINGS, checkpoint)
    return state(model), history.to_frame().drop(columns="seconds")


@functools.cache
def uninterrupted(is_frozen):
    return run(is_frozen)


def assert_same(one, other):
    assert same(one[0], other[0]) and one[1].equals(other[1])


# 34. Going on to the same bits


@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])
@pytest.mark.parametrize("parts", [[4], [1, 1, 1]], ids=str)
def test_fault_34_going_on_after_every_epoch_gives_the_same_bits(tmp_path, is_frozen, parts):
    expected = uninterrupted(is_frozen)
    for number, epochs in enumerate(parts):
        _, history = run(is_frozen, tmp_path / "run.pt", seed=99, epochs=epochs)
        assert len(history) == sum(parts[: number + 1])
    assert_same(run(is_frozen, tmp_path / "run.pt", seed=98), expected)


def test_fault_34_dropping_any_one_state_changes_the_bits(tmp_path):
    """As in code that keeps the rest."""
    weights, history = uninterrupted(False)
    assert history.val_loss.idxmin() == EPOCHS  # what is lost shows in the last weights only
    run(False, tmp_path / "run.pt", epochs=2)
    run(False, tmp_path / "other.pt", epochs=1)
    saved, other = (torch.load(tmp_path / name, weights_only=True) for name in ("run.pt", "other.pt"))
    parts = saved.keys() - {"identity", "epochs", "best_weights", "scaler"}
    assert parts == {"network", "optimizer", "schedule"}
    for name in parts:
        torch.save({**saved, name: other[name]}, tmp_path / "mixed.pt")
        assert not same(run(False, tmp_path / "mixed.pt")[0], weights), name


# 33. Killed, or no room, while saving


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for the size of files")
def test_fault_33_disk_that_is_full_while_saving(tmp_path, refused):
    import resource

    path = tmp_path / "run.pt"
    run(True, path, epochs=1)
    before, old_limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, old_limit[1]))
    try:
        with refused(CheckpointError, match="could not be written") as caught:
            run(True, path, seed=99)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
    assert [epoch.epoch for epoch in caught.value.history.epochs] == [1, 2]
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_fault_33_process_that_is_killed_loses_at_most_one_epoch(tmp_path):
    soak = [sys.executable, "-W", "ignore", str(REPOSITORY_FOLDER / "benchmarks" / "soak.py")]
    options = ["--kills", "4", "--images", "0", "--pairs", "0", "--output", str(tmp_path / "soak.csv")]
    result = subprocess.run([*soak, *options], capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    assert ",4,4,0," in (tmp_path / "soak.csv").read_text()


# 35. Going on with something else


def test_fault_35_weights_under_other_names_are_refused(tmp_path, refused):
    run(True, tmp_path / "run.pt")
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    saved["network"] = {f"module.{name}": tensor for name, tensor in saved["network"].items()}
    torch.save(saved, tmp_path / "run.pt")
    model = seeded_net(is_frozen=True)
    before = state(model)
    with refused(CheckpointError, match="Missing key"):
        fit(model, Pictures(25), VAL, SETTINGS, tmp_path / "run.pt")
    assert same(state(model), before)


# 27. Written on a graphics card


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a file from a graphics card can be read as it is")
def test_fault_27_checkpoint_of_a_graphics_card_is_read_on_a_cpu(tmp_path, monkeypatch):
    expected = uninterrupted(True)
    with monkeypatch.context() as patch:  # tensors are written as if they lay on a graphics card
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
        run(True, tmp_path / "run.pt", epochs=2)
    with pytest.raises(RuntimeError, match="on a CUDA device"):
        torch.load(tmp_path / "run.pt", weights_only=True)
    assert_same(run(True, tmp_path / "run.pt", seed=99), expected)
