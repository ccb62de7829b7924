"""Which layer is the head, and how it is replaced and taken off."""

import pytest
import torch
from small_networks import build_shapes
from torchvision import models

from course_utils.data import build_backbone
from course_utils.errors import ConfigError
from course_utils.models import find_head, freeze, only_head_trainable, replace_head, without_head


@pytest.mark.parametrize(
    "name, head, features, size",
    [
        ("resnet18", "fc", 512, 64),
        ("resnet50", "fc", 2048, 64),
        ("vgg11", "classifier.6", 4096, 64),
        ("densenet121", "classifier", 1024, 64),
        ("mobilenet_v3_small", "classifier.3", 1024, 64),
        ("efficientnet_b0", "classifier.1", 1280, 64),
        ("convnext_tiny", "classifier.2", 768, 64),
        ("vit_b_16", "heads.head", 768, 224),
        ("swin_t", "head", 768, 64),
        ("regnet_y_400mf", "fc", 440, 64),
        ("shufflenet_v2_x0_5", "fc", 1024, 64),
        ("googlenet", "fc", 1024, 64),
        ("inception_v3", "fc", 2048, 96),
        ("timm/resnet18", "fc", 512, 64),
        ("timm/convnext_atto", "head.fc", 320, 64),
        ("timm/vit_tiny_patch16_224", "head", 192, 224),
    ],
)
def test_head_of_every_family_is_found_replaced_taken_off_and_left_trainable(name, head, features, size):
    model = build_shapes(name).eval()
    pictures = torch.empty(2, 3, size, size, device="meta")
    assert find_head(model) == head
    new = replace_head(model, num_classes=7)
    assert model.get_submodule(head) is new
    assert (new.in_features, new.out_features) == (features, 7)
    with without_head(model) as backbone:
        assert backbone(pictures).shape == (2, features)
    assert model.get_submodule(head) is new
    assert model(pictures).shape == (2, 7)
    freeze(model)
    trainable = [own for own, parameter in model.named_parameters() if parameter.requires_grad]
    assert trainable == [f"{head}.weight", f"{head}.bias"]


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


def test_head_is_put_back_after_an_error():
    model = build_shapes("resnet18")
    head = model.fc
    with pytest.raises(ZeroDivisionError), without_head(model):
        raise ZeroDivisionError
    assert model.fc is head


def test_new_head_is_trainable_random_and_of_the_same_kind():
    model = build_backbone("shufflenet_v2_x0_5").double()
    freeze(model, except_head=False)
    first, second = replace_head(model, 3), replace_head(model, 3)
    assert first.weight.requires_grad and first.weight.dtype == torch.float64
    assert not torch.equal(first.weight, second.weight)


@pytest.mark.parametrize(
    "use", [find_head, freeze, lambda model: replace_head(model, 10), only_head_trainable]
)
@pytest.mark.parametrize(
    "name",
    [
        "squeezenet1_0",  # ends in a convolution
        "timm/deit_tiny_distilled_patch16_224",  # has two heads; with one replaced it fails in mid-training
    ],
)
def test_network_whose_head_is_not_known_is_refused(name, use, assert_says_four_things):
    with pytest.raises(ConfigError, match="head of this network") as caught:
        use(build_shapes(name))
    assert_says_four_things(caught.value)


@pytest.mark.parametrize("count", [0, 1, -3, True, "10", 10.0, None])
def test_fault_25_number_of_classes(count, assert_says_four_things):
    if count == 1:  # a network that has one answer to everything, without a word
        assert models.shufflenet_v2_x0_5(num_classes=1).fc.out_features == 1
    model = build_shapes("resnet18")
    with pytest.raises(ConfigError, match="num_classes") as caught:
        replace_head(model, count)
    assert_says_four_things(caught.value)
    assert repr(count) in caught.value.found
    assert model.fc.out_features == 1000
