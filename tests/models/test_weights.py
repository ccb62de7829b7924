"""Which weights the settings name, and how they describe themselves."""

import sys

import pytest
import torch
from PIL import Image
from small_pictures import photograph
from torchvision import models
from torchvision.models import WeightsEnum

from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import ConfigError, WeightsError
from course_utils.models.backbones import build_backbone, load_backbone
from course_utils.models.weights import (
    RandomWeights,
    ResNet18_64px_Weights,
    backbone_name,
    backbone_weights,
)
from course_utils.settings import Settings

pytestmark = pytest.mark.usefixtures("no_network")

SHIPPED = ResNet18_64px_Weights.DEFAULT


def test_shipped_weights_describe_themselves_as_torchvisions_do_and_fit_its_resnet18(capsys):
    assert isinstance(SHIPPED, WeightsEnum) and backbone_name(SHIPPED) == "resnet18"
    assert SHIPPED.meta["categories"] == models.ResNet18_Weights.DEFAULT.meta["categories"]
    assert SHIPPED.transforms()(Image.new("RGB", (90, 70))).shape == (3, 64, 64)
    state, model = SHIPPED.get_state_dict(progress=True), models.resnet18(weights=None)
    model.load_state_dict(state, strict=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == SHIPPED.meta["num_params"]
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    loaded = load_backbone(SHIPPED).state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert "RANDOM" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "values, expected",
    [
        ({}, SHIPPED),
        ({"profile": "full"}, models.ResNet50_Weights.IMAGENET1K_V1),
        ({"profile": "full", "weights": "IMAGENET1K_V2"}, models.ResNet50_Weights.IMAGENET1K_V2),
        ({"profile": "full", "backbone": "resnet18"}, models.ResNet18_Weights.IMAGENET1K_V1),
        ({"profile": "full", "backbone": "resnet18", "weights": "DISTILLED_V1"}, SHIPPED),
        ({"backbone": "vgg16"}, models.VGG16_Weights.IMAGENET1K_V1),
        ({"backbone": "vit_h_14"}, models.ViT_H_14_Weights.DEFAULT),  # which has no V1
        ({"weights": "IMAGENET1K_V1"}, models.ResNet18_Weights.IMAGENET1K_V1),
        ({"backbone": "resnet50", "weights": "IMAGENET1K_V1"}, models.ResNet50_Weights.IMAGENET1K_V1),
    ],
)
def test_names_choose_the_entry(values, expected):
    assert backbone_weights(Settings(**values)) is expected


@pytest.mark.parametrize("values", [{}, {"profile": "full"}, {"backbone": "swin_t"}], ids=str)
def test_random_and_local_weights_are_given_the_pictures_that_the_default_is_given(values, tmp_path):
    local = tmp_path / "own.safetensors"
    default = str(backbone_weights(Settings(**values)).transforms())
    for weights in ("none", str(local)) if values else ("none",):  # what ships is of another size
        assert str(backbone_weights(Settings(**values, weights=weights)).transforms()) == default


def test_none_draws_random_weights_under_a_banner(capsys):
    weights = backbone_weights(Settings(backbone="shufflenet_v2_x0_5", weights="none"))
    assert isinstance(weights, RandomWeights)
    assert backbone_name(weights) == "shufflenet_v2_x0_5"
    assert len(weights.meta["categories"]) == 1000
    first, second = load_backbone(weights), load_backbone(weights)
    assert not torch.equal(first.fc.weight, second.fc.weight)
    assert "RANDOM WEIGHTS" in capsys.readouterr().out


VERSIONS = ["default", "none", "IMAGENET1K_V1", "IMAGENET1K_V2", ".safetensors", "Did you mean 'IMAGENET1K_V"]


@pytest.mark.parametrize(
    "backbone, weights, valid",
    [
        ("resnet19", "default", ["resnet18", "timm/NAME"]),
        ("fcn_resnet50", "default", ["resnet18", "timm/NAME"]),  # no classifier
        ("resnet18", "imagenet", ["default", "IMAGENET1K_V1"]),
        ("resnet50", "IMAGENET1K_V3", VERSIONS),
        ("timm/resnet81", "none", ["resnet18"]),
        ("timm/resnet18.nonsense", "none", ["resnet18."]),
        ("timm/convnext_atto", "IMAGENET1K_V1", ["default, none"]),
    ],
)
def test_fault_25_unknown_names_list_what_is_valid(backbone, weights, valid, refused):
    if backbone.startswith("timm/"):
        pytest.importorskip("timm")
    with refused(ConfigError) as caught:
        backbone_weights(Settings(backbone=backbone, weights=weights))
    assert all(name in str(caught.value) for name in valid)


# `backbone="timm/NAME"`, with the optional package timm


def test_preprocessing_of_a_network_of_timm_is_timms():
    pytest.importorskip("timm")
    from timm.data import create_transform, resolve_data_config

    name = "timm/vit_tiny_patch16_224"
    weights = backbone_weights(Settings(backbone=name, weights="none"))
    transform, picture = Preprocessing.from_weights(weights).transform(), photograph((500, 300))
    with torch.device("meta"):
        model = build_backbone(name)
    theirs = create_transform(**resolve_data_config({}, model=model))
    torch.testing.assert_close(transform(picture), theirs(picture))
    assert transform.preprocessing.crop_size == 224


def test_weights_of_timm_without_a_network_are_a_weights_error(monkeypatch, tmp_path, refused):
    pytest.importorskip("timm")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    # Otherwise the hub's client tries again and again for three quarters of a minute.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with refused(WeightsError, match="timm could not load") as caught:
        load_backbone(backbone_weights(Settings(backbone="timm/convnext_atto")))
    assert caught.value.__cause__ is not None


def test_without_timm_the_advice_is_to_install_it(monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "timm", None)
    for use in (
        lambda: backbone_weights(Settings(backbone="timm/resnet18")),
        lambda: build_backbone("timm/resnet18"),
    ):
        with refused(WeightsError, "not installed") as caught:
            use()
        assert caught.value.do.startswith("pip install timm")
