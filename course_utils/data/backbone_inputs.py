"""Networks by their names, and the preprocessing that belongs to their weights."""

from contextlib import suppress
from functools import cache

import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.transforms import v2

from course_utils.data.efficientnet_lite0 import LITE0, build_lite0
from course_utils.data.preprocessing import RGB
from course_utils.data.weights import backbone_name, timm_model
from course_utils.errors import ConfigError


def build_backbone(name: str) -> nn.Module:
    """Build a network by its name ("resnet18", "timm/NAME", ...) with random parameters."""
    if name == LITE0:
        return build_lite0()
    if name.startswith("timm/"):
        return timm_model(name, pretrained=False)
    if name in ("googlenet", "inception_v3"):
        # transform_input: as torchvision builds these two for its pretrained weights.
        return models.get_model(name, init_weights=True, aux_logits=False, transform_input=True)
    return models.get_model(name)


def backbone_transform(weights: WeightsEnum, image_size: int | None = None) -> v2.Transform:
    """Return the preprocessing that the weights were made with.

    Args:
        weights: Their own `.transforms()` are used, unchanged but for the size.
        image_size: Height and width of the result in pixels. None: the weights' own.

    Returns:
        A transform from a PIL picture of any mode, as `load_rgb` reads it, to a tensor: float32, [3, height,
        width], normalised with the weights' own mean and standard deviation.

    Raises:
        ConfigError: If the network cannot take pictures of this size.
    """
    own_size = {}
    if image_size is not None:
        own_size = {"crop_size": image_size, "resize_size": image_size}
        with suppress(StopIteration):  # an entry of somebody's own need not name a network
            _check_size(backbone_name(weights), image_size)
    return v2.Compose([RGB(), weights.transforms(**own_size)])


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
            do="Set image_size to None: that is the size that the weights were made for.",
        ) from error
