"""Check of lesson 09: save a network in a file, and predict with the saved network.

The check builds small networks of its own, and saves them in a temporary folder that it deletes afterwards.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from course_utils.checks.asking import ask, ask_value
from course_utils.checks.values import listed
from course_utils.checks.verdict import Right, Wrong, check
from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import CheckpointError
from course_utils.evaluation.metrics import predict
from course_utils.models.backbones import build_backbone
from course_utils.models.freezing import replace_head
from course_utils.models.saving import load_model


@check(
    begin="`save_model` writes the file. `load_model` and `Preprocessing.from_dict` restore all that "
    "`predict` needs.",
    expects="two functions, one that saves a network to a path and one that predicts with the network at a "
    "path",
    answers=2,
)
def handed_over(keep, answer):
    """Lesson 09: save a network, and get the same predictions from the saved one."""
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    picture = picture.resize((80, 60), Image.Resampling.BICUBIC)
    # No network uses this preprocessing by default, so the check notices if an answer uses another one
    unusual = {"crop_size": 48, "resize_size": 48, "mean": (0.2, 0.5, 0.7), "std": (0.4, 0.3, 0.2)}
    transform = Preprocessing(**unusual).transform()
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for classes in (["zebra", "apple", "moth"], ["tree", "shrub", "herb"]):
            model = _small_network(len(classes))
            path = Path(folder) / f"{classes[0]}.safetensors"
            files[path] = predict(model, picture, transform, classes)
            ask(keep, model, path, "shufflenet_v2_x0_5", list(classes), transform)
            if hint := _file_mistake(path, classes):
                raise Wrong(hint)
        yield Right("The files contain the weights, the class names and the preprocessing.")
        for number, (path, wanted) in enumerate(files.items(), start=1):
            table = ask_value(answer, path, picture)
            given, true = (dict(zip(t["class"], t["probability"], strict=True)) for t in (table, wanted))
            if set(given) != set(true):
                raise Wrong(
                    f"The file has the classes {listed(true)}, but your prediction has the "
                    f"classes {listed(given)}. Do you read the file at the given path?"
                )
            off = max(abs(given[name] - true[name]) for name in true)
            if off > 1e-4:
                raise Wrong(
                    f"File {number} is fine, but a probability is off by {off:.2f}. Do you use the "
                    "preprocessing from the file, and the network from the file, without a new head and in "
                    "eval mode?"
                )
        yield Right("Both files give the same predictions as the networks that they were saved from.")


def _small_network(num_classes: int) -> torch.nn.Module:
    """Return a small random network whose predictions clearly depend on the picture."""
    model = build_backbone("shufflenet_v2_x0_5")
    head = replace_head(model, num_classes)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # so that one batch is enough for its mean and variance
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 48, 48))
        head.weight.mul_(3)
    return model.eval()


def _file_mistake(path: Path, classes: list[str]) -> str | None:
    if not path.is_file():
        return f"There is no file {path.name}. Your function has to write to the path that it receives."
    try:
        _, card = load_model(path)
    except CheckpointError as error:
        return (
            f"There is a file, but `load_model` cannot read it ({error.found[:80]}). Write it with "
            "`save_model`."
        )
    if card["classes"] != classes:
        return (
            f"The outputs of the network have the class names {classes}, in this order, but the file has "
            f"{card['classes']}. Each probability would get the wrong name."
        )
    if not card["preprocessing"]:
        return (
            "The file does not say how to preprocess pictures. Without this, the network cannot be used "
            "correctly."
        )
    return None
