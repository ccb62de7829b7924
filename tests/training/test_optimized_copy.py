"""The optimized copy of a frozen network gives nearly its output, and leaves the network as it was."""

import copy

import pytest
import torch
from small_networks import SmallNet
from torch import nn
from torchvision.models import get_model

from course_utils.data.splits import load_splits
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import without_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training import features
from course_utils.training.features import extract_features, fuse_conv_bn, is_library_model, optimized_copy

CPU = torch.device("cpu")


def network(name):
    """A network with BatchNorm layers that do something."""
    torch.manual_seed(0)
    model = get_model(name).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def distance(one, other):
    """The relative distance of two tensors."""
    return float((one.float() - other.float()).norm() / other.float().norm())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
@torch.inference_mode()
def test_a_folded_network_says_the_same(name):
    model, images = network(name).double(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    folded = fuse_conv_bn(model)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-10, atol=1e-12)
    assert name != "resnet18" or nn.BatchNorm2d not in {type(module) for module in folded.modules()}


@torch.inference_mode()
def test_folding_and_running_leave_the_network_as_it_was():
    model = network("resnet18")
    before, images = copy.deepcopy(model.state_dict()), torch.randn(2, 3, 64, 64)
    optimized_copy(model, CPU)(images)
    fuse_conv_bn(model)(images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not any(module.training for module in model.modules())


class Branching(nn.Module):
    """PyTorch cannot trace what depends on the numbers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images):
        return self.norm(self.conv(images)) if images.mean() > 100 else self.conv(images)


@torch.inference_mode()
def test_what_cannot_be_traced_is_copied_as_it_is():
    model, images = Branching().eval(), torch.randn(2, 3, 8, 8)
    copied = fuse_conv_bn(model)
    assert copied is not model
    assert not copied.norm.training
    assert torch.equal(copied(images), model(images))


@torch.inference_mode()
def test_features_are_those_of_torchvisions_own_preprocessing_of_each_image(in_float32):
    settings = Settings(images_per_class=8)
    dataset = load_splits(settings).train
    model = load_backbone(backbone_weights(settings)).eval()
    with without_head(model) as backbone:
        expected = backbone(torch.stack([image for image, _ in dataset]))
        assert optimized_copy(backbone, CPU)(dataset[0][0][None]).dtype == torch.float32
    assert distance(extract_features(model, dataset).tensors[0], expected) < 0.01


def with_a_hook():
    model = network("alexnet")
    model.features.register_forward_hook(lambda *_: None)
    return model


def with_a_forward_of_its_own():
    model = network("alexnet")
    model.forward = lambda images: images.mean(dim=(2, 3))
    return model


OTHERS = {"your own": SmallNet, "a hook": with_a_hook, "another forward": with_a_forward_of_its_own}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_a_network_that_is_not_the_libraries_own_is_used_itself(monkeypatch, make):
    model = make().eval()
    monkeypatch.setattr(features, "fuse_conv_bn", lambda network: pytest.fail("a copy of an unknown network"))
    assert not is_library_model(model)
    with torch.inference_mode():
        assert torch.isfinite(optimized_copy(model, CPU)(torch.randn(2, 3, 64, 64))).all()
