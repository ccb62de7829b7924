"""Precision: bfloat16 where the machine has it, float32 where it has not; the random numbers of an epoch."""

import random

import numpy as np
import pytest
import torch
from small_networks import set_bfloat16
from torch import nn

import course_utils.training.acceleration as acceleration
from course_utils.data.loaders import preserve_rng_state
from course_utils.training.acceleration import make_accelerator, seed_epoch

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
