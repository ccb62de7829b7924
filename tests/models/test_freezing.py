"""Tests of the room `stages`: which parts a backbone has, and which of them are trained."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from course_utils.data.backbone_inputs import build_backbone
from course_utils.errors import ConfigError
from course_utils.models.freezing import (
    freeze,
    freeze_batchnorm,
    only_head_trainable,
    set_train_mode,
    stage_names,
    stage_parameters,
    thaw,
)
from course_utils.models.heads import find_head


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return get_model("resnet18", num_classes=4)


def built(name):
    """Build a network on the meta device: its shapes, no numbers."""
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    with torch.device("meta"):
        return build_backbone(name)


def trainable_stages(model):
    stages = stage_parameters(model).items()
    return {name for name, parameters in stages if any(p.requires_grad for p in parameters)}


def test_a_resnet_has_six_stages_below_its_head(resnet):
    assert stage_names(resnet) == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize(
    ("name", "first", "last", "count"),
    [
        ("vgg11", "features.0", "classifier.3", 10),  # each layer, also those of the head's own chain
        ("mobilenet_v2", "features.0", "features.18", 19),
        ("mobilenet_v3_small", "features.0", "classifier.0", 14),
        ("efficientnet_b0", "features.0", "features.8", 9),
        ("densenet121", "features.conv0", "features.denseblock4", 9),  # not the normalisation after it
        ("convnext_tiny", "features.0", "features.7", 8),
        ("vit_b_16", "conv_proj", "encoder.layers.encoder_layer_11", 13),
        ("swin_t", "features.0", "features.7", 8),
        ("timm/tf_efficientnet_lite0", "conv_stem", "conv_head", 10),
        ("timm/vit_tiny_patch16_224", "patch_embed", "blocks.11", 13),
    ],
)
def test_other_families_have_stages_too(name, first, last, count):
    names = stage_names(built(name))
    assert (names[0], names[-1], len(names)) == (first, last, count)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "mobilenet_v3_small", "convnext_tiny", "vit_b_16"])
def test_every_parameter_is_in_one_stage_or_in_the_head(name):
    model = built(name)
    stages = stage_parameters(model)
    assert list(stages) == [*stage_names(model), find_head(model)]
    found = [id(parameter) for parameters in stages.values() for parameter in parameters]
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters())
    assert all(stages.values())


def test_what_is_in_no_stage_goes_with_the_nearest():
    model = built("vit_b_16")
    stages = stage_parameters(model)
    assert any(parameter is model.class_token for parameter in stages["conv_proj"])
    last = stages["encoder.layers.encoder_layer_11"]
    assert any(parameter is model.encoder.ln.weight for parameter in last)


def test_the_top_stage_of_a_chain_does_not_hold_the_head():
    model = built("vgg11")
    freeze(model)
    thaw(model, "classifier.3")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"classifier.3.weight", "classifier.3.bias", "classifier.6.weight", "classifier.6.bias"}


def test_a_network_may_be_nothing_but_a_head():
    model = nn.Sequential(OrderedDict(fc=nn.Linear(3, 2)))
    assert list(stage_parameters(model)) == ["fc"] and stage_names(model) == []


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
    assert only_head_trainable(resnet)
    thaw(resnet, "layer4")
    assert not only_head_trainable(resnet)
