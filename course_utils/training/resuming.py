"""Training states: files from which an interrupted run goes on, to the same weights.

A state is written to a temporary file and then moved into place, so that a crash leaves the old one whole. It
is read with `weights_only=True`, which runs no code.
"""

import copy
import random
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset

from course_utils.data import classes_of, run_contents, write_atomically
from course_utils.errors import CheckpointError
from course_utils.models import trainable_parameters
from course_utils.settings import Settings
from course_utils.training.acceleration import from_main_process, num_processes, process_state
from course_utils.training.history import EpochMetrics


@dataclass
class TrainingState:
    """Everything that changes while a network is trained."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    generator: torch.Generator
    """The loader's: the order of the images follows from it."""
    scaler: torch.amp.GradScaler | None
    best_weights: dict[str, torch.Tensor]
    """Those of the epoch with the lowest validation loss; before the first, those of the start."""
    epochs: list[EpochMetrics] = field(default_factory=list)


class Checkpoint(NamedTuple):
    """A file for the training state of a run, and what `run_identity` returns for that run."""

    path: Path
    identity: dict


def run_identity(model: nn.Module, train: Dataset, val: Dataset, settings: Settings) -> dict:
    """Return what a run must have in common with a saved one to go on from it."""
    trained = sum(parameter.numel() for parameter in trainable_parameters(model))
    return {
        **settings.model_dump(exclude={"device", "num_workers"}),
        "classes": classes_of(train),
        "train_images": len(train),
        "trained": f"{trained:,} parameters",
        **run_contents(settings, train=train, val=val),
    }


def save_training_state(path: Path, state: TrainingState, identity: dict) -> None:
    """Write what is needed to go on after the epoch that has just ended; the main process writes.

    An existing file is replaced as a whole. `identity` is what `run_identity` returns.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    saved = {
        "identity": identity,
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "scaler": state.scaler.state_dict() if state.scaler else {},
        "best_weights": state.best_weights,
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "generator": state.generator.get_state(),
        "random_states": [_random_state()],
    }
    if num_processes() > 1:
        from accelerate.utils import gather_object

        saved["random_states"] = gather_object(saved["random_states"])
    from_main_process(lambda: write_atomically(path, lambda temporary: torch.save(saved, temporary)))


def _random_state() -> dict:
    name, keys, *position = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *position],
        "python": random.getstate(),
    }


def load_training_state(path: Path, state: TrainingState, identity: dict) -> None:
    """Put a run back to where `save_training_state` left it. Without a file, nothing happens.

    A run may go on on another number of processes: a batch is the same then, but for its random numbers
    (dropout, augmentation), of which each process has its own.

    Raises:
        CheckpointError: If the file cannot be read, or was written with other settings or classes.
    """
    saved = from_main_process(lambda: _read(path, identity))
    if saved is None:
        return
    before = copy.deepcopy(state.network.state_dict())
    try:
        state.network.load_state_dict(saved["best_weights"])  # now, so that at the end of fit it cannot fail
        best_weights = copy.deepcopy(state.network.state_dict())
        state.network.load_state_dict(saved["network"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.schedule.load_state_dict(saved["schedule"])
        if state.scaler and saved["scaler"]:
            state.scaler.load_state_dict(saved["scaler"])
        numbers = [number for epoch in saved["epochs"] for number in epoch.values()]
        if not numbers or not all(type(number) in (int, float) for number in numbers):
            raise ValueError("its history is not made of numbers")
        state.epochs = [EpochMetrics(**epoch) for epoch in saved["epochs"]]
        # Last, because building and filling the objects above may itself have drawn random numbers.
        state.generator.set_state(saved["generator"])
        _set_random_state(saved["random_states"])
        state.best_weights = best_weights
    except Exception as error:  # the same settings, and yet another network, or a file of another tool
        state.network.load_state_dict(before)
        raise _cannot_resume(path, error) from error


def _read(path: Path, identity: dict) -> dict | None:
    if not path.exists():
        return None
    try:
        # torch does not look at the checksums that are in its own files, and so reads an altered one.
        with zipfile.ZipFile(path) as archive:
            if altered := archive.testzip():
                raise ValueError(f"{altered} in it was altered: its checksum is wrong")
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found = dict(saved["identity"])
    except Exception as error:  # a damaged file may raise anything
        raise _cannot_resume(path, error) from error
    different = sorted(name for name in {*found, *identity} if found.get(name) != identity.get(name))
    if different:
        raise CheckpointError(
            "A training state belongs to another run.",
            where=path.resolve(),
            expected=", ".join(f"{name}={identity.get(name)!r}" for name in different),
            found=", ".join(f"{name}={found.get(name)!r}" for name in different),
            do="Go back to the settings and files that it was made with; or move this file away, or choose "
            "another, to start again from the first epoch.",
        )
    return saved


def _set_random_state(saved: list[dict]) -> None:
    """Go on with this process's random numbers; a process that was not there before keeps those it has."""
    own = process_state().process_index if num_processes() > 1 else 0
    if own < len(saved):
        torch.set_rng_state(saved[own]["torch"])
        name, keys, *position = saved[own]["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
        random.setstate(saved[own]["python"])


def _cannot_resume(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        "A training state cannot be read.",
        where=path.resolve(),
        expected="a file that fit wrote for this network",
        found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
        do="Choose another file, or move this one away to start again from the first epoch.",
    )
