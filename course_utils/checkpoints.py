"""How is what was learned kept?

A *model file* (.safetensors) holds a network's weights and what you need to use them: the backbone, the
classes, the image size and the preprocessing. A *training state* (.pt) holds what is needed to go on
training. Both are written to a temporary file beside the final one and then moved into place, so that a
crash in mid-write leaves the old file whole. Neither runs code when it is read.
"""

import copy
import hashlib
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import InterpolationMode, v2

from course_utils import sharded
from course_utils.errors import CheckpointError, CourseError
from course_utils.files import write_atomically
from course_utils.preprocessing import ImageClassification
from course_utils.processes import count, everybodys, from_first, number


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
        path: Where to; an existing file is replaced as a whole.
        backbone: The network's name: torchvision's, or "timm/NAME".
        classes: The names of the head's outputs, in order.
        image_size: Height and width in pixels that the network was trained with. None: the weights' own.
        transform: What `backbone_transform` gave; `model_transform` rebuilds it. None: nothing is kept of
            it, and whoever reads the file must know how pictures are prepared.

    Raises:
        CheckpointError: If the file cannot be written, `load_model` could not read it again because
            `backbone` or `classes` do not fit the network, or the transform cannot be described.
    """
    path = Path(path).resolve()
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    card = {
        "backbone": backbone,
        "classes": classes,
        "image_size": image_size,
        "preprocessing": describe_preprocessing(transform) if transform else None,
    }
    _refuse_what_does_not_fit(path, state, card)
    metadata = {"course": json.dumps({**card, "sha256": _fingerprint(state, card)}, ensure_ascii=False)}
    write_atomically(path, lambda temporary: save_file(state, temporary, metadata))


def _refuse_what_does_not_fit(path: Path, state: dict[str, torch.Tensor], card: dict) -> None:
    """Build what `load_model` will build, without filling any memory, and compare the shapes."""
    # Imported here: the room of the networks is needed for whole networks only.
    from course_utils.backbones import build_backbone, replace_head

    found, cause = "", None
    try:
        with torch.device("meta"):
            twin = build_backbone(card["backbone"])
            replace_head(twin, len(card["classes"]))
        wanted = {name: list(tensor.shape) for name, tensor in twin.state_dict().items()}
        given = {name: list(tensor.shape) for name, tensor in state.items()}
        for name in [*given, *wanted]:
            if given.get(name) != wanted.get(name):
                found = f"{name}: shape {given.get(name)}, where {wanted.get(name)} is needed"
                break
    except (ValueError, CourseError) as error:  # no such network, or fewer than two classes
        found, cause = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", error
    if found:
        raise CheckpointError(
            "A network cannot be saved like this: nobody could read it again.",
            where=path,
            expected=f"a {card['backbone']} with {len(card['classes'])} outputs, one for each of `classes`",
            found=found,
            do="Give a name to every output, in their order, and the network's own name as `backbone`.",
        ) from cause


def load_model(path: str | Path) -> tuple[nn.Module, dict]:
    """Read a network that `save_model` wrote.

    Returns:
        The network (float32, on the CPU, in eval mode) and a dictionary with `backbone`, `classes`,
        `image_size` and `preprocessing` (see `model_transform`).

    Raises:
        CheckpointError: If the file is missing, damaged, altered or was not written by `save_model`.
    """
    # Imported here: the room of the networks is needed for reading only.
    from course_utils.backbones import build_backbone, replace_head
    from course_utils.weights import refuse_nan

    path, card = Path(path).resolve(), {}
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})["course"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        expected = card.pop("sha256")
        if _fingerprint(state, card) != expected:
            raise ValueError(f"something was altered: its SHA-256 is no longer {expected}")
        refuse_nan(state, path)
        model = build_backbone(card["backbone"])
        replace_head(model, len(card["classes"]))
        model.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, CourseError) as error:
        raise CheckpointError(
            "A model file cannot be read.",
            where=path,
            expected=f"a .safetensors file that save_model wrote{_of_backbone(card)}",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            do="Check the path; save the model again with save_model.",
        ) from error
    return model.eval(), card


def model_transform(card: dict) -> v2.Compose:
    """Return the preprocessing that a network was saved with, from a PIL picture to its input.

    Args:
        card: The dictionary that `load_model` returned.

    Raises:
        CheckpointError: If it was saved without its preprocessing.
    """
    if not card["preprocessing"]:
        raise CheckpointError(
            "The preprocessing of this network is not known.",
            where=card["backbone"],
            expected="a model file that was saved with its transform",
            found="one that was saved without",
            do="Build it with backbone_transform(weights), or save the model again with transform=...",
        )
    described = dict(card["preprocessing"])
    interpolation, sides = InterpolationMode(described.pop("interpolation")), described.pop("resize_size")
    preset = ImageClassification(**described, interpolation=interpolation)
    preset.resize_size = sides if isinstance(sides, list) else [sides]  # older files have one number
    return v2.Compose([v2.RGB(), preset])


def describe_preprocessing(transform: Callable) -> dict:
    """Return the numbers of a transform that `backbone_transform` made, from which it can be rebuilt.

    Raises:
        CheckpointError: If it is anything else than a preset, after making a picture RGB.
    """
    *before, preset = getattr(transform, "transforms", [transform])
    preset = _as_torchvisions(preset)
    if not isinstance(preset, ImageClassification) or not all(isinstance(step, v2.RGB) for step in before):
        raise CheckpointError(
            "The preprocessing of a network cannot be written into its file.",
            where=f"transform={' '.join(str(transform).split())[:200]}",
            expected="what backbone_transform(weights) returns, unchanged",
            found="other steps, which the file could not say how to do",
            do="Give the transform of the test images: what only training images go through is not needed.",
        )
    return {
        "resize_size": list(preset.resize_size),  # the shorter side, or height and width
        "crop_size": preset.crop_size[0],
        "mean": list(preset.mean),
        "std": list(preset.std),
        "interpolation": preset.interpolation.value,
        "antialias": preset.antialias,
    }


def _as_torchvisions(preset: Callable) -> Callable:
    """Return torchvision's preset that does to a PIL picture what timm's steps do; others as they are."""
    steps = {type(step).__name__: step for step in getattr(preset, "transforms", [])}
    if list(steps) != ["Resize", "CenterCrop", "MaybeToTensor", "Normalize"]:
        return preset
    resize, crop, _, numbers = steps.values()
    if len({*crop.size}) > 1:
        return preset
    found = ImageClassification(
        crop_size=crop.size[0],
        mean=tuple(numbers.mean.tolist()),
        std=tuple(numbers.std.tolist()),
        interpolation=resize.interpolation,
    )
    found.resize_size = [resize.size] if isinstance(resize.size, int) else [*resize.size]
    return found


def _fingerprint(state: dict[str, torch.Tensor], card: dict) -> str:
    """Return one SHA-256 over every number of a network and over what is said about it."""
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _of_backbone(card: dict) -> str:
    return f", with the weights of a {card['backbone']}" if "backbone" in card else ""


def save_training_state(path: Path, run, identity: dict) -> None:
    """Write everything that is needed to go on training after the epoch that has just ended.

    Args:
        path: Where to; an existing file is replaced as a whole.
        run: The network, optimizer, schedule, scaler, loader, history and best weights of `training.fit`.
        identity: The settings and classes that a run must have to go on from here.
    """
    state = {
        "identity": identity,
        "network": sharded.whole(run.network.state_dict()),
        "optimizer": sharded.whole(run.optimizer.state_dict()),
        "schedule": run.schedule.state_dict(),
        "scaler": run.scaler.state_dict(),
        "best_weights": sharded.whole(run.best_weights),
        "epochs": [asdict(epoch) for epoch in run.history.epochs],
        "loader": run.loader.generator.get_state(),
        **_random_state(),
    }
    if count() > 1:
        state["random_of_processes"] = everybodys(_random_state())
    from_first(lambda: write_atomically(path, lambda temporary: torch.save(state, temporary)))


def _random_state() -> dict:
    name, keys, *position = np.random.get_state(legacy=True)
    return {
        "torch_random": torch.get_rng_state(),
        "numpy_random": [name, torch.from_numpy(keys.astype(np.int64)), *position],
        "python_random": random.getstate(),
    }


def load_training_state(path: Path, run, identity: dict) -> None:
    """Put a run back to where `save_training_state` left it. Without a file, nothing happens.

    The first process reads the file, for all. A run may go on on another number of processes: a batch is the
    same then, but for its random numbers (dropout, augmentation), of which each process has its own.

    Raises:
        CheckpointError: If the file cannot be read, or was written with other settings or classes.
    """
    state = from_first(lambda: _read_training_state(path, identity))
    if state is not None:
        _put_back(path, run, state)


def _read_training_state(path: Path, identity: dict) -> dict | None:
    if not path.exists():
        return None
    try:
        # torch does not look at the checksums that are in its own files, and so reads an altered one.
        with zipfile.ZipFile(path) as archive:
            if altered := archive.testzip():
                raise ValueError(f"{altered} in it was altered: its checksum is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = dict(state["identity"])
    except Exception as error:  # a damaged file may raise anything
        raise _cannot_resume(path, error) from error
    different = sorted(name for name in {*saved, *identity} if saved.get(name) != identity.get(name))
    if different:
        raise CheckpointError(
            "A training state belongs to another run.",
            where=path.resolve(),
            expected=", ".join(f"{name}={identity.get(name)!r}" for name in different),
            found=", ".join(f"{name}={saved.get(name)!r}" for name in different),
            do="Go back to the settings that it was made with, or choose another file.",
        )
    return state


def _put_back(path: Path, run, state: dict) -> None:
    from course_utils.training import Epoch

    before = copy.deepcopy(run.network.state_dict())
    try:
        best = sharded.in_parts(state["best_weights"], run.network)
        run.network.load_state_dict(best)  # now, so that at the end of fit it cannot fail
        run.network.load_state_dict(sharded.in_parts(state["network"], run.network))
        run.optimizer.load_state_dict(sharded.optimizer_in_parts(state["optimizer"], run.optimizer))
        run.schedule.load_state_dict(state["schedule"])
        run.scaler.load_state_dict(state["scaler"])
        run.best_weights = best
        numbers = [number for epoch in state["epochs"] for number in epoch.values()]
        if not numbers or not all(type(number) in (int, float) for number in numbers):
            raise ValueError("its history is not one of numbers")
        run.history.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        # Last, because building and filling the objects above may itself have drawn random numbers.
        run.loader.generator.set_state(state["loader"])
        _set_random_state(state)
    except Exception as error:  # the same settings, and yet another network, or a file of another tool
        run.network.load_state_dict(before)
        raise _cannot_resume(path, error) from error


def _set_random_state(state: dict) -> None:
    """Go on with this process's random numbers; a process that was not there before keeps those it has."""
    own = state.get("random_of_processes", [state])[number() :][:1]
    for saved in own:
        torch.set_rng_state(saved["torch_random"])
        name, keys, *position = saved["numpy_random"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
        random.setstate(_as_tuples(saved["python_random"]))


def _cannot_resume(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        "A training state cannot be read.",
        where=path.resolve(),
        expected="a file that fit wrote for this network",
        found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
        do="Choose another file, or move this one away to start again from the first epoch.",
    )


def _as_tuples(value):
    return tuple(_as_tuples(part) for part in value) if isinstance(value, (list, tuple)) else value
