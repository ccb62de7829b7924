"""Gradient accumulation: a batch that goes through the network in parts makes the step of the whole batch."""

import pytest
import torch
from small_networks import Pictures, norm_net, some_settings, state
from torch import nn

from course_utils.training import loop
from course_utils.training.loop import fit


class Net(nn.Module):
    """A network without BatchNorm, in double precision: only a wrong gradient can make a difference."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.fc = nn.Linear(8, 3)
        self.sizes = []  # of the batches in train mode
        self.double()

    def forward(self, images):
        if self.training:
            self.sizes.append(len(images))
        return self.fc(self.conv(images.double()).relu().mean(dim=(2, 3)))


@pytest.fixture
def steps(monkeypatch):
    """Return a list to which the learning rate of every step of `fit` is added."""
    rates, adam = [], torch.optim.AdamW

    def spied_adam(*arguments, **options):
        optimizer = adam(*arguments, **options)
        optimizer.register_step_post_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
        return optimizer

    monkeypatch.setattr(loop.torch.optim, "AdamW", spied_adam)
    return rates


@pytest.mark.parametrize("images, batch_size, parts", [(40, 32, 4), (50, 16, 4), (64, 32, 4), (37, 8, 8)])
def test_fit_in_parts_gives_the_weights_of_whole_batches(in_float32, images, batch_size, parts):
    found = []
    for split_into in (1, parts):
        model = Net()
        settings = some_settings(epochs=3, batch_size=batch_size, grad_accum_steps=split_into)
        fit(model, Pictures(images), Pictures(9, seed=2), settings)
        assert max(model.sizes) <= batch_size / split_into
        found.append(state(model))
    for name, weights in found[0].items():
        torch.testing.assert_close(found[1][name], weights, rtol=0, atol=1e-12)


def test_fit_in_parts_makes_one_step_for_each_batch_and_its_schedule_ends_with_the_last(steps):
    model = Net()
    fit(model, Pictures(40), Pictures(9, seed=2), some_settings(batch_size=16, grad_accum_steps=4))
    assert model.sizes == 2 * [4, 4, 4, 4, 4, 4, 4, 4, 2, 2, 2, 2]
    whole = [0.01, 0.00933, 0.0075, 0.005, 0.0025, 0.00067]  # two epochs of three steps
    assert steps == pytest.approx(whole, abs=1e-5)


def test_fit_in_parts_leaves_no_single_image_to_batchnorm():
    history = fit(norm_net(), Pictures(19), Pictures(9, seed=2), some_settings(grad_accum_steps=4))
    assert len(history.epochs) == 2  # the last batch has three images, which make one part
