"""Training states: files from which an interrupted run resumes, and ends with the same weights.

A state is written to a temporary file and then moved into place, so that a crash leaves the old one whole. It
is read with `weights_only=True`, which runs no code.
"""

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset

from course_utils.data.loaders import classes_of
from course_utils.errors import CheckpointError
from course_utils.files import write_atomically
from course_utils.models.freezing import trainable_parameters
from course_utils.settings import Settings
from course_utils.training.acceleration import run_on_main
from course_utils.training.history import EpochMetrics, History


@dataclass
class TrainingState:
    """Everything that changes during training, except random numbers: each epoch seeds its own."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler | None
    history: History = field(default_factory=History)
    best_weights: dict[str, torch.Tensor] = field(init=False)
    """Those of the epoch with the lowest validation loss; before the first, those of the start."""


class Checkpoint(NamedTuple):
    """A file for the training state of a run, and what `run_identity` returns for that run."""

    path: Path
    identity: dict


def run_identity(model: nn.Module, train: Dataset, settings: Settings) -> dict:
    """Return everything that must match between a saved run and the run that resumes it."""
    trained = sum(parameter.numel() for parameter in trainable_parameters(model))
    return {
        **settings.model_dump(exclude={"device", "num_workers"}),
        "classes": classes_of(train),
        "train_images": len(train),
        "trained": f"{trained:,} parameters",
    }


def save_training_state(checkpoint: Checkpoint, state: TrainingState) -> None:
    """Write everything needed to resume after the current epoch; only the main process writes.

    An existing file is replaced as a whole.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    saved = {
        "identity": checkpoint.identity,
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "scaler": state.scaler.state_dict() if state.scaler else {},
        "best_weights": state.best_weights,
        "epochs": [asdict(epoch) for epoch in state.history.epochs],
    }
    run_on_main(lambda: write_atomically(checkpoint.path, lambda part: torch.save(saved, part)))


def load_training_state(checkpoint: Checkpoint, state: TrainingState) -> None:
    """Restore a run to where `save_training_state` left it. Without a file, do nothing.

    A run may resume on a different number of processes. Its batches are then the same, except for random
    numbers (dropout, augmentation), because each process has its own.

    Raises:
        CheckpointError: If the file cannot be read, or was written with other settings or classes. Then the
            caller puts the network's best weights back.
    """
    saved = run_on_main(lambda: _read(*checkpoint))
    if saved is None:
        return
    try:
        state.network.load_state_dict(saved["best_weights"])  # now, so that it cannot fail at the end of fit
        best_weights = copy.deepcopy(state.network.state_dict())
        state.network.load_state_dict(saved["network"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.schedule.load_state_dict(saved["schedule"])
        if state.scaler and saved["scaler"]:
            state.scaler.load_state_dict(saved["scaler"])
        state.history.epochs = [EpochMetrics(**epoch) for epoch in saved["epochs"]]
        state.best_weights = best_weights
    except Exception as error:  # the same settings but another network, or a file of another tool
        raise _cannot_resume(checkpoint.path, error) from error


def _read(path: Path, identity: dict) -> dict | None:
    if not path.exists():
        return None
    try:
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


def _cannot_resume(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        "A training state cannot be read.",
        where=path.resolve(),
        expected="a file that fit wrote for this network",
        found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
        do="Choose another file, or move this one away to start again from the first epoch.",
    )
