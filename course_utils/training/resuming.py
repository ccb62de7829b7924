"""TODO training.resuming."""

import copy
import random
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from course_utils.data import count, everybodys, from_first, number, write_atomically
from course_utils.errors import CheckpointError
from course_utils.training import sharded


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
    from course_utils.training.history import EpochMetrics

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
        run.history.epochs = [EpochMetrics(**epoch) for epoch in state["epochs"]]
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
