"""Which weights are used, and that nothing damaged, altered or malicious is ever loaded."""

import hashlib
import os
import re
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models
from torchvision.models import WeightsEnum

from course_utils.data.backbone_inputs import build_backbone
from course_utils.data.weights import (
    RandomWeights,
    ResNet18_64px_Weights,
    backbone_name,
    backbone_weights,
    classifier_names,
    read_weights,
)
from course_utils.errors import CheckpointError, ConfigError, WeightsError
from course_utils.models.backbones import load_backbone
from course_utils.models.heads import replace_head
from course_utils.models.saving import load_model, save_model
from course_utils.settings import Settings
from course_utils.teaching.environment import describe_machine

pytestmark = pytest.mark.usefixtures("no_network")

SHIPPED = ResNet18_64px_Weights.DEFAULT
SMALL = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1  # 1.4 million parameters: quick to write and read

DAMAGES = {
    "one flipped bit": lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:],
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "login page": lambda content: b"<!DOCTYPE html><html>Please log in</html>",
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())


class TestWeightsThatShip:
    def test_describe_themselves_as_torchvisions_do(self):
        assert isinstance(SHIPPED, WeightsEnum)
        assert SHIPPED.url and SHIPPED.path.is_file()
        assert SHIPPED.meta["categories"] == models.ResNet18_Weights.DEFAULT.meta["categories"]
        assert len(SHIPPED.meta["categories"]) == 1000
        assert SHIPPED.transforms()(Image.new("RGB", (90, 70))).shape == (3, 64, 64)
        assert backbone_name(SHIPPED) == "resnet18"

    def test_fit_torchvisions_resnet18_entry_for_entry(self):
        state = SHIPPED.get_state_dict(progress=True)
        model = models.resnet18(weights=None)
        model.load_state_dict(state, strict=True)
        assert sum(parameter.numel() for parameter in model.parameters()) == SHIPPED.meta["num_params"]
        assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
        assert all(torch.isfinite(tensor).all() for tensor in state.values())

    def test_are_what_load_backbone_gives(self):
        loaded, state = load_backbone(SHIPPED).state_dict(), SHIPPED.get_state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in state)

    @damages
    def test_altered_are_refused(self, damage, tmp_path, monkeypatch, assert_says_four_things):
        altered = tmp_path / SHIPPED.path.name
        altered.write_bytes(damage(SHIPPED.path.read_bytes()))
        monkeypatch.setattr(SHIPPED.value, "url", str(altered))
        with pytest.raises(WeightsError, match="SHA-256") as caught:
            load_backbone(SHIPPED)
        assert_says_four_things(caught.value)
        assert caught.value.where == str(altered)
        assert SHIPPED.meta["sha256"] in caught.value.expected
        assert altered.exists(), "nothing that a student owns is deleted"

    def test_missing_are_named(self, tmp_path, monkeypatch, assert_says_four_things):
        monkeypatch.setattr(SHIPPED.value, "url", str(tmp_path / "gone.safetensors"))
        with pytest.raises(WeightsError, match=str(tmp_path)) as caught:
            load_backbone(SHIPPED)
        assert_says_four_things(caught.value)
        assert isinstance(caught.value.__cause__, FileNotFoundError)


