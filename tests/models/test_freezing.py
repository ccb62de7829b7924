"""Which layer is the head, which stages a backbone has, what is trained, and what freezing has to mean."""

import pytest
import torch
from small_networks import build_shapes, same, state
from torch import nn
from torchvision.models import get_model

from course_utils.errors import ConfigError
from course_utils.models.backbones import build_backbone
from course_utils.models.freezing import (
    eval_mode,
    find_head,
    freeze,
    freeze_batchnorm,
    only_head_trainable,
    replace_head,
    set_train_mode,
    stage_names,
    stage_parameters,
    thaw,
    trainable_parameters,
    without_head,
)


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return get_model("resnet18", num_classes=4)


def trainable_stages(model):
    stages = stage_parameters(model).items()
    return {name for name, parameters in stages if any(p.requires_grad for p in parameters)}


@pytest.mark.parametrize(
    ("name", "head", "features", "size", "stages"),
    [
        ("resnet18", "fc", 512, 64, ("conv1", "layer4", 6)),
        ("vgg11", "classifier.6", 4096, 64, ("features.0", "classifier.3", 10)),  # each layer
        ("densenet121", "classifier", 1024, 64, ("features.conv0", "features.denseblock4", 9)),
        ("mobilenet_v3_small", "classifier.3", 1024, 64, ("features.0", "classifier.0", 14)),
        ("convnext_tiny", "classifier.2", 768, 64, ("features.0", "features.7", 8)),
        ("vit_b_16", "heads.head", 768, 224, ("conv_proj", "encoder.layers.encoder_layer_11", 13)),
        ("maxvit_t", "classifier.5", 512, 224, None),  # without a bias
        ("regnet_y_400mf", "fc", 440, 64, None),
        ("shufflenet_v2_x0_5", "fc", 1024, 64, None),
        ("googlenet", "fc", 1024, 64, None),
        ("timm/convnext_atto", "head.fc", 320, 64, None),
        ("timm/tf_efficientnet_lite0", "classifier", 1280, 64, ("conv_stem", "conv_head", 10)),
        ("timm/vit_tiny_patch16_224", "head", 192, 224, ("patch_embed", "blocks.11", 13)),
    ],
)
def test_head_and_stages_of_every_family_are_found(name, head, features, size, stages):
    model = build_shapes(name).eval()
    names, parts = stage_names(model), stage_parameters(model)
    assert stages in (None, (names[0], names[-1], len(names)))
    assert list(parts) == [*names, head] and all(parts.values())
    found = [id(parameter) for own in parts.values() for parameter in own]
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters())

    assert find_head(model) == head
    pictures = torch.empty(2, 3, size, size, device="meta")
    of_head = [own for own, _ in model.named_parameters() if own.startswith(f"{head}.")]
    new = replace_head(model, num_classes=7)
    assert model.get_submodule(head) is new
    assert (new.in_features, new.out_features) == (features, 7)
    with without_head(model) as backbone:
        assert backbone(pictures).shape == (2, features)
    assert model.get_submodule(head) is new and model(pictures).shape == (2, 7)
    freeze(model)
    assert [own for own, parameter in model.named_parameters() if parameter.requires_grad] == of_head


def test_what_is_in_no_stage_goes_with_the_nearest():
    model = build_shapes("vit_b_16")
    stages = stage_parameters(model)
    assert any(parameter is model.class_token for parameter in stages["conv_proj"])
    last = stages["encoder.layers.encoder_layer_11"]
    assert any(parameter is model.encoder.ln.weight for parameter in last)


@pytest.mark.parametrize(
    ("down_to", "stages"),
    [
        (["layer4"], {"fc", "layer4"}),
        (["layer3", "layer4"], {"fc", "layer4", "layer3"}),  # less leaves what was thawed before
        (["conv1"], {"fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"}),
    ],
)
def test_thaw_goes_from_the_top_down_to_the_stage_named(resnet, down_to, stages):
    freeze(resnet)
    assert only_head_trainable(resnet)
    for stage in down_to:
        thaw(resnet, stage)
    assert trainable_stages(resnet) == stages
    assert not only_head_trainable(resnet)


@pytest.mark.parametrize("name", ["layer5", "fc"])
def test_unknown_stage_is_an_error_that_names_the_nearest(name, resnet):
    with pytest.raises(ConfigError, match="stage") as caught:
        thaw(resnet, name)
    assert name == "fc" or "Did you mean 'layer4'" in str(caught.value)


