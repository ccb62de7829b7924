"""Model files: a whole network and how to use it (lesson 09), or only its trained part (lesson 13).

A file is written beside the final one and then moved into its place, so that a crash in mid-write leaves the
old file whole. No code runs when it is read.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from course_utils.errors import CheckpointError, CourseError
from course_utils.files import write_atomically
from course_utils.models.backbones import build_backbone, fill
from course_utils.models.freezing import check_trainable, replace_head


def save_model(
    model: nn.Module,
    path: str | Path,
    *,
    backbone: str,
    classes: list[str],
    image_size: int | None,
    transform: Callable | None,
) -> None:
    """Write a network's weights and how to use them to a .safetensors file.

    Args:
        model: The network; its parameters and buffers are saved as they are.
        path: The file to write; an existing one is replaced as a whole.
        backbone: The network's name: torchvision's, or "timm/NAME".
        classes: The names of the head's outputs, in order.
        image_size: Height and width in pixels that the network was trained with. None: the weights' own.
        transform: What `Preprocessing.transform` returned; its numbers are saved. None: none are, and the
            file alone does not say how to prepare pictures.

    Raises:
        CheckpointError: If the file cannot be written, or `load_model` could not read it again: `backbone` or
            `classes` do not fit the network, or the transform is not a `Preprocessing`'s.
    """
    path = Path(path).resolve()
    state = _as_saved(model.state_dict())
    card = {"backbone": backbone, "classes": classes, "image_size": image_size}
    try:
        card["preprocessing"] = transform.preprocessing.to_dict() if transform else None
        with torch.random.fork_rng(devices=[]):
            _rebuild(card, state)
    except (AttributeError, ValueError, RuntimeError, CourseError) as error:
        raise CheckpointError(
            "A network cannot be saved like this, because it could not be loaded again.",
            where=path,
            expected=f"a {backbone} with {len(classes)} outputs, one for each of `classes`, and as transform "
            "what Preprocessing.transform() returned, or None",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            do="Give one class name for every output, in order, the network's name as `backbone`, and the "
            "transform of the test images.",
        ) from error
    metadata = {"course": json.dumps({**card, "sha256": _fingerprint(state, card)}, ensure_ascii=False)}
    write_atomically(path, lambda temporary: save_file(state, temporary, metadata))


def _rebuild(card: dict, state: dict[str, torch.Tensor]) -> nn.Module:
    """Build the network of a file, and fill it."""
    model = build_backbone(card["backbone"])
    replace_head(model, len(card["classes"]))
    fill(model, state)
    return model


def load_model(path: str | Path) -> tuple[nn.Module, dict]:
    """Read a network that `save_model` wrote.

    Returns:
        The network (float32, on the CPU, in eval mode) and a dictionary with `backbone`, `classes`,
        `image_size` and `preprocessing` (see `Preprocessing.from_dict`).

    Raises:
        CheckpointError: If the file is missing, damaged, altered or was not written by `save_model`.
    """
    path, card = Path(path).resolve(), {}
    try:
        metadata, state = _read(path)
        card = json.loads(metadata["course"])
        expected = card.pop("sha256")
        if _fingerprint(state, card) != expected:
            raise ValueError(f"something was altered: its SHA-256 is no longer {expected}")
        model = _rebuild(card, state)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, CourseError) as error:
        backbone = f", with the weights of a {card['backbone']}" if "backbone" in card else ""
        raise CheckpointError(
            "A model file cannot be read.",
            where=path,
            expected=f"a .safetensors file that save_model wrote{backbone}",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            do="Check the path, copy the file again from where it came, or save the model again.",
        ) from error
    return model.eval(), card


def trained_entries(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the entries of the state dict that training may change.

    Those are the trainable parameters, and the buffers of layers with trainable parameters: a BatchNorm in
    train mode changes its running mean and variance without an optimizer.

    Raises:
        ConfigError: If nothing is trainable.
    """
    check_trainable(model)
    state, names = model.state_dict(), set()
    for prefix, module in model.named_modules():
        held = [name for name, parameter in module.named_parameters(recurse=False) if parameter.requires_grad]
        if held:
            held += [name for name, _ in module.named_buffers(recurse=False)]
        names |= {f"{prefix}.{name}" if prefix else name for name in held}
    return {name: tensor for name, tensor in state.items() if name in names}


def save_trained(model: nn.Module, path: str | Path) -> None:
    """Write `trained_entries` to a .safetensors file, with the SHA-256 of all other entries.

    Raises:
        ConfigError: If nothing is trainable.
        CheckpointError: If the file cannot be written.
    """
    entries = _as_saved(trained_entries(model))
    metadata = {"frozen": _hash_of_others(model, entries)}
    write_atomically(Path(path), lambda temporary: save_file(entries, temporary, metadata))


def load_trained(model: nn.Module, path: str | Path) -> None:
    """Load the entries that `save_trained` wrote into a network of the same architecture.

    All other entries of the network must be those that the file was trained with, because an adapter is a
    change to one particular backbone. If anything is wrong, the network stays unchanged.

    Raises:
        CheckpointError: If the file is missing or damaged, or the network has another architecture or
            backbone.
    """
    path = Path(path).resolve()
    try:
        metadata, entries = _read(path)
        backbone = metadata["frozen"]
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


def _as_saved(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return the metadata and the tensors of a .safetensors file."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _fingerprint(state: dict[str, torch.Tensor], card: dict) -> str:
    """Return one SHA-256 over every number of a network and over its card."""
    return hash_tensors(hashlib.sha256(json.dumps(card, sort_keys=True).encode()), state)


def hash_tensors(digest: "hashlib._Hash", tensors: Mapping[str, torch.Tensor]) -> str:
    """Add names, types, shapes and numbers of tensors to a hash, and return it in hexadecimal."""
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _hash_of_others(model: nn.Module, entries: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of all entries of a network except these."""
    others = {name: tensor for name, tensor in model.state_dict().items() if name not in entries}
    return hash_tensors(hashlib.sha256(), others)
