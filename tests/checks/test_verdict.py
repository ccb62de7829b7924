"""What every check promises: everything that it was given comes back as it was."""

import copy
import random

import numpy as np
import pytest
import torch
from wrong_answers_lessons_02_to_04 import network

from course_utils import checks


def spoil(model, *_):
    """Do to a network everything that a check must undo."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.zero_()
    for parameter in model.parameters():
        parameter.requires_grad = parameter.ndim > 1  # thaws convolutions, and freezes the head's bias
        parameter.grad = torch.ones_like(parameter)
    model.train()
    model.fc = torch.nn.Identity()
    model.layer2.double()
    random.random(), np.random.rand(), torch.rand(1)
    return 3


def random_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("name", ["parameter_count", "optimizer_holds", "frozen_by_hand"])
def test_a_quiet_check_gives_everything_back_as_it_was(name, capsys):
    model = copy.deepcopy(network())
    model.fc.weight.grad = torch.full_like(model.fc.weight, 2.0)
    model.layer1.train()
    before, states = copy.deepcopy(model), random_states()
    for _ in range(2):
        getattr(checks, name)(spoil, model, quiet=True)
    assert random_states() == states and capsys.readouterr().out == ""
    ours, theirs = before.state_dict(), model.state_dict()
    assert all(torch.equal(ours[entry], theirs[entry]) for entry in ours)
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert [module.training for module in model.modules()] == [m.training for m in before.modules()]
    assert (model.fc.weight.grad == 2).all()
    assert model.layer1[0].conv1.weight.grad is None
