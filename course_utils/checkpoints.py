"""How is what was learned kept?

A *model file* (.safetensors) holds a network's weights and what you need to use them: the backbone, the
classes and the image size. A *training state* (.pt) holds what is needed to go on training. Both are
written to a temporary file beside the final one and then moved into place, so that a crash in mid-write
leaves the old file whole. Neither runs code when it is read.
"""

import json
import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from course_utils.errors import CheckpointError, CourseError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, and then put it in the place of `path`.

    Raises:
        CheckpointError: If the file cannot be written; what was at `path` before is still there.
    """
    path = Path(path).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files that only you may read; give this one the usual permissions.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        "A file could not be written.",
        where=path,
        expected="a folder that can be written to, with enough space",
        found=f"{type(error).__name__}: {error}",
        do="Free some space or choose another folder; the old file, if there was one, is unchanged.",
    )


def save_model(
    model: nn.Module, path: str | Path, *, backbone: str, classes: list[str], image_size: int
) -> None:
    """Write a network's weights and how to use them to a .safetensors file.

    Args:
        model: The network; its parameters and buffers are saved as they are.
        path: Where to; an existing file is replaced as a whole.
        backbone: torchvision's name of the network.
        classes: The names of the head's outputs, in order.
        image_size: Height and width in pixels that the network was trained with.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    card = {"backbone": backbone, "classes": classes, "image_size": image_size}
    metadata = {"course": json.dumps(card, ensure_ascii=False)}
    write_atomically(Path(path), lambda temporary: save_file(state, temporary, metadata))


def load_model(path: str | Path) -> tuple[nn.Module, dict]:
    """Read a network that `save_model` wrote.

    Returns:
        The network (float32, on the CPU, in eval mode) and a dictionary with `backbone`, `classes` and
        `image_size`.

    Raises:
        CheckpointError: If the file is missing, damaged or was not written by `save_model`.
    """
    # Imported here: the room of the networks is needed for reading only.
    from course_utils.backbones import build_backbone, replace_head

    path, card = Path(path).resolve(), {}
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})["course"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = build_backbone(card["backbone"])
        replace_head(model, len(card["classes"]))
        model.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError, CourseError) as error:
        raise CheckpointError(
            "A model file cannot be read.",
            where=path,
            expected=f"a .safetensors file that save_model wrote{_of_backbone(card)}",
            found=f"{type(error).__name__}: {str(error)[:200]}",
            do="Check the path; save the model again with save_model.",
        ) from error
    return model.eval(), card


def _of_backbone(card: dict) -> str:
    return f", with the weights of a {card['backbone']}" if "backbone" in card else ""


def save_training_state(path: Path, run, identity: dict) -> None:
    """Write everything that is needed to go on training after the epoch that has just ended.

    Args:
        path: Where to; an existing file is replaced as a whole.
        run: The network, optimizer, schedule, loader, history and best weights of `training.fit`.
        identity: The settings and classes that a run must have to go on from here.
    """
    name, keys, *position = np.random.get_state(legacy=True)
    state = {
        "identity": identity,
        "network": run.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "schedule": run.schedule.state_dict(),
        "best_weights": run.best_weights,
        "epochs": [asdict(epoch) for epoch in run.history.epochs],
        "loader": run.loader.generator.get_state(),
        "torch_random": torch.get_rng_state(),
        "numpy_random": [name, torch.from_numpy(keys.astype(np.int64)), *position],
        "python_random": random.getstate(),
    }
    write_atomically(path, lambda temporary: torch.save(state, temporary))


def load_training_state(path: Path, run, identity: dict) -> None:
    """Put a run back to where `save_training_state` left it. Without a file, nothing happens.

    Raises:
        CheckpointError: If the file cannot be read, or was written with other settings or classes.
    """
    from course_utils.training import Epoch

    if not path.exists():
        return
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = state["identity"]
    except Exception as error:  # a damaged file may raise anything
        raise CheckpointError(
            "A training state cannot be read.",
            where=path.resolve(),
            expected="a file that fit wrote",
            found=f"{type(error).__name__}: {str(error)[:200]}",
            do="Delete the file to start again from the first epoch.",
        ) from error
    different = sorted(name for name in {*saved, *identity} if saved.get(name) != identity.get(name))
    if different:
        raise CheckpointError(
            "A training state belongs to another run.",
            where=path.resolve(),
            expected=", ".join(f"{name}={identity.get(name)!r}" for name in different),
            found=", ".join(f"{name}={saved.get(name)!r}" for name in different),
            do="Go back to the settings that it was made with, or choose another file.",
        )
    run.network.load_state_dict(state["network"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.schedule.load_state_dict(state["schedule"])
    run.best_weights = state["best_weights"]
    run.history.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
    # Last, because building and filling the objects above may itself have drawn random numbers.
    run.loader.generator.set_state(state["loader"])
    torch.set_rng_state(state["torch_random"])
    name, keys, *position = state["numpy_random"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    random.setstate(_as_tuples(state["python_random"]))


def _as_tuples(value):
    return tuple(_as_tuples(part) for part in value) if isinstance(value, (list, tuple)) else value
