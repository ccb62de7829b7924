"""Learning rates: how large a step is, for each stage and at each moment."""

import math

import pytest
import torch
from small_networks import Pictures, same, state
from torch import nn
from torchvision.models import get_model

from course_utils.errors import ConfigError
from course_utils.models.freezing import freeze, thaw, trainable_parameters
from course_utils.settings import Settings
from course_utils.training.learning_rates import lr_range_test
from course_utils.training.loop import cosine_schedule, fit, parameter_groups

PICTURES = Pictures(32, size=32)


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return get_model("resnet18", num_classes=3)


@pytest.mark.parametrize("down_to", ["layer3", "conv1"])
def test_the_groups_hold_every_trainable_parameter_once_and_no_frozen_one(resnet, down_to):
    freeze(resnet)
    thaw(resnet, down_to)
    groups = parameter_groups(resnet, lr=0.1, layer_lr_decay=0.5)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in trainable_parameters(resnet))
    stages = ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]
    assert [group["name"] for group in groups] == stages[: stages.index(down_to) + 1]
    assert [group["lr"] for group in groups] == pytest.approx([0.1 * 0.5**n for n in range(len(groups))])


COSINE = [0.05 * (1 + math.cos(math.pi * step / 10)) for step in range(11)]
AFTER_A_WARM_UP = [0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(7)]


@pytest.mark.parametrize(
    ("warmup_steps", "expected"),
    [(0, COSINE), (4, [0.02, 0.04, 0.06, 0.08, *AFTER_A_WARM_UP])],
)
def test_learning_rate_warms_up_in_a_straight_line_and_falls_to_zero_along_half_a_cosine(
    warmup_steps, expected
):
    optimizer, rates = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), []
    schedule = cosine_schedule(optimizer, steps=10, warmup_steps=warmup_steps)
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(expected, abs=1e-9)


def test_fit_takes_decay_and_warm_up_from_the_settings(monkeypatch, resnet):
    import course_utils.training.loop as training

    seen = []

    def spy(network, loader, optimizer, *arguments):
        seen.append([group["lr"] for group in optimizer.param_groups])
        return 1.0, 0.5

    monkeypatch.setattr(training, "train_one_epoch", spy)
    some = Settings(epochs=1, batch_size=8, lr=0.1, layer_lr_decay=0.5, warmup_epochs=0.75, device="cpu")
    fit(resnet, PICTURES, Pictures(8, size=32), some)
    assert seen[0] == pytest.approx([0.1 / 4 * 0.5**depth for depth in range(7)])  # 4 batches, 3 to warm up


def test_range_test_raises_the_rate_step_by_step_and_changes_nothing(resnet):
    before = state(resnet)
    resnet.eval()
    settings = Settings(batch_size=8, device="cpu")
    table = lr_range_test(resnet, PICTURES, settings, lowest=1e-6, highest=1e-3, steps=7)
    assert list(table.lr) == pytest.approx([1e-6 * 10 ** (n / 2) for n in range(7)])
    assert same(state(resnet), before)
    assert not resnet.training
    assert all(parameter.grad is None for parameter in resnet.parameters())


def test_range_test_ends_when_the_loss_explodes(resnet):
    table = lr_range_test(resnet, PICTURES, Settings(batch_size=8, device="cpu"), highest=1e4, steps=30)
    assert len(table) < 30
    assert not table.loss.iloc[-1] <= 4 * table.loss.iloc[0]
    assert (table.loss.iloc[:-1] <= 4 * table.loss.iloc[0]).all()


def test_range_test_refuses_a_frozen_network(resnet):
    freeze(resnet, except_head=False)
    with pytest.raises(ConfigError, match="No parameter is trainable"):
        lr_range_test(resnet, PICTURES, Settings(device="cpu"))
