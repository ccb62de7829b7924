"""The train command: one whole training run without a notebook, on one process or on many.

The same steps as in the lessons: data, network, head, freeze or thaw, `fit`, `evaluate`. All results are in
one folder: the weights, the training state from which an interrupted run resumes, and `results.json`.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.errors import ConfigError, printable
from course_utils.evaluation.metrics import Evaluation, accuracy_interval, evaluate, per_class
from course_utils.files import check_new, make_folder, write_atomically
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head, thaw
from course_utils.models.saving import save_model
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.acceleration import fastest_dtype, num_processes, run_on_main
from course_utils.training.loop import fit

STATE, MODEL, RESULTS = "training.pt", "model.safetensors", "results.json"


def train_run(settings: Settings, output: Path, part: str = "head") -> dict:
    """Train a network, test it, and write the results. Resume an unfinished run in `output`.

    If several processes were launched, every one must call this; they share the work, and the first one
    writes.

    Args:
        settings: What to train on, with which network, and how.
        output: A folder for `training.pt`, `model.safetensors` and `results.json`. The last two are written
            at the end.
        part: The part to train: "head", "all", or the name of a stage, such as "layer4", for it and all
            above.

    Returns:
        The content of `results.json`.

    Raises:
        ConfigError: If the folder already has a model or results.
        CourseError: If anything else fails.
        KeyboardInterrupt: After Ctrl-C. The finished epochs are kept.
    """
    set_seed(settings.seed)
    started = time.perf_counter()
    weights = backbone_weights(settings)
    transform = Preprocessing.from_weights(weights, settings.image_size).transform()
    splits, model = load_splits(settings, transform), load_backbone(weights)
    replace_head(model, len(splits.classes))
    choose_part(model, part)
    run_on_main(lambda: _make_output(output))
    history = fit(model, splits.train, splits.val, settings, checkpoint=output / STATE)
    if history.interrupted:
        raise KeyboardInterrupt(f"Interrupted. To go on: the same command with --output {output}")
    fitted = time.perf_counter()
    result = evaluate(model, splits.test, num_workers=settings.num_workers)
    device = next(model.parameters()).device
    facts = {
        "settings": settings.model_dump(),
        "trained": part,
        "processes": num_processes(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "precision": str(fastest_dtype(device)).removeprefix("torch."),
        "images": {name: len(getattr(splits, name)) for name in ("train", "val", "test")},
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "best_epoch": history.best.epoch,
        "test": _tested(result),
        "seconds": {"fit": fitted - started, "evaluate": time.perf_counter() - fitted},
    }
    card = {"backbone": settings.backbone, "classes": splits.classes, "image_size": settings.image_size}
    run_on_main(lambda: save_model(model, output / MODEL, transform=transform, **card))
    text = json.dumps(facts, indent=2) + "\n"
    run_on_main(lambda: write_atomically(output / RESULTS, lambda part: part.write_text(text, "utf-8")))
    return facts


def _make_output(output: Path) -> None:
    """Make the folder of a run, and refuse one with the model or the results of a run."""
    make_folder(output)
    for name in (MODEL, RESULTS):
        check_new(output / name, ConfigError, another="folder with --output")


def _tested(result: Evaluation) -> dict:
    """Return the test results for `results.json`."""
    classes = per_class(result)
    return {
        "correct": result.correct,
        "accuracy": result.accuracy,
        "interval_95": [*accuracy_interval(result.correct, len(result.labels))],
        "baseline": {
            "class": classes.images.idxmax(),
            "accuracy": float(classes.images.max() / classes.images.sum()),
        },
        "recall": classes.recall.to_dict(),
    }


def choose_part(model: nn.Module, part: str) -> None:
    """Freeze a network except for its head and for `part`: see `train_run`."""
    freeze(model)
    if part == "all":
        model.requires_grad_(True)
    elif part != "head":
        thaw(model, down_to=part)


def summarise_run(facts: dict) -> str:
    """Return the results of a run in a few lines, with the baseline and the classes of lowest recall."""
    test, images = facts["test"], facts["images"]
    low, high = test["interval_95"]
    by = f"{facts['processes']} process(es), {facts['device']}, {facts['precision']}"
    lowest = sorted(test["recall"].items(), key=lambda item: item[1])[:10]
    lines = [
        f"{facts['trained']} trained on {images['train']} images by {by}: "
        f"{sum(facts['seconds'].values()):.1f} s",
        f"test accuracy {test['accuracy']:.3f} ({low:.3f} to {high:.3f}): "
        f"{test['correct']} of {images['test']} images",
        f"baseline {test['baseline']['accuracy']:.3f}: always the largest class, {test['baseline']['class']}",
        f"lowest recall: {', '.join(f'{name} {recall:.3f}' for name, recall in lowest)}",
    ]
    return printable("\n".join(lines))
