"""Precision: bfloat16 where the machine has it, float32 where it has not, and gradients that are not lost."""

import random

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from small_networks import Pictures, set_bfloat16
from torch import nn

import course_utils.training.acceleration as acceleration
from course_utils.data.loaders import preserve_rng_state
from course_utils.settings import Settings
from course_utils.training.acceleration import make_accelerator, seed_epoch
from course_utils.training.loop import fit

CPU = torch.device("cpu")


def draws(seed, epoch, process):
    """Return the order of an epoch on a process, and its first number from each of the other sources."""
    order = torch.Generator()
    seed_epoch(seed, epoch, process, order)
    others = [random.random(), np.random.rand(), torch.rand(1).item()]
    return torch.randperm(50, generator=order).tolist(), others


def test_seed_epoch_gives_all_processes_one_order_and_each_its_own_random_numbers():
    with preserve_rng_state():
        first = draws(3, 2, 0)
        assert draws(3, 2, 0) == first
        assert draws(3, 2, 1)[0] == first[0]
        for other in (draws(3, 2, 1), draws(3, 1, 0), draws(2, 3, 0)):
            assert not set(other[1]) & set(first[1])
        assert draws(3, 1, 0)[0] != first[0] != draws(2, 3, 0)[0]


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def has_bfloat16(request, monkeypatch):
    set_bfloat16(monkeypatch, request.param)
    return request.param


def test_layers_run_in_bfloat16_only_where_the_processor_has_it(has_bfloat16):
    assert acceleration.multiplies_bfloat16(CPU) == has_bfloat16
    assert not acceleration.multiplies_bfloat16(torch.device("meta"))  # a device that is not known
    with make_accelerator(CPU).autocast():
        outputs = nn.Linear(4, 3)(torch.zeros(2, 4))
        loss = nn.functional.cross_entropy(outputs, torch.tensor([0, 1]))
    assert outputs.dtype == (torch.bfloat16 if has_bfloat16 else torch.float32)
    assert loss.dtype == torch.float32


def test_a_step_within_the_context_is_seen_by_the_next_forward_pass(has_bfloat16):
    layer, inputs = nn.Linear(4, 3), torch.ones(2, 4)
    with make_accelerator(CPU).autocast():
        before = layer(inputs)
        before.sum().backward()
        with torch.no_grad():
            layer.weight += 1
        after = layer(inputs)
    assert torch.allclose(after.float(), before.float() + 4, atol=0.1)


PICTURES = Pictures(16, size=32)


def gradients_of(parameter):
    """Return a list to which every gradient of a parameter is added."""
    found = []
    parameter.register_post_accumulate_grad_hook(lambda held: found.append(held.grad.clone()))
    return found


class Faint(nn.Module):
    """A network whose head weighs so little that the gradients below it are about 1e-9."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 3)
        with torch.no_grad():
            self.fc.weight.fill_(1e-6)[0] *= 2

    def forward(self, images):
        return self.fc(self.conv(images).mean(dim=(2, 3)))


@pytest.fixture
def in_float16(monkeypatch):
    """Let this CPU compute as an older graphics card does: accelerate has float16 on cards only."""
    monkeypatch.setattr(acceleration, "fastest_dtype", lambda device: torch.float16)
    make = Accelerator.__init__

    def make_with_a_scaler(self, **options):
        make(self, **options)
        self.native_amp, self.scaler = True, torch.amp.GradScaler("cpu")

    monkeypatch.setattr(Accelerator, "__init__", make_with_a_scaler)


SMALL = Settings(epochs=1, batch_size=8, lr=1e-6, device="cpu")


def test_fit_keeps_small_gradients_in_float16(in_float16):
    model = Faint()
    gradients = gradients_of(model.conv.weight)
    fit(model, PICTURES, PICTURES, SMALL)
    assert gradients[0].abs().max() > 0
