"""Tests of Grad-CAM and t-SNE: heat is where the evidence is, and neighbours stay together."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from small_networks import same, state
from torch import nn
from torchvision import models

from course_utils.errors import ConfigError
from course_utils.evaluation.explanations import as_grid, grad_cam, gradcam_layer, tsne_embedding


class Quadrants(nn.Module):
    """Two classes, made by hand: class 0 is red anywhere, class 1 is blue anywhere."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 2, kernel_size=4, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            self.stem.weight.zero_()
            self.stem.weight[0, 0] = self.stem.weight[1, 2] = 1 / 16
            self.fc.weight.copy_(torch.eye(2))
            self.fc.bias.zero_()

    def forward(self, images):
        positions = self.norm(self.stem(images))
        return self.fc(self.dropout(positions.relu().mean(dim=(2, 3))))


def build(name):
    torch.manual_seed(0)
    if name in ("googlenet", "inception_v3"):
        return models.get_model(name, aux_logits=False, init_weights=False)
    return models.get_model(name)


def test_heatmap_is_captum_s():
    model = build("resnet18").eval()
    image = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    heat = LayerGradCam(model, model.layer3).attribute(image.unsqueeze(0), 7, relu_attributions=True)
    heat = nn.functional.interpolate(heat, size=(64, 64), mode="bilinear")[0, 0].detach()
    torch.testing.assert_close(grad_cam(model, image, 7), heat / heat.max(), atol=1e-4, rtol=1e-4)


def test_tokens_are_laid_out_row_by_row_without_those_of_the_whole_picture():
    tokens = torch.arange(2 * 11 * 5.0).view(2, 11, 5)  # two of the picture, and 3 × 3
    grid = as_grid(tokens)
    assert grid.shape == (2, 5, 3, 3)
    assert torch.equal(grid[1, :, 1, 2], tokens[1, 2 + 3 + 2])
    assert as_grid(grid) is grid


@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "thawed"])
def test_grad_cam_leaves_the_network_as_it_was(trainable):
    model = Quadrants().train().requires_grad_(trainable)
    model.fc.requires_grad_(True)
    model.norm.eval()
    before = state(model)
    image = torch.rand(3, 32, 32)
    grad_cam(model, image, 0)
    assert [model.training, model.norm.training, model.dropout.training] == [True, False, True]
    assert same(state(model), before)
    *rest, weight, bias = (p.requires_grad for p in model.parameters())
    assert set(rest) == {trainable} and weight and bias
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert not image.requires_grad


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("resnet18", 64, "layer3"),  # layer4 has 2 × 2 positions there
        ("resnet18", 224, "layer4"),
        ("vgg11", 64, "features.18"),
        ("densenet121", 128, "features.denseblock4"),
        ("mobilenet_v3_small", 128, "features.12"),
        ("googlenet", 128, "inception5b"),
        ("vit_b_32", 224, "encoder.layers.encoder_layer_10"),
    ],
)
def test_gradcam_layer_is_found_in_every_family(name, size, layer):
    model, image = build(name).requires_grad_(False), torch.randn(3, size, size)
    assert gradcam_layer(model, image) == layer
    heat = grad_cam(model, image, 3)
    assert heat.shape == (size, size)
    assert heat.min() >= 0 and heat.max() <= 1


@pytest.mark.parametrize(
    ("size", "target", "message"), [(12, 0, "image_size"), (32, -1, "from 0 to 1"), (32, 2, "from 0 to 1")]
)
def test_a_small_picture_or_an_unknown_class_is_an_error(size, target, message):
    with pytest.raises(ConfigError, match=message):
        grad_cam(Quadrants(), torch.zeros(3, size, size), target)


def test_gradcam_layer_refuses_a_network_whose_channels_come_last():
    with pytest.raises(ConfigError, match="Grad-CAM needs"):
        gradcam_layer(build("swin_t"), torch.zeros(3, 224, 224))


def random_features(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), requires_grad=True)


@pytest.mark.parametrize("scale", [0, 1e-30, 1e-14])
def test_map_of_features_that_hardly_differ_can_be_drawn(scale):
    """Where the spread is 0, scikit-learn's start on the main axes ends the whole process."""
    alike = torch.tensor([[-0.0269, -0.0045, 0.0088]]).repeat(30, 1)  # to numpy, their spread is not quite 0
    for features in (scale * random_features(30, 5), alike + scale):
        assert np.isfinite(tsne_embedding(features)).all()


@pytest.mark.parametrize("images", [0, 1])
def test_map_of_one_image_is_an_error(images):
    with pytest.raises(ConfigError):
        tsne_embedding(torch.zeros(images, 5))
