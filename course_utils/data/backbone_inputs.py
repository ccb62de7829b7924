"""TODO data.backbone_inputs."""

from contextlib import suppress
from functools import cache

import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.transforms import v2

from course_utils.data.weights import backbone_name
from course_utils.errors import ConfigError, WeightsError

# These two have extra heads in the middle, which only training from scratch uses; they are left out.
AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


def build_backbone(name: str) -> nn.Module:
    """Build a network by its name ("resnet18", "timm/NAME", ...) with random parameters."""
    if name.startswith("timm/"):
        return _timm_model(name, pretrained=False)
    if name in AUXILIARY_HEADS:
        # transform_input: as torchvision builds these two for its pretrained weights.
        return models.get_model(name, init_weights=True, aux_logits=False, transform_input=True)
    return models.get_model(name)


def _timm_model(name: str, pretrained: bool) -> nn.Module:
    import timm

    try:
        return timm.create_model(name.removeprefix("timm/"), pretrained=pretrained)
    except Exception as error:  # whatever the hub's client raises without a network
        raise WeightsError(
            f"timm could not load {name}.",
            where=name,
            expected="weights in timm's cache, or a network to download them",
            found=f"{type(error).__name__}: {error}",
            do='Use a torchvision backbone, or weights="none" for a random network.',
        ) from error


def backbone_transform(weights: WeightsEnum, image_size: int | None = None) -> v2.Transform:
    """Return the preprocessing that the weights were made with, from any picture.

    Args:
        weights: Their own `.transforms()` are used, unchanged but for the size.
        image_size: Height and width of the result in pixels. None: the weights' own.

    Returns:
        A transform from a PIL picture of any mode to a tensor: float32, [3, height, width], normalised
        with the weights' own mean and standard deviation.

    Raises:
        ConfigError: If the network cannot take pictures of this size.
    """
    if image_size is not None:
        with suppress(StopIteration):  # an entry of somebody's own need not name a network
            _check_size(backbone_name(weights), image_size)
    own_size = {} if image_size is None else {"crop_size": image_size, "resize_size": image_size}
    return v2.Compose([v2.RGB(), weights.transforms(**own_size)])


@cache
def _check_size(name: str, image_size: int) -> None:
    """Send a picture without numbers through a network without numbers: only the shapes count."""
    try:
        with torch.device("meta"), torch.inference_mode():
            build_backbone(name).eval()(torch.empty(1, 3, image_size, image_size))
    except NotImplementedError:
        return  # a RegNet cannot be built without numbers; it takes every size
    except Exception as error:  # each network says it in its own way
        raise ConfigError(
            f"{name} cannot take pictures of this size.",
            where="image_size",
            expected="a size that the network was made for: a vision transformer takes one only, and a deep "
            "network nothing too small",
            found=f"{image_size} pixels ({' '.join(str(error).split())[:150]})",
            do="Leave image_size out, which is None: the size that the weights were made for.",
        ) from error
