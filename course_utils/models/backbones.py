"""Pretrained networks, filled with weights that fit them, and the device on which they run."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torchvision.models import WeightsEnum

from course_utils.data import FileWeights, RandomWeights, backbone_name, build_backbone, read_weights
from course_utils.errors import ConfigError, WeightsError
from course_utils.models.freezing import find_head, replace_head


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