class TestNamesOfWeights:
    @pytest.mark.parametrize(
        "values, expected",
        [
            ({}, SHIPPED),
            ({"profile": "full"}, models.ResNet50_Weights.IMAGENET1K_V1),
            ({"profile": "full", "weights": "IMAGENET1K_V2"}, models.ResNet50_Weights.IMAGENET1K_V2),
            ({"profile": "full", "backbone": "resnet18"}, models.ResNet18_Weights.IMAGENET1K_V1),
            ({"profile": "full", "backbone": "resnet18", "weights": "DISTILLED_V1"}, SHIPPED),
            ({"backbone": "vgg16"}, models.VGG16_Weights.IMAGENET1K_V1),
            ({"backbone": "resnet101"}, models.ResNet101_Weights.IMAGENET1K_V1),
            ({"backbone": "vit_h_14"}, models.ViT_H_14_Weights.DEFAULT),  # which has no V1
            ({"weights": "IMAGENET1K_V1"}, models.ResNet18_Weights.IMAGENET1K_V1),
            ({"backbone": "resnet50", "weights": "IMAGENET1K_V1"}, models.ResNet50_Weights.IMAGENET1K_V1),
        ],
    )
    def test_choose_the_entry(self, values, expected):
        assert backbone_weights(Settings(**values)) is expected

    @pytest.mark.parametrize("name", ["resnet50", "resnet101", "mobilenet_v2"])
    def test_default_is_what_the_old_spelling_meant(self, name, monkeypatch):
        """torchvision itself is asked: what would it have loaded for `pretrained=True`?"""
        meant = []
        monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda entry, **_: meant.append(entry) or {})
        with warnings.catch_warnings(action="ignore"), torch.device("meta"), pytest.raises(RuntimeError):
            models.get_model_builder(name)(pretrained=True)
        assert meant == [backbone_weights(Settings(profile="full", backbone=name))]

    def test_random_and_local_weights_are_given_the_pictures_that_the_default_is_given(self, tmp_path):
        local = tmp_path / "own.safetensors"
        local.write_bytes(b"")
        for weights in ("none", str(local)):
            entry = backbone_weights(Settings(profile="full", weights=weights))
            assert entry.transforms().resize_size == [256]

    def test_unknown_weights_list_what_is_valid(self, assert_says_four_things):
        with pytest.raises(ConfigError, match="Did you mean 'IMAGENET1K_V") as caught:
            backbone_weights(Settings(backbone="resnet50", weights="IMAGENET1K_V3"))
        assert_says_four_things(caught.value)
        for valid in ("default", "none", "IMAGENET1K_V1", "IMAGENET1K_V2", ".safetensors"):
            assert valid in caught.value.expected

    @pytest.mark.parametrize("name", ["resnet19", "fcn_resnet50", "ResNet 18", ""])
    def test_unknown_backbone_lists_what_is_valid(self, name, assert_says_four_things):
        with pytest.raises(ConfigError) as caught:
            backbone_weights(Settings(backbone=name))
        assert "resnet18" in caught.value.expected and "timm/NAME" in caught.value.expected
        if name:
            assert_says_four_things(caught.value)

    def test_none_draws_random_weights_under_a_banner(self, capsys):
        weights = backbone_weights(Settings(backbone="shufflenet_v2_x0_5", weights="none"))
        assert isinstance(weights, RandomWeights)
        assert backbone_name(weights) == "shufflenet_v2_x0_5"
        assert len(weights.meta["categories"]) == 1000
        first, second = load_backbone(weights), load_backbone(weights)
        assert not torch.equal(first.fc.weight, second.fc.weight)
        assert "RANDOM WEIGHTS" in capsys.readouterr().out
        with pytest.raises(WeightsError):
            weights.get_state_dict()

    def test_pretrained_weights_come_without_a_banner(self, capsys):
        load_backbone(SHIPPED)
        assert "RANDOM" not in capsys.readouterr().out

    def test_every_published_file_has_a_hash_in_its_name(self):
        entries = [entry for name in classifier_names() for entry in models.get_model_weights(name)]
        assert len(entries) > 80
        for entry in entries:
            assert re.search(r"-([a-f0-9]{8,})\.", Path(entry.url).name), entry.url


