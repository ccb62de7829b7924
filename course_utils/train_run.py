"""How is one whole training run made without a notebook, on one process or on many?

The same steps as in the lessons: data, network, head, freeze or thaw, `fit`, `evaluate`. What comes out lies
in one folder: the weights, the training state from which an interrupted run goes on, and `results.json`.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from course_utils.backbones import freeze, load_backbone, replace_head
from course_utils.checkpoints import save_model
from course_utils.data import load_splits
from course_utils.errors import CourseError, DataError
from course_utils.evaluation import accuracy_interval, evaluate
from course_utils.files import write_atomically
from course_utils.precision import fastest_dtype
from course_utils.processes import count, from_first, named
from course_utils.settings import Settings, set_seed
from course_utils.stages import thaw
from course_utils.training import fit
from course_utils.weights import backbone_weights


def train_run(settings: Settings, output: str | Path, part: str = "head") -> dict:
    """Train a network, test it, and write what came out. An unfinished run in `output` goes on.

    If several processes were launched, every one calls this; they share the work, and the first one writes.

    Args:
        settings: What to train on, with which network, and how.
        output: A folder for `training.pt`, `model.safetensors` and `results.json`.
        part: What is trained: "head", "all", or the name of a stage, such as "layer4", for it and all above.

    Returns:
        What is in `results.json`.

    Raises:
        CourseError: If anything fails. If there are several processes, the message names the one that failed.
    """
    try:
        return _train_run(settings, Path(output), part)
    except CourseError as error:
        raise named(error) from error


def _train_run(settings: Settings, output: Path, part: str) -> dict:
    set_seed(settings.seed)
    started = time.perf_counter()
    weights = backbone_weights(settings)
    splits, model = load_splits(settings), load_backbone(weights)
    replace_head(model, len(splits.classes))
    choose_part(model, part)
    history = fit(model, splits.train, splits.val, settings, checkpoint=output / "training.pt")
    fitted = time.perf_counter()
    result = evaluate(model, splits.test, num_workers=settings.num_workers)
    low, high = accuracy_interval(result.correct, len(result.labels))
    device = next(model.parameters()).device
    facts = {
        "settings": settings.model_dump(),
        "trained": part,
        "interrupted": history.interrupted,
        "processes": count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "precision": str(fastest_dtype(device)).removeprefix("torch."),
        "images": {name: len(getattr(splits, name)) for name in ("train", "val", "test")},
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "best_epoch": history.best.epoch,
        "test": {
            "correct": result.correct,
            "accuracy": result.accuracy,
            "interval_95": [low, high],
        },
        "seconds": {"fit": fitted - started, "evaluate": time.perf_counter() - fitted},
    }
    from_first(lambda: _write(output, model, splits.classes, settings, facts))
    return facts


def choose_part(model: nn.Module, part: str) -> None:
    """Freeze a network but for its head, and for what `part` names: see `train_run`.

    Raises:
        ConfigError: If the network has no such stage.
    """
    freeze(model)
    if part == "all":
        model.requires_grad_(True)
    elif part != "head":
        thaw(model, down_to=part)


def _write(output: Path, model: nn.Module, classes: list[str], settings: Settings, facts: dict) -> None:
    names = {"backbone": settings.backbone, "classes": classes, "image_size": settings.image_size}
    save_model(model, output / "model.safetensors", **names)
    text = json.dumps(facts, indent=2) + "\n"
    write_atomically(output / "results.json", lambda part: part.write_text(text, encoding="utf-8"), DataError)


def told(facts: dict) -> str:
    """Return what came out of a run, in two lines for people."""
    test, images = facts["test"], facts["images"]["test"]
    low, high = test["interval_95"]
    by = f"{facts['processes']} process(es), {facts['device']}, {facts['precision']}"
    return (
        f"{facts['trained']} trained on {facts['images']['train']} images by {by}: "
        f"{sum(facts['seconds'].values()):.1f} s\n"
        f"test accuracy {test['accuracy']:.3f} ({low:.3f} to {high:.3f}): "
        f"{test['correct']} of {images} images"
    )
