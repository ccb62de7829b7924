"""Taking networks apart: which layer is the head, what is frozen, and what freezing has to mean."""

import ast
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

import course_utils
from course_utils.data.backbone_inputs import backbone_transform, build_backbone
from course_utils.data.weights import backbone_weights
from course_utils.errors import ConfigError, WeightsError
from course_utils.models.backbones import choose_device, load_backbone
from course_utils.models.freezing import (
    freeze,
    only_head_trainable,
    set_train_mode,
    trainable_parameters,
)
from course_utils.models.heads import find_head, replace_head, without_head
from course_utils.models.saving import load_model, save_model
from course_utils.settings import Settings

pytestmark = pytest.mark.usefixtures("no_network")

# The network, its head, its features and a size in pixels that it takes.
FAMILIES = [
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
]
families = pytest.mark.parametrize("name, head, features, size", FAMILIES, ids=[row[0] for row in FAMILIES])
SMALL_ONES = ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "timm/convnext_atto"]


def build(name, device="cpu"):
    """Build a network; on the meta device it has shapes but no numbers, and costs next to nothing."""
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    with torch.device(device):
        return build_backbone(name)


def build_shapes(name):
    # torchvision's RegNets compute with their own new parameters, which meta tensors do not allow.
    return build(name).to("meta") if name.startswith("regnet") else build(name, "meta")