class TestLocalFile:
    """`weights="PATH.safetensors"`, for classrooms without a network."""

    @pytest.fixture
    def settings(self, tmp_path):
        path = tmp_path / "own.safetensors"
        return Settings(backbone="shufflenet_v2_x0_5", weights=str(path))

    def save(self, model, settings):
        save_file(model.state_dict(), settings.weights)
        return model.state_dict()

    def test_is_loaded(self, settings):
        state = self.save(build_backbone("shufflenet_v2_x0_5"), settings)
        loaded = load_backbone(backbone_weights(settings)).state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in state)

    def test_may_know_other_classes(self, settings):
        model = build_backbone("shufflenet_v2_x0_5")
        replace_head(model, 3)
        self.save(model, settings)
        assert load_backbone(backbone_weights(settings)).fc.out_features == 3

    @pytest.mark.parametrize("name", ["googlenet"])
    def test_of_a_network_without_its_auxiliary_heads_is_loaded(self, name, tmp_path):
        path = tmp_path / "own.safetensors"
        save_file(build_backbone(name).state_dict(), path)
        model = load_backbone(backbone_weights(Settings(backbone=name, weights=str(path))))
        assert not model.aux_logits

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    def test_with_nan_or_infinity_is_refused_by_name(self, value, dtype, settings, assert_says_four_things):
        state = {name: t.clone() for name, t in build_backbone("shufflenet_v2_x0_5").state_dict().items()}
        state["conv5.0.weight"] = state["conv5.0.weight"].to(dtype)
        state["conv5.0.weight"][3, 5] = value
        save_file(state, settings.weights)
        for load in (load_backbone, lambda weights: weights.get_state_dict()):
            with pytest.raises(WeightsError, match=r"conv5\.0\.weight") as caught:
                load(backbone_weights(settings))
            assert_says_four_things(caught.value)
            assert caught.value.where == settings.weights and str(value) in caught.value.found
        assert not describe_machine(settings).fine["weights"]

    def test_of_a_model_file_with_nan_is_refused_by_name(self, tmp_path, assert_says_four_things):
        model = build_backbone("shufflenet_v2_x0_5")
        torch.nn.init.constant_(model.conv5[0].weight, torch.nan)
        classes = [str(number) for number in range(1000)]
        save_model(
            model,
            tmp_path / "own.safetensors",
            backbone="shufflenet_v2_x0_5",
            classes=classes,
            image_size=None,
            transform=None,
        )
        with pytest.raises(CheckpointError, match=r"conv5\.0\.weight") as caught:
            load_model(tmp_path / "own.safetensors")
        assert_says_four_things(caught.value)

    @pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.complex64], ids=str)
    def test_of_another_kind_of_numbers_is_refused_by_name(self, dtype, settings, assert_says_four_things):
        state = build_backbone("shufflenet_v2_x0_5").state_dict()
        state["conv5.0.weight"] = (100 * state["conv5.0.weight"].abs()).to(dtype)
        save_file(state, settings.weights)
        with pytest.raises(WeightsError, match=r"conv5\.0\.weight") as caught:
            load_backbone(backbone_weights(settings))
        assert_says_four_things(caught.value)
        assert caught.value.where == settings.weights and str(dtype) in caught.value.found

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
    def test_of_other_decimals_is_read_as_float32(self, dtype, settings):
        state = {name: t.to(dtype) for name, t in build_backbone("shufflenet_v2_x0_5").state_dict().items()}
        save_file(state, settings.weights)
        loaded = load_backbone(backbone_weights(settings)).state_dict()
        assert {tensor.dtype for tensor in loaded.values()} == {torch.float32, torch.int64}

    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
    def test_saved_from_a_wrapper_gets_the_advice_that_helps(self, prefix, settings, assert_says_four_things):
        state = build_backbone("shufflenet_v2_x0_5").state_dict()
        save_file({f"{prefix}{name}": tensor for name, tensor in state.items()}, settings.weights)
        with pytest.raises(WeightsError, match="begin") as caught:
            load_backbone(backbone_weights(settings))
        assert_says_four_things(caught.value)
        assert caught.value.where == settings.weights and f"{prefix}conv1.0.weight" in caught.value.found
        advised = re.search(r"removeprefix\('(.+?)'\)", caught.value.do)[1]
        assert advised == prefix and "Name the backbone" not in caught.value.do

    def test_of_another_network_is_refused(self, settings, assert_says_four_things):
        self.save(build_backbone("mobilenet_v3_small"), settings)
        with pytest.raises(WeightsError, match="shufflenet_v2_x0_5") as caught:
            load_backbone(backbone_weights(settings))
        assert_says_four_things(caught.value)
        assert caught.value.where == settings.weights
        assert isinstance(caught.value.__cause__, RuntimeError)

    @pytest.mark.parametrize("damage", [DAMAGES["truncated"], DAMAGES["empty"], DAMAGES["login page"]])
    def test_that_is_damaged_is_refused(self, damage, settings, assert_says_four_things):
        self.save(build_backbone("shufflenet_v2_x0_5"), settings)
        path = Path(settings.weights)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(WeightsError, match="cannot be read") as caught:
            load_backbone(backbone_weights(settings))
        assert_says_four_things(caught.value)
        assert caught.value.__cause__ is not None

    def test_that_is_not_there_is_named_by_its_absolute_path(
        self, tmp_path, monkeypatch, assert_says_four_things
    ):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(WeightsError) as caught:
            backbone_weights(Settings(weights="gone.safetensors"))
        assert_says_four_things(caught.value)
        assert caught.value.where == str(tmp_path / "gone.safetensors")


