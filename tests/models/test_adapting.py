"""Files with what was trained, and nothing else."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_networks import Pictures, same, seeded_net, some_settings, state
from torch import nn

from course_utils.errors import CheckpointError, ConfigError
from course_utils.models.adapting import (
    load_trained,
    save_trained,
    trained_entries,
)
from course_utils.models.freezing import freeze, replace_head
from course_utils.training.loop import fit

PICTURES = Pictures(12, size=8)


def trained(prepare):
    """Return a network after two epochs on a few pictures."""
    model = seeded_net(is_frozen=True)
    prepare(model)
    fit(model, PICTURES, PICTURES, some_settings(batch_size=6))
    return model


def with_two_classes():
    model = seeded_net(is_frozen=True)
    replace_head(model, 2)
    return model


@pytest.mark.parametrize(
    "prepare", [freeze, lambda model: model.norm.requires_grad_(True), nn.Module.requires_grad_]
)
def test_all_that_training_changed_is_in_the_file_and_nothing_else_is(prepare, tmp_path):
    model = trained(prepare)
    before, entries = seeded_net(is_frozen=True).state_dict(), trained_entries(model)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed <= set(entries)
    save_trained(model, tmp_path / "trained.safetensors")
    assert set(load_file(tmp_path / "trained.safetensors")) == set(entries)
    received = seeded_net(is_frozen=True)
    load_trained(received, tmp_path / "trained.safetensors")
    assert same(received.state_dict(), model.state_dict())


def test_nothing_trainable_is_an_error():
    with pytest.raises(ConfigError, match="No parameter is trainable"):
        trained_entries(seeded_net().requires_grad_(False))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: seeded_net(is_frozen=True, seed=1), "another backbone"),
        (lambda: with_two_classes(), "or of another shape: fc.bias, fc.weight"),
    ],
)
def test_another_backbone_is_refused_and_left_as_it_was(other, message, tmp_path):
    save_trained(seeded_net(is_frozen=True), tmp_path / "trained.safetensors")
    model = other()
    before = state(model)
    with pytest.raises(CheckpointError, match=message):
        load_trained(model, tmp_path / "trained.safetensors")
    assert same(state(model), before)


def damaged(path):
    path.write_bytes(path.read_bytes()[:-7])


def without_the_hash(path):
    save_file(load_file(path), path)


@pytest.mark.parametrize("harm", [damaged, without_the_hash, lambda path: path.unlink()])
def test_a_file_that_is_not_sound_is_reported_with_its_place(harm, tmp_path, refused):
    path = tmp_path / "trained.safetensors"
    save_trained(seeded_net(is_frozen=True), path)
    harm(path)
    with refused(CheckpointError, match="cannot be loaded", where=path):
        load_trained(seeded_net(is_frozen=True), path)
