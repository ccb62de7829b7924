"""Networks by their names, and filled with the pretrained weights that fit them."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum

from course_utils.errors import ConfigError, WeightsError
from course_utils.models.efficientnet_lite0 import LITE0, build_lite0
from course_utils.models.freezing import find_head, replace_head
from course_utils.models.weight_files import FileWeights
from course_utils.models.weights import RandomWeights, backbone_name, read_weights, timm_model


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


@cache
def check_image_size(name: str, image_size: int) -> None:
    """Raise `ConfigError` if the network cannot take pictures of this size; only shapes are computed."""
    try:
        with torch.device("meta"), torch.inference_mode():
            build_backbone(name).eval()(torch.empty(1, 3, image_size, image_size))
    except NotImplementedError:
        return  # a RegNet cannot be built without numbers; it takes every size
    except Exception as error:  # each network says it in its own way
        raise ConfigError(
            f"{name} does not accept pictures of this size.",
            where="image_size",
            expected="a size that the network was made for: a vision transformer takes one only, and a deep "
            "network nothing too small",
            found=f"{image_size} pixels ({' '.join(str(error).split())[:150]})",
            do="Set image_size to None: that is the size that the weights were made for.",
        ) from error


def load_backbone(weights: WeightsEnum) -> nn.Module:
    """Build the network that the weights belong to and fill it with them.

    Returns:
        torchvision's (or timm's) own network: float32, on the CPU, every parameter trainable.

    Raises:
        WeightsError: If the weights are missing, damaged, altered, or do not fit the network.
    """
    name = backbone_name(weights)
    if isinstance(weights, RandomWeights):
        print(f"RANDOM WEIGHTS: this {name} has learned nothing yet, because weights is 'none'.")
        return build_backbone(name)
    state, where = read_weights(weights), getattr(weights, "path", weights.url)
    model = build_backbone(name)
    _check_compatible(state, model, where)
    head = f"{find_head(model)}.weight" if isinstance(weights, FileWeights) else ""
    try:
        if head in state:
            replace_head(model, state[head].shape[0])  # a local file may know other classes
        fill(model, state)
    except (RuntimeError, IndexError, ConfigError) as error:
        raise WeightsError(
            f"The weights do not belong to a {name}.",
            where=where,
            expected=f"the {len(model.state_dict())} entries of a {name}",
            found=" ".join(str(error).split())[:300],
            do="Name the backbone that these weights were saved from.",
        ) from error
    return model


def fill(model: nn.Module, state: Mapping[str, torch.Tensor], strict: bool = True) -> None:
    """Load entries into a network as `load_state_dict` does, which refuses an MNASNet that came from a file.

    It wants to know the version of the network. A state dict carries it along, a .safetensors file does not.
    """
    state = OrderedDict(state)
    state._metadata = {"": {"version": model._version}}
    model.load_state_dict(state, strict=strict)


def _check_compatible(state: Mapping[str, torch.Tensor], network: nn.Module, where: Path | str) -> None:
    """Raise `WeightsError` for entries that `load_state_dict` misreports, or takes without a word.

    These are names that all begin with a wrapper's, such as DataParallel's `module.`, and whole numbers where
    the network has decimals. Anything else that does not fit is left to `load_state_dict`.
    """
    expected = network.state_dict()
    if prefix := _wrapper_prefix(state, expected):
        first = next(name for name in expected if f"{prefix}{name}" in state)
        raise WeightsError(
            f"The names of all weights begin with {prefix!r}.",
            where=where,
            expected=f"the network's own names, for example {first}",
            found=f"{prefix}{first}: they were saved from a wrapper around the network",
            do=f"Save them again without it: {{name.removeprefix({prefix!r}): tensor for name, tensor in "
            "state.items()}; or save the state_dict() of the network in the wrapper.",
        )
    for name, tensor in state.items():
        if name in expected and expected[name].is_floating_point() and not tensor.is_floating_point():
            raise WeightsError(
                f"The weights in {name} are not decimal numbers.",
                where=where,
                expected=f"{expected[name].dtype}, as in the network",
                found=str(tensor.dtype),
                do="Save them as float32. Weights that were quantized to whole numbers cannot be used.",
            )


def _wrapper_prefix(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """Return what a wrapper has put before every name, for example "module."; "" for nothing."""
    for name in state:
        parts = name.split(".")
        for length in range(len(parts)):  # the longest name of the network's first
            if ".".join(parts[length:]) in expected:
                prefix = name.removesuffix(".".join(parts[length:]))
                return prefix if all(other.startswith(prefix) for other in state) else ""
    return ""
