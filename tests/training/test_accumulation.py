"""Gradient accumulation: a batch that goes through the network in parts makes the step of the whole batch."""

import pytest
import torch
from small_networks import Pictures, norm_net, some_settings, state
from torch import nn

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


def test_fit_in_parts_leaves_no_single_image_to_batchnorm():
    history = fit(norm_net(), Pictures(19), Pictures(9, seed=2), some_settings(grad_accum_steps=4))
    assert len(history.epochs) == 2  # the last batch has three images, which make one part
