"""What is in a pretrained network, which part is its head, and what is frozen?

The *backbone* turns a picture into a list of numbers, its *features*. The *head*, the last layer, turns
the features into one number for each class. Lessons 02 to 04 take them apart, exchange the head and
freeze the backbone.
"""

from pathlib import Path

import torch
from torch import nn
from torchvision.models import WeightsEnum

from course_utils.data import (
    AUXILIARY_HEADS,
    FileWeights,
    Found,
    RandomWeights,
    TimmWeights,
    backbone_name,
    backbone_weights,
    build_backbone,
    download,
    hub_state_dict,
    is_intact,
    refuse_unfit,
)
from course_utils.data.backbone_inputs import _timm_model
from course_utils.data.weights import _hub_file
from course_utils.errors import ConfigError, WeightsError
from course_utils.models.heads import find_head, replace_head
from course_utils.settings import Settings


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
    if isinstance(weights, TimmWeights):
        return _timm_model(name, pretrained=True)
    state = weights.get_state_dict() if isinstance(weights, FileWeights) else hub_state_dict(weights)
    extra = AUXILIARY_HEADS.get(name, ())
    state = {entry: tensor for entry, tensor in state.items() if entry.split(".")[0] not in extra}
    model = build_backbone(name)
    refuse_unfit(state, model, getattr(weights, "path", weights.url))
    head = find_head(model) if isinstance(weights, FileWeights) else None
    try:
        if head and f"{head}.weight" in state:
            replace_head(model, state[f"{head}.weight"].shape[0])  # a local file may know other classes
        model.load_state_dict(state)
    except (RuntimeError, IndexError, ConfigError) as error:
        raise WeightsError(
            f"The weights do not belong to a {name}.",
            where=getattr(weights, "path", weights.url),
            expected=f"the {len(model.state_dict())} entries of a {name}",
            found=" ".join(str(error).split())[:300],
            do="Name the backbone that these weights were saved from.",
        ) from error
    return model


def choose_device(name: str = "auto") -> torch.device:
    """Return where the network runs: "auto" is CUDA's graphics card if there is one, else the CPU.

    Apple's "mps" is used only if it is named: the course was never tested there, and others report other
    losses than on a CPU.

    Raises:
        ConfigError: If a device is asked for that this machine does not have.
    """
    present = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    if name == "auto":
        return torch.device(present[0])
    if torch.backends.mps.is_available():
        present.append("mps")
    if name not in present:
        raise ConfigError(
            f"This machine has no device {name!r}.",
            where="device",
            expected=f"auto or {', '.join(present)}",
            found=repr(name),
            do='Use device="auto".',
        )
    return torch.device(name)


def fetch_weights(settings: Settings) -> list[Found]:
    """Have the weights that the settings ask for on this machine, verified, and say what is there.

    Raises:
        ConfigError: If the backbone or the weights are unknown.
        WeightsError: If they are damaged, or cannot be downloaded.
    """
    weights = backbone_weights(settings)
    if isinstance(weights, RandomWeights):
        return []
    if isinstance(weights, TimmWeights):
        from course_utils.models.backbones import load_backbone

        state = load_backbone(weights).state_dict()
        size = sum(tensor.nbytes for tensor in state.values())
        return [Found(settings.backbone, Path("timm's own cache"), size, "sound")]
    if isinstance(weights, FileWeights):
        weights.get_state_dict()
        return [Found(str(weights), weights.path, weights.path.stat().st_size, "sound")]
    file, folder = _hub_file(weights)
    state = "sound" if is_intact(folder / file.name, file) else "fetched"
    path = download(file, folder)
    return [Found(str(weights), path, path.stat().st_size, state)]