def images(size=32, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@families
def test_head_of_every_family_is_found_replaced_and_taken_off(name, head, features, size):
    model = build_shapes(name).eval()
    pictures = torch.empty(2, 3, size, size, device="meta")
    assert find_head(model) == head
    new = replace_head(model, num_classes=7)
    assert model.get_submodule(head) is new
    assert (new.in_features, new.out_features) == (features, 7)
    assert model(pictures).shape == (2, 7)
    with without_head(model) as backbone:
        assert backbone(pictures).shape == (2, features)
    assert model.get_submodule(head) is new
    assert model(pictures).shape == (2, 7)


@families
def test_freeze_leaves_the_head_alone_trainable(name, head, features, size):
    model = build_shapes(name)
    assert not only_head_trainable(model)
    freeze(model)
    trainable = [own for own, parameter in model.named_parameters() if parameter.requires_grad]
    assert trainable == [f"{head}.weight", f"{head}.bias"]
    assert len(trainable_parameters(model)) == 2
    assert only_head_trainable(model)
    freeze(model, except_head=False)
    assert trainable_parameters(model) == []
    assert not only_head_trainable(model)


def test_one_thawed_layer_is_not_frozen_below_the_head():
    model = build("resnet18", "meta")
    freeze(model)
    model.layer4[1].bn2.requires_grad_(True)
    assert not only_head_trainable(model)


@pytest.mark.parametrize("name", SMALL_ONES)
def test_head_on_features_is_the_whole_network(name):
    model = build(name).eval()
    head = model.get_submodule(find_head(model))
    with torch.inference_mode():
        with without_head(model) as backbone:
            features = backbone(images())
        torch.testing.assert_close(head(features), model(images()))


def test_head_is_put_back_after_an_error():
    model = build("resnet18", "meta")
    head = model.fc
    with pytest.raises(ZeroDivisionError), without_head(model):
        raise ZeroDivisionError
    assert model.fc is head


def test_new_head_is_trainable_random_and_of_the_same_kind():
    model = build("shufflenet_v2_x0_5").double()
    freeze(model, except_head=False)
    first, second = replace_head(model, 3), replace_head(model, 3)
    assert first.weight.requires_grad and first.weight.dtype == torch.float64
    assert not torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
@pytest.mark.parametrize(
    "use", [find_head, freeze, lambda model: replace_head(model, 10), only_head_trainable]
)
def test_network_without_a_linear_head_is_refused(name, use, assert_says_four_things):
    with pytest.raises(ConfigError, match="SqueezeNet") as caught:
        use(build(name, "meta"))
    assert_says_four_things(caught.value)


def test_network_with_two_heads_is_refused():
    """A distilled DeiT has the heads `head` and `head_dist`; with one replaced it fails in mid-training."""
    model = build("timm/deit_tiny_distilled_patch16_224", "meta")
    with pytest.raises(ConfigError):
        replace_head(model, 10)


@pytest.mark.parametrize("num_classes", [0, 1, -3, True, "10", 10.0, None])
def test_number_of_classes_is_a_whole_number_from_2(num_classes, assert_says_four_things):
    model = build("resnet18", "meta")
    with pytest.raises(ConfigError, match="num_classes") as caught:
        replace_head(model, num_classes)
    assert_says_four_things(caught.value)
    assert repr(num_classes) in caught.value.found
    assert model.fc.out_features == 1000


@pytest.mark.parametrize("name", SMALL_ONES)
def test_frozen_backbone_keeps_its_numbers_and_its_answers_in_train_mode(name):
    """BatchNorm would move 60 buffers of a ResNet; dropout would answer something else every time."""
    model = build(name)
    replace_head(model, 3)
    freeze(model)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    set_train_mode(model)
    first, second = model(images() * 5 + 3), model(images() * 5 + 3)
    assert torch.equal(first, second)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert model.get_submodule(find_head(model)).training


def test_thawed_layers_are_in_train_mode_and_frozen_ones_below_are_not():
    model = build("resnet18")
    freeze(model)
    model.layer4.requires_grad_(True)
    set_train_mode(model)
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert {name for name, norm in norms.items() if norm.training} == {
        name for name in norms if name.startswith("layer4")
    }
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    model(images())
    moved = {name for name, norm in norms.items() if not torch.equal(norm.running_mean, before[name])}
    assert moved == {name for name in norms if name.startswith("layer4")}


def test_dropout_follows_the_layers_before_it():
    model = build("vgg11", "meta")
    dropouts = [model.classifier[2], model.classifier[5]]
    freeze(model)
    set_train_mode(model)
    assert [dropout.training for dropout in dropouts] == [False, False]
    model.classifier[3].requires_grad_(True)
    set_train_mode(model)
    assert [dropout.training for dropout in dropouts] == [False, True]
    model.requires_grad_(True)
    set_train_mode(model)
    assert all(module.training for module in model.modules() if list(module.parameters()))
    assert [dropout.training for dropout in dropouts] == [True, True]


def test_wholly_frozen_network_is_in_eval_mode():
    model = build("mobilenet_v3_small", "meta")
    freeze(model, except_head=False)
    set_train_mode(model)
    assert not any(module.training for module in model.modules())


def test_auxiliary_heads_do_not_survive():
    """Two networks have extra heads that only training from scratch uses; here one answer comes out."""
    for name in ("googlenet", "inception_v3"):
        model = build(name, "meta").train()
        assert not model.aux_logits
        assert isinstance(model(torch.empty(2, 3, 96, 96, device="meta")), torch.Tensor)


def test_saved_googlenet_answers_as_before(tmp_path, monkeypatch):
    """Its published weights want images normalised in another way, which the network does itself."""
    published = models.googlenet(weights=None, init_weights=False, aux_logits=True, transform_input=True)
    with torch.no_grad():  # BatchNorm must have seen images, or the answer to all of them is nearly the same
        for _ in range(30):
            published(images(64, 4))
    monkeypatch.setattr("course_utils.data.weights.read_hub", lambda weights: published.state_dict())
    model = load_backbone(models.GoogLeNet_Weights.IMAGENET1K_V1).eval()
    names = {"backbone": "googlenet", "classes": ["x"] * 1000, "image_size": 64, "transform": None}
    save_model(model, tmp_path / "a.safetensors", **names)
    again, _ = load_model(tmp_path / "a.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(again(images(64)), model(images(64)))


def test_pretrained_argument_of_old_torchvision_is_used_nowhere():
    """`_timm_model` is our own, and timm's functions still call it so."""
    allowed = {"timm_model", "timm.create_model", "timm.list_models"}
    for path in Path(course_utils.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and any(word.arg == "pretrained" for word in node.keywords):
                assert ast.unparse(node.func) in allowed, f"{path.name}, line {node.lineno}"


def test_pretrained_argument_is_an_error_in_this_test_run():
    with torch.device("meta"), pytest.raises(UserWarning, match="pretrained"):
        models.resnet18(pretrained=False)


@pytest.mark.parametrize("mps", [False, True])
@pytest.mark.parametrize("cuda, expected", [(False, "cpu"), (True, "cuda")])
def test_auto_is_cuda_or_the_cpu_and_apples_card_is_used_only_by_its_name(
    cuda, expected, mps, monkeypatch, assert_says_four_things
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device() == choose_device("auto") == torch.device(expected)
    present = {"cpu", expected} | ({"mps"} if mps else set())
    for name in present:
        assert choose_device(name) == torch.device(name)
    for missing in {"cuda", "mps", "tpu"} - present:
        with pytest.raises(ConfigError, match=f"no device '{missing}'") as caught:
            choose_device(missing)
        assert_says_four_things(caught.value)
        assert all(name in caught.value.expected for name in ("auto", *present))


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 64), ("maxvit_t", 64), ("inception_v3", 32)])
def test_a_size_that_the_network_cannot_take_is_an_error(name, size, assert_says_four_things):
    before = torch.get_rng_state()
    with pytest.raises(ConfigError, match=f"(?s){name} cannot take .* {size} pixels") as caught:
        backbone_transform(backbone_weights(Settings(backbone=name, weights="none")), size)
    assert_says_four_things(caught.value)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "size"), [("vit_b_16", 224), ("mobilenet_v3_small", 32), ("regnet_y_400mf", 64)]
)
def test_every_other_size_is_taken(name, size):
    transform = backbone_transform(backbone_weights(Settings(backbone=name, weights="none")), size)
    assert transform(Image.new("L", (90, 70))).shape == (3, size, size)


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
        image = backbone_transform(weights, image_size=64)(Image.new("L", (90, 70), 255))
        assert (image.shape, image.dtype) == ((3, 64, 64), torch.float32)
        mean, std = (torch.tensor(model.pretrained_cfg[key]) for key in ("mean", "std"))
        torch.testing.assert_close(image[:, 5, 5], (1 - mean) / std)
        assert model(image[None]).shape == (1, 1000)

    def test_own_size_is_used_if_none_is_named(self):
        transform = backbone_transform(self.weights("vit_tiny_patch16_224"))
        assert transform(Image.new("RGB", (90, 70))).shape == (3, 224, 224)

    @pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "vit_tiny_patch16_224"])
    def test_preprocessing_is_timms_and_has_the_form_of_torchvisions(self, name):
        from timm.data import create_transform, resolve_data_config

        transform = backbone_transform(self.weights(name))
        noise = torch.randint(256, (70, 90, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        picture = Image.fromarray(noise.numpy()).resize((500, 300))
        theirs = create_transform(**resolve_data_config({}, model=build(f"timm/{name}", "meta")))
        torch.testing.assert_close(transform(picture), theirs(picture))
        assert transform.transforms[1].crop_size == [224]

    @pytest.mark.parametrize("name", ["resnet81", "resnet18.nonsense"])
    def test_unknown_network_is_refused(self, name, assert_says_four_things):
        with pytest.raises(ConfigError) as caught:
            self.weights(name)
        assert_says_four_things(caught.value)

    def test_unknown_weights_are_refused(self, assert_says_four_things):
        with pytest.raises(ConfigError, match="default, none") as caught:
            self.weights("convnext_atto", "IMAGENET1K_V1")
        assert_says_four_things(caught.value)

    def test_without_timm_it_is_said_so(self, monkeypatch, assert_says_four_things):
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(ConfigError, match="without timm") as caught:
            self.weights("convnext_atto")
        assert_says_four_things(caught.value)
        assert isinstance(caught.value.__cause__, ImportError)

    def test_pretrained_without_network_is_a_weights_error(
        self, monkeypatch, tmp_path, assert_says_four_things
    ):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        # Otherwise the hub's client tries again and again for three quarters of a minute.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsError, match="timm could not load") as caught:
            load_backbone(self.weights("convnext_atto", "default"))
        assert_says_four_things(caught.value)
        assert caught.value.__cause__ is not None