def test_only_the_head_is_trainable_or_something_else_or_nothing():
    model = build_shapes("resnet18")
    assert not only_head_trainable(model)
    freeze(model)
    assert only_head_trainable(model) and len(trainable_parameters(model)) == 2
    model.layer4[1].bn2.requires_grad_(True)
    assert not only_head_trainable(model)
    freeze(model, except_head=False)
    assert not only_head_trainable(model) and trainable_parameters(model) == []
    set_train_mode(model)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "timm/convnext_atto"]
)
def test_frozen_backbone_keeps_its_numbers_and_its_answers_in_train_mode(name):
    """BatchNorm would move 60 buffers of a ResNet; dropout would answer something else every time."""
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    model, images = build_backbone(name), torch.rand(2, 3, 32, 32) * 5 + 3
    replace_head(model, 3)
    freeze(model)
    before = state(model)
    set_train_mode(model)
    assert torch.equal(model(images), model(images))
    assert same(state(model), before)
    assert model.get_submodule(find_head(model)).training


class Dropping(nn.Module):
    """As GhostNet of timm does, it calls dropout between its parts, without a module."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 64, 3), nn.Linear(64, 3)

    def forward(self, images):
        features = self.conv(images).mean(dim=(2, 3))
        return self.fc(nn.functional.dropout(features, training=self.training))


def test_dropout_that_is_no_module_follows_the_layers_before_it():
    model, images = Dropping(), torch.rand(2, 3, 8, 8)
    freeze(model)
    set_train_mode(model)
    assert torch.equal(model(images), model(images))
    thaw(model, "conv")
    set_train_mode(model)
    assert not torch.equal(model(images), model(images))


def test_dropout_follows_the_layers_before_it():
    model = build_shapes("vgg11")
    dropouts = [model.classifier[2], model.classifier[5]]
    freeze(model)
    set_train_mode(model)
    assert [dropout.training for dropout in dropouts] == [False, False]
    model.classifier[3].requires_grad_(True)
    set_train_mode(model)
    assert [dropout.training for dropout in dropouts] == [False, True]
    model.requires_grad_(True)
    set_train_mode(model)
    assert all(module.training for module in model.modules())


def thaw_the_top(model):
    freeze(model)
    thaw(model, "layer4")


@pytest.mark.parametrize(
    ("prepare", "moving"), [(freeze_batchnorm, "none"), (thaw_the_top, "layer4"), (lambda model: None, "")]
)
def test_only_thawed_batchnorm_moves_its_statistics(resnet, prepare, moving):
    prepare(resnet)
    before = {name: buffer.clone() for name, buffer in resnet.named_buffers()}
    set_train_mode(resnet)
    resnet(torch.randn(4, 3, 32, 32))
    moved = {name for name, buffer in resnet.named_buffers() if not torch.equal(buffer, before[name])}
    assert moved == {name for name in before if name.startswith(moving)}


def test_eval_mode_gives_every_module_its_own_mode_back():
    model = build_shapes("resnet18").train()
    model.bn1.eval()
    with pytest.raises(ZeroDivisionError), eval_mode(model) as same:
        assert same is model and not any(module.training for module in model.modules())
        raise ZeroDivisionError
    assert [name for name, module in model.named_modules() if not module.training] == ["bn1"]


# The head


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "timm/convnext_atto"])
def test_head_on_features_is_the_whole_network(name):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    model, images = build_backbone(name).eval(), torch.rand(2, 3, 32, 32)
    head = model.get_submodule(find_head(model))
    with torch.inference_mode():
        with without_head(model) as backbone:
            features = backbone(images)
        torch.testing.assert_close(head(features), model(images))


def test_new_head_is_trainable_random_and_of_the_same_kind():
    model = build_backbone("shufflenet_v2_x0_5").double()
    freeze(model, except_head=False)
    first, second = replace_head(model, 3), replace_head(model, 3)
    assert first.weight.requires_grad and first.weight.dtype == torch.float64
    assert not torch.equal(first.weight, second.weight)


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet1_0",  # ends in a convolution
        "timm/resnetv2_50",  # in another convolution
        "timm/deit_tiny_distilled_patch16_224",  # in two heads
    ],
)
def test_network_whose_head_is_not_known_is_refused(name):
    for use in (find_head, freeze, lambda model: replace_head(model, 10), only_head_trainable):
        with pytest.raises(ConfigError, match="head of this network"):
            use(build_shapes(name))


@pytest.mark.parametrize("count", [1, True, "10", None])
def test_fault_25_number_of_classes(count):
    model = build_shapes("resnet18")
    with pytest.raises(ConfigError, match="num_classes") as caught:
        replace_head(model, count)
    assert repr(count) in caught.value.found
    assert model.fc.out_features == 1000
