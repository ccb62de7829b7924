"""Biases and BatchNorm alone, and files with what was trained."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import TensorDataset

from course_utils.errors import CheckpointError, ConfigError
from course_utils.models import (
    freeze,
    load_trained,
    save_trained,
    thaw_batchnorm,
    thaw_biases,
    trained_entries,
)
from course_utils.settings import Settings
from course_utils.training import fit


class Small(nn.Module):
    """Two convolutions with a BatchNorm each, and a head."""

    def __init__(self, seed=0, channels=4):
        torch.manual_seed(seed)
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, bias=False), nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, 2)
        freeze(self)

    def forward(self, images):
        hidden = self.bn1(self.conv1(images)).relu()
        return self.fc(self.bn2(self.conv2(hidden)).relu().mean(dim=(2, 3)))


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def trained(prepare, seed=0):
    """Return a network after one epoch on a few images, and those images."""
    model = Small(seed)
    prepare(model)
    images = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 2
    data = TensorDataset(images, torch.arange(12) % 2)
    data.classes = ["a", "b"]
    fit(model, data, data, Settings(epochs=2, batch_size=6, lr=0.01), cache_features=False)
    return model, images


def test_biases_alone_are_thawed_beside_the_head():
    model = Small()
    thaw_biases(model)
    assert trainable(model) == {"conv1.bias", "bn1.bias", "bn2.bias", "fc.weight", "fc.bias"}


def test_batchnorm_alone_is_thawed_beside_the_head():
    model = Small()
    thaw_batchnorm(model)
    norms = {f"{norm}.{part}" for norm in ("bn1", "bn2") for part in ("weight", "bias")}
    assert trainable(model) == norms | {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("prepare", [freeze, thaw_biases, thaw_batchnorm, nn.Module.requires_grad_])
def test_all_that_training_changed_is_in_the_file_and_nothing_else_is(prepare, tmp_path):
    model, images = trained(prepare)
    before, entries = Small().state_dict(), trained_entries(model)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed <= set(entries)
    save_trained(model, tmp_path / "trained.safetensors")
    assert set(load_file(tmp_path / "trained.safetensors")) == set(entries)
    received = Small()
    load_trained(received, tmp_path / "trained.safetensors")
    assert torch.allclose(received.eval()(images), model.eval()(images), atol=1e-5)


def test_running_statistics_of_a_thawed_batchnorm_are_entries_and_of_a_frozen_one_are_not():
    model = Small()
    assert set(trained_entries(model)) == {"fc.weight", "fc.bias"}
    thaw_batchnorm(model)
    assert {"bn1.running_mean", "bn1.running_var", "bn2.num_batches_tracked"} < set(trained_entries(model))


def test_nothing_trainable_is_an_error():
    model = Small()
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing to train"):
        trained_entries(model)


def test_another_backbone_is_refused_and_left_as_it_was(tmp_path):
    model, _ = trained(thaw_biases)
    save_trained(model, tmp_path / "trained.safetensors")
    other = Small(seed=1)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(CheckpointError, match="another backbone"):
        load_trained(other, tmp_path / "trained.safetensors")
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in before.items())


def damaged(path):
    path.write_bytes(path.read_bytes()[:-7])


def without_the_hash(path):
    save_file(load_file(path), path)


def not_a_number(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(path) | {"fc.bias": torch.full((2,), torch.nan)}, path, metadata)


@pytest.mark.parametrize("harm", [damaged, without_the_hash, not_a_number, lambda path: path.unlink()])
def test_a_file_that_is_not_sound_is_reported_with_its_place(harm, tmp_path):
    path = tmp_path / "trained.safetensors"
    save_trained(Small(), path)
    harm(path)
    with pytest.raises(CheckpointError, match="cannot be loaded") as raised:
        load_trained(Small(), path)
    assert str(path) in str(raised.value)


def test_a_network_of_another_form_is_told_which_entry_does_not_fit(tmp_path):
    save_trained(Small(), tmp_path / "trained.safetensors")
    with pytest.raises(CheckpointError, match=r"fc\.weight: \[2, 4\], where the network has \[2, 5\]"):
        load_trained(Small(channels=5), tmp_path / "trained.safetensors")
