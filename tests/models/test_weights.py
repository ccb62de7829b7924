"""Which weights the settings name, and how they describe themselves."""

import re
import sys
import warnings
from pathlib import Path

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
    classifier_names,
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


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "mobilenet_v2"])
def test_default_is_what_the_old_spelling_meant(name, monkeypatch):
    """torchvision itself is asked: what would it have loaded for `pretrained=True`?"""
    meant = []
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda entry, **_: meant.append(entry) or {})
    with warnings.catch_warnings(action="ignore"), torch.device("meta"), pytest.raises(RuntimeError):
        models.get_model_builder(name)(pretrained=True)
    assert meant == [backbone_weights(Settings(profile="full", backbone=name))]


@pytest.mark.parametrize("values", [{}, {"profile": "full"}, {"backbone": "swin_t"}], ids=str)
def test_random_weights_keep_the_preprocessing_of_the_default(values):
    default, random = (backbone_weights(Settings(**values, weights=name)) for name in ("default", "none"))
    assert str(random.transforms()) == str(default.transforms())


def test_random_and_local_weights_are_given_the_pictures_that_the_default_is_given(tmp_path):
    local = tmp_path / "own.safetensors"
    local.write_bytes(b"")
    for weights in ("none", str(local)):
        entry = backbone_weights(Settings(profile="full", weights=weights))
        assert entry.transforms().resize_size == [256]


def test_none_draws_random_weights_under_a_banner(capsys):
    weights = backbone_weights(Settings(backbone="shufflenet_v2_x0_5", weights="none"))
    assert isinstance(weights, RandomWeights)
    assert backbone_name(weights) == "shufflenet_v2_x0_5"
    assert len(weights.meta["categories"]) == 1000
    first, second = load_backbone(weights), load_backbone(weights)
    assert not torch.equal(first.fc.weight, second.fc.weight)
    assert "RANDOM WEIGHTS" in capsys.readouterr().out
    with pytest.raises(WeightsError):
        weights.get_state_dict()


@pytest.mark.parametrize(
    "values, valid",
    [
        ({"backbone": "resnet19"}, ["resnet18", "timm/NAME"]),
        ({"backbone": "fcn_resnet50"}, ["resnet18", "timm/NAME"]),
        ({"backbone": "ResNet 18"}, ["resnet18", "timm/NAME"]),
        ({"weights": "imagenet"}, ["default", "IMAGENET1K_V1"]),
        (
            {"backbone": "resnet50", "weights": "IMAGENET1K_V3"},
            ["default", "none", "IMAGENET1K_V1", "IMAGENET1K_V2", ".safetensors"],
        ),
    ],
    ids=str,
)
def test_fault_25_unknown_names_list_what_is_valid(values, valid, refused):
    if values.get("backbone") != "fcn_resnet50":  # a network of torchvision that is no classifier
        with pytest.raises((KeyError, ValueError)) as plain:
            models.get_model(values.get("backbone", "resnet18"), weights=values.get("weights"))
        assert not any(name in str(plain.value) for name in valid), "the fault is not there"
    with refused(ConfigError) as caught:
        backbone_weights(Settings(**values))
    assert all(name in caught.value.expected for name in valid)
    if "IMAGENET1K_V3" in values.values():
        assert "Did you mean 'IMAGENET1K_V" in str(caught.value)


def test_every_published_file_has_a_hash_in_its_name():
    entries = [entry for name in classifier_names() for entry in models.get_model_weights(name)]
    assert len(entries) > 80
    for entry in entries:
        assert re.search(r"-([a-f0-9]{8,})\.", Path(entry.url).name), entry.url


class TestTimm:
    """`backbone="timm/NAME"`, with the optional package timm."""

    @pytest.fixture(autouse=True)
    def _needs_timm(self):
        pytest.importorskip("timm")

    def weights(self, name, weights="none"):
        return backbone_weights(Settings(backbone=f"timm/{name}", weights=weights))

    def test_random_network_is_built_and_takes_its_own_images(self, capsys):
        weights = self.weights("convnext_atto")
        model = load_backbone(weights).eval()
        assert "RANDOM WEIGHTS: this timm/convnext_atto" in capsys.readouterr().out
        image = Preprocessing.from_weights(weights, image_size=64).transform()(Image.new("L", (90, 70), 255))
        assert (image.shape, image.dtype) == ((3, 64, 64), torch.float32)
        mean, std = (torch.tensor(model.pretrained_cfg[key]) for key in ("mean", "std"))
        torch.testing.assert_close(image[:, 5, 5], (1 - mean) / std)
        assert model(image[None]).shape == (1, 1000)

    def test_pretrained_numbers_are_timms(self, monkeypatch):
        import timm

        create, made = timm.create_model, []

        def create_without_network(name, pretrained=False):
            made.append((name, pretrained, create(name)))
            return made[-1][-1]

        weights = self.weights("convnext_atto", "default")
        monkeypatch.setattr(timm, "create_model", create_without_network)
        loaded = load_backbone(weights).state_dict()
        ((_, _, theirs),) = [one for one in made if one[:2] == ("convnext_atto", True)]
        assert all(torch.equal(loaded[name], tensor) for name, tensor in theirs.state_dict().items())

    @pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "vit_tiny_patch16_224"])
    def test_preprocessing_is_timms_and_has_the_form_of_torchvisions(self, name):
        from timm.data import create_transform, resolve_data_config

        transform = Preprocessing.from_weights(self.weights(name)).transform()
        picture = photograph((500, 300))
        with torch.device("meta"):
            model = build_backbone(f"timm/{name}")
        theirs = create_transform(**resolve_data_config({}, model=model))
        torch.testing.assert_close(transform(picture), theirs(picture))
        assert transform.preprocessing.crop_size == 224

    @pytest.mark.parametrize(
        "name, weights, valid",
        [
            ("resnet81", "none", "resnet18"),
            ("resnet18.nonsense", "none", "resnet18."),
            ("convnext_atto", "IMAGENET1K_V1", "default, none"),
        ],
    )
    def test_unknown_names_list_what_is_valid(self, name, weights, valid, refused):
        with refused(ConfigError) as caught:
            self.weights(name, weights)
        assert valid in str(caught.value)

    def test_pretrained_without_network_is_a_weights_error(self, monkeypatch, tmp_path, refused):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        # Otherwise the hub's client tries again and again for three quarters of a minute.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with refused(WeightsError, match="timm could not load") as caught:
            load_backbone(self.weights("convnext_atto", "default"))
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "use",
    [
        lambda: backbone_weights(Settings(backbone="timm/resnet18")),
        lambda: build_backbone("timm/resnet18"),
    ],
    ids=["its weights", "its network"],
)
def test_without_timm_the_advice_is_to_install_it(use, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "timm", None)
    with refused(WeightsError, "not installed") as caught:
        use()
    assert caught.value.do.startswith("pip install timm")
    assert isinstance(caught.value.__cause__, ImportError)