class RunsACommand:
    """An object that runs a shell command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class TestHubCache:
    """Weights of torchvision in the cache of torch.hub, which itself never checks them again."""

    @pytest.fixture(autouse=True)
    def hub(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.hub, "_hub_dir", None)  # so that set_dir below is undone at the end
        torch.hub.set_dir(str(tmp_path / "hub"))
        return tmp_path / "hub" / "checkpoints"

    @pytest.fixture
    def put(self, hub, monkeypatch):
        """Return a function that saves an object where torchvision would, its real hash in its name."""

        def save(content, folder=hub):
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(content, folder / "new")
            real = hashlib.sha256((folder / "new").read_bytes()).hexdigest()[:8]
            path = (folder / "new").rename(folder / f"small-{real}.pth")
            monkeypatch.setattr(SMALL.value, "url", f"https://download.pytorch.org/models/{path.name}")
            return path

        return save

    def test_is_used_without_network(self, put):
        state = build_backbone("shufflenet_v2_x0_5").state_dict()
        put(state)
        loaded = load_backbone(SMALL).state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in state)

    @damages
    def test_altered_file_is_refused_and_set_aside(self, damage, put, assert_says_four_things):
        path = put({"weight": torch.arange(5000.0)})
        altered = damage(path.read_bytes())
        path.write_bytes(altered)
        with pytest.raises(WeightsError, match="damaged or altered") as caught:
            read_weights(SMALL)
        assert_says_four_things(caught.value)
        assert caught.value.where == str(path)
        assert not path.exists()
        assert path.with_name(f"{path.name}.bad").read_bytes() == altered

    def test_file_set_aside_earlier_is_never_overwritten(self, put):
        path = put({})
        for count in (1, 2, 3):
            path.write_bytes(b"damaged in another way" * count)
            with pytest.raises(WeightsError):
                read_weights(SMALL)
        kept = sorted(path.parent.glob("*.bad*"), key=lambda one: one.stat().st_size)
        assert [one.read_bytes().count(b"damaged") for one in kept] == [1, 2, 3]

    def test_malicious_file_runs_nothing(self, put, tmp_path, assert_says_four_things):
        marker = tmp_path / "marker"
        path = put({"weight": RunsACommand(f"touch {marker}")})
        torch.load(path, weights_only=False)
        assert marker.exists(), "the file is harmless, so this test shows nothing"
        marker.unlink()
        with pytest.raises(WeightsError, match="read safely") as caught:
            load_backbone(SMALL)
        assert not marker.exists()
        assert_says_four_things(caught.value)
        assert "weights_only" not in caught.value.do, "never suggest to turn the protection off"

    def test_nothing_cached_and_no_network_is_told(self, hub, assert_says_four_things):
        with pytest.raises(WeightsError, match="could not be downloaded") as caught:
            load_backbone(SMALL)
        assert_says_four_things(caught.value)
        assert SMALL.url in caught.value.expected
        assert caught.value.where == str(hub / Path(SMALL.url).name)
        assert 'profile="quick"' in caught.value.do
        assert isinstance(caught.value.__cause__, OSError)

    def test_download_is_kept_if_its_hash_is_right(self, put, hub, tmp_path, monkeypatch):
        served = put({"weight": torch.ones(3)}, tmp_path / "served")
        monkeypatch.setattr(SMALL.value, "url", served.as_uri())
        assert torch.equal(read_weights(SMALL)["weight"], torch.ones(3))
        assert (hub / served.name).is_file()

    def test_no_more_is_taken_than_torchvisions_table_says(self, put, hub, tmp_path, monkeypatch):
        served = put({}, tmp_path / "served")
        with served.open("r+b") as file:
            file.truncate(6_000_000)  # the table says 5.282 MB, in millions of 1.048576
        monkeypatch.setattr(SMALL.value, "url", served.as_uri())
        with pytest.raises(WeightsError, match="6,000,000 bytes are offered, which cannot be"):
            read_weights(SMALL)
        assert [path.name for path in hub.iterdir() if path.suffix != ".lock"] == []

    def test_download_is_not_kept_if_its_hash_is_wrong(self, put, hub, tmp_path, monkeypatch):
        served = put({}, tmp_path / "served")
        served.write_bytes(b"<html>Please log in</html>")
        monkeypatch.setattr(SMALL.value, "url", served.as_uri())
        with pytest.raises(WeightsError, match="hash"):
            read_weights(SMALL)
        assert [path.name for path in hub.iterdir() if path.suffix != ".lock"] == []
