"""Build networks by name, and load pretrained weights into them."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torchvision import models
from torchvision.models import WeightsEnum

from course_utils.errors import ConfigError, WeightsError
from course_utils.models.freezing import find_head, replace_head
from course_utils.models.weight_files import FileWeights
from course_utils.models.weights import (
    LITE0,
    TIMM_LITE0,
    RandomWeights,
    backbone_name,
    read_weights,
    timm_model,
)

WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name


def build_backbone(name: str) -> nn.Module:
    """Build a network by its name ("resnet18", "timm/NAME", ...) with random parameters."""
    if name == LITE0 or name.startswith("timm/"):
        return timm_model(TIMM_LITE0 if name == LITE0 else name, pretrained=False)
    if name in ("googlenet", "inception_v3"):
        # transform_input: as torchvision builds these two for its pretrained weights.
        return models.get_model(name, init_weights=True, aux_logits=False, transform_input=True)
    return models.get_model(name)


def load_backbone(weights: WeightsEnum) -> nn.Module:
    """Build the network that the weights belong to, and load them.

    Returns:
        torchvision's (or timm's) own network: float32, on the CPU, every parameter trainable.

    Raises:
        WeightsError: If the weights are missing, damaged, altered, or do not fit the network.
    """
    name = backbone_name(weights)
    if isinstance(weights, RandomWeights):
        print(f"RANDOM WEIGHTS: this {name} has learned nothing yet, because weights is 'none'.")
        return build_backbone(name)
    state, model = read_weights(weights), build_backbone(name)
    try:
        if isinstance(weights, FileWeights):
            for prefix in WRAPPERS:
                consume_prefix_in_state_dict_if_present(state, prefix)
            head = f"{find_head(model)}.weight"
            if head in state:
                replace_head(model, len(state[head]))  # a local file may have other classes
        fill(model, state)
    except (RuntimeError, ConfigError) as error:
        raise WeightsError(
            f"The weights do not belong to a {name}.",
            where=getattr(weights, "path", weights.url),
            expected=f"the {len(model.state_dict())} entries of a {name}",
            found=" ".join(str(error).split())[:300],
            do="Name the backbone that these weights were saved from.",
        ) from error
    return model


def fill(model: nn.Module, state: Mapping[str, torch.Tensor], strict: bool = True) -> None:
    """Load entries into a network as `load_state_dict` does, but accept an MNASNet from any file.

    MNASNet asks for the version of the network, which a state dict has and a .safetensors file lacks.
    """
    state = OrderedDict(state)
    state._metadata = {"": {"version": model._version}}
    model.load_state_dict(state, strict=strict)
