"""Adapting: save only what was trained (lesson 13).

The files hold only trained entries, and refuse to load with any other backbone. For adapters of low rank
(LoRA), use the library peft.
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from course_utils.errors import CheckpointError
from course_utils.files import write_atomically
from course_utils.models.backbones import fill
from course_utils.models.freezing import check_trainable
from course_utils.models.saving import hash_tensors


def trained_entries(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the entries of the state dict that training may change.

    Those are the trainable parameters, and the buffers of the layers that have one: a BatchNorm in train mode
    changes its running mean and variance, which no optimizer knows of.

    Raises:
        ConfigError: If nothing is trainable.
    """
    check_trainable(model)
    state, names = model.state_dict(), set()
    for prefix, module in model.named_modules():
        own = [name for name, parameter in module.named_parameters(recurse=False) if parameter.requires_grad]
        if own:
            own += [name for name, _ in module.named_buffers(recurse=False)]
        names |= {f"{prefix}.{name}" if prefix else name for name in own}
    return {name: tensor for name, tensor in state.items() if name in names}


def save_trained(model: nn.Module, path: str | Path) -> None:
    """Write `trained_entries` to a .safetensors file, with the SHA-256 of all other entries.

    Raises:
        ConfigError: If nothing is trainable.
        CheckpointError: If the file cannot be written.
    """
    entries = trained_entries(model)
    entries = {name: tensor.detach().cpu().contiguous() for name, tensor in entries.items()}
    metadata = {"frozen": _hash_of_others(model, entries)}
    write_atomically(Path(path), lambda temporary: save_file(entries, temporary, metadata))


def load_trained(model: nn.Module, path: str | Path) -> None:
    """Put the entries of a file that `save_trained` wrote into a network of the same form.

    All other entries of the network must be those that the file was trained with, because an adapter is a
    change to one particular backbone. If anything is wrong, the network stays unchanged.

    Raises:
        CheckpointError: If the file is missing or damaged, or the network has another form or backbone.
    """
    path = Path(path).resolve()
    try:
        with safe_open(path, framework="pt") as file:
            backbone = (file.metadata() or {})["frozen"]
            entries = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        if wrong := [name for name, tensor in entries.items() if shapes.get(name) != tensor.shape]:
            raise ValueError(f"not in this network, or of another shape: {', '.join(wrong)}")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            "A file of trained entries cannot be loaded.",
            where=path,
            expected="a .safetensors file that save_trained wrote, for this network",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            do="Check the path, and build the network as it was built before training: the same head, and "
            "the same adapters in the same layers.",
        ) from error
    found = _hash_of_others(model, entries)
    if found != backbone:
        raise CheckpointError(
            "What was trained belongs to another backbone.",
            where=path,
            expected=f"a network whose other entries have the SHA-256 {backbone[:12]}…",
            found=f"{found[:12]}…",
            do="Load the weights that it was trained with first. With any others its values mean nothing.",
        )
    fill(model, entries, strict=False)


def _hash_of_others(model: nn.Module, entries: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of all entries of a network except these."""
    others = {name: tensor for name, tensor in model.state_dict().items() if name not in entries}
    return hash_tensors(hashlib.sha256(), others)
