"""Tests of the room `stages`: which parts a backbone has, and which of them are trained."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from course_utils.backbones import find_head, freeze, frozen_below_head, set_train_mode
from course_utils.errors import ConfigError
from course_utils.stages import freeze_batchnorm, stage_names, stage_of, thaw


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return get_model("resnet18", num_classes=4)


def trainable_stages(model):
    return {stage_of(name, model) for name, p in model.named_parameters() if p.requires_grad}


def test_a_resnet_has_six_stages_below_its_head(resnet):
    assert stage_names(resnet) == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize(
    ("name", "first", "last", "count"),
    [
        ("vgg11", "features.0", "classifier", 9),
        ("efficientnet_b0", "features.0", "features.8", 9),
        ("convnext_tiny", "features.0", "classifier", 9),
        ("vit_b_16", "conv_proj", "encoder.ln", 14),
    ],
)
def test_other_families_have_stages_too(name, first, last, count):
    with torch.device("meta"):
        names = stage_names(get_model(name))
    assert (names[0], names[-1], len(names)) == (first, last, count)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "efficientnet_b0", "vit_b_16"])
def test_every_parameter_belongs_to_a_stage_or_to_the_head(name):
    with torch.device("meta"):
        model = get_model(name)
    places = {*stage_names(model), find_head(model)}
    assert {stage_of(parameter, model) for parameter, _ in model.named_parameters()} == places


def test_a_parameter_of_no_stage_belongs_to_the_first():
    with torch.device("meta"):
        model = get_model("vit_b_16")
    assert stage_of("class_token", model) == "conv_proj"


@pytest.mark.parametrize(
    ("down_to", "stages"),
    [
        ("layer4", {"fc", "layer4"}),
        ("layer2", {"fc", "layer4", "layer3", "layer2"}),
        ("conv1", {"fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"}),
    ],
)
def test_thaw_goes_from_the_top_down_to_the_stage_named(resnet, down_to, stages):
    freeze(resnet)
    thaw(resnet, down_to)
    assert trainable_stages(resnet) == stages


def test_thawing_less_leaves_what_was_thawed_before(resnet):
    freeze(resnet)
    thaw(resnet, "layer3")
    thaw(resnet, "layer4")
    assert trainable_stages(resnet) == {"fc", "layer4", "layer3"}


def test_unknown_stage_is_an_error_that_names_the_nearest(resnet):
    with pytest.raises(ConfigError, match="Did you mean 'layer4'"):
        thaw(resnet, "layer5")


def buffers(model):
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "thawed"])
def test_a_frozen_batchnorm_keeps_its_statistics_in_a_thawed_network(resnet, keep):
    if keep:
        freeze_batchnorm(resnet)
    before = buffers(resnet)
    set_train_mode(resnet)
    resnet(torch.randn(4, 3, 32, 32))
    unchanged = [torch.equal(buffer, before[name]) for name, buffer in resnet.named_buffers()]
    assert all(unchanged) if keep else not any(unchanged)


def test_freezing_batchnorm_leaves_every_other_layer_trainable(resnet):
    freeze_batchnorm(resnet)
    left = {type(module) for module in resnet.modules() for p in module.parameters(False) if p.requires_grad}
    assert left == {nn.Conv2d, nn.Linear}


def test_a_thawed_stage_means_that_the_network_is_not_frozen_below_its_head(resnet):
    freeze(resnet)
    assert frozen_below_head(resnet)
    thaw(resnet, "layer4")
    assert not frozen_below_head(resnet)
