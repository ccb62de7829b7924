"""Pretrained networks and the device on which they run. Files of weights: see test_weight_files.py."""

import copy
import re
from collections import OrderedDict

import pytest
import torch
from small_networks import same
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum

from course_utils.errors import CheckpointError, ConfigError
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import choose_device
from course_utils.models.saving import load_model, save_model
from course_utils.models.weights import backbone_weights, classifier_names
from course_utils.settings import Settings

LARGE = ("alexnet", "convnext_tiny", "vgg11", "vit_b_16")
SMALLEST = ["densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5"]
SMALLEST += ["mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5"]
SMALLEST += ["squeezenet1_1", "swin_t"]
NAMES_ON_THE_WEB = {
    "densenet121": (r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2"),
    "vit_b_16": (r"\.mlp\.([03])\.", lambda found: ".mlp.linear_1." if found[1] == "0" else ".mlp.linear_2."),
}


def published(name):
    """Return a state dict as torchvision's file on the web has it, with the names that its code translates.

    No file is younger than `num_batches_tracked`; MNASNet's has the version of the network.
    """
    auxiliary = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model, state = models.get_model(name, **auxiliary), OrderedDict()
    for entry, tensor in model.state_dict().items():
        if not entry.endswith("num_batches_tracked"):
            published_name = re.sub(*NAMES_ON_THE_WEB.get(name, ("", "")), entry)
            state[published_name] = torch.rand_like(tensor) if tensor.is_floating_point() else tensor
    if name.startswith("mnasnet"):
        state._metadata = {"": {"version": 2}}
    return state


def test_every_family_of_torchvision_is_tried():
    module = {name: models.get_model_builder(name).__module__ for name in classifier_names()}
    assert {module[name] for name in (*SMALLEST, *LARGE)} == set(module.values())


@pytest.mark.parametrize(
    "name", [*SMALLEST, *(pytest.param(name, marks=pytest.mark.kernels) for name in LARGE)]
)
def test_published_weights_of_every_family_load_are_saved_and_load_again(name, tmp_path, monkeypatch):
    for init in ("trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "normal_", "xavier_uniform_"):
        monkeypatch.setattr(nn.init, init, lambda tensor, *_, **__: tensor)  # which is slow
    state, entry = published(name), models.get_model_weights(name).DEFAULT
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: copy.copy(state))
    theirs = models.get_model(name, weights=entry).state_dict()
    monkeypatch.setattr("course_utils.models.weights.read_hub", lambda weights: state)
    model = load_backbone(entry)
    ours = model.state_dict()
    assert ours and all(torch.equal(tensor, theirs[own]) for own, tensor in ours.items())
    assert getattr(model, "transform_input", True)  # GoogLeNet and Inception normalise images once more
    card = {"backbone": name, "classes": ["x"] * 1000, "image_size": None, "transform": None}
    if name.startswith("squeezenet"):
        with pytest.raises(CheckpointError, match="head of this network"):
            save_model(model, tmp_path / "a.safetensors", **card)
        return
    save_model(model, tmp_path / "a.safetensors", **card)
    assert same(load_model(tmp_path / "a.safetensors")[0].state_dict(), ours)
    local = backbone_weights(Settings(backbone=name, weights=str(tmp_path / "a.safetensors")))
    assert same(load_backbone(local).state_dict(), ours)


@pytest.mark.parametrize("has_cuda", [False, True])
def test_auto_is_cuda_or_the_cpu_and_a_device_that_is_not_here_is_an_error(has_cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda" if has_cuda else "cpu")
    assert choose_device("mps") == torch.device("mps")  # only by its name
    if not has_cuda:
        with pytest.raises(ConfigError, match="no device 'cuda'"):
            choose_device("cuda")
