"""Check of lesson 05's open exercise: the whole recipe, written on an empty page.

`recipe_report.py` reads what the recipe returns, `tracing.py` watches it train, and `small_folders.py` writes
the folders; `recipe_hints.py` compares what the recipe did with what it reports.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file
from torch import nn
from torchvision.models import resnet18

from course_utils.checks.recipe_hints import recipe_hints
from course_utils.checks.recipe_report import Report, read_report
from course_utils.checks.small_folders import MODES, ODD_SIZES, write_drawings, write_shapes
from course_utils.checks.tracing import Trace
from course_utils.checks.verdict import Right, Wrong, ask_value, check
from course_utils.settings import REPOSITORY_FOLDER, set_seed

EPOCHS, BATCH_SIZE = 3, 4
WEIGHTS = REPOSITORY_FOLDER / "data" / "weights" / "resnet18_64px.safetensors"
READY_MADE = ("load_splits", "make_loader", "load_backbone", "backbone_weights", "backbone_transform")
READY_MADE += ("replace_head", "freeze", "set_train_mode", "extract_features", "fit", "train_one_epoch")
READY_MADE += ("evaluate",)


@functools.cache
def shipped_network() -> nn.Module:
    """Return the network that ships with the course, with its old head."""
    model = resnet18()
    model.load_state_dict(load_file(WEIGHTS))
    return model


@check(
    begin="begin with the data: `ImageFolder(folder)` finds the pictures and their classes. Then take one "
    "step of the recipe at a time, and print what it gives.",
    expects="a function from a folder, a number of epochs and a batch size to a dictionary",
    without=READY_MADE,
)
def empty_page(answer, pretrained=shipped_network):
    """Lesson 05: the whole recipe in plain PyTorch, tried on two small folders of pictures."""
    backbone = pretrained().eval()
    with tempfile.TemporaryDirectory() as temporary:
        shapes, drawings = Path(temporary) / "shapes", Path(temporary) / "drawings"
        report, trace = _train(answer, write_shapes(shapes), backbone)
        hints = list(recipe_hints(report, trace, backbone))
        if not hints and report.train_loss[1] > 0.999 * report.train_loss[0]:
            losses = "{:.2f} and {:.2f}".format(*report.train_loss)
            hints.append(f"Expected a training loss that falls, got {losses}. Try another learning rate.")
        yield from hints
        if hints:
            return
        yield Right("Two classes of shapes: trained, chosen and tested as it should be.")
        try:
            report, trace = _train(answer, write_drawings(drawings), backbone)
        except Wrong as error:
            raise _reason(answer, Path(temporary), backbone) or error from error
        hints = list(recipe_hints(report, trace, backbone))
        yield from hints
        if not hints:
            yield Right("Ten classes of drawings in odd sizes, grey and transparent: right, too.")


def _train(answer: Callable, folder: Path, backbone: nn.Module) -> tuple[Report, Trace]:
    classes = len(list(folder.iterdir()))
    set_seed(0)
    with Trace(classes, backbone.fc.in_features, EPOCHS) as trace:
        value = ask_value(answer, folder, EPOCHS, BATCH_SIZE)
    return read_report(value, folder, EPOCHS), trace


def _reason(answer: Callable, folder: Path, backbone: nn.Module) -> Wrong | None:
    """Find out which pictures a recipe cannot take: its error, with their kind."""
    kinds = {
        "odd sizes": {"sizes": ODD_SIZES},
        "grey": {"modes": ("L",)},
        "transparent": {"modes": MODES[2:]},
    }
    for kind, how in kinds.items():
        try:
            _train(answer, write_shapes(folder / kind.replace(" ", "_"), **how), backbone)
        except Wrong as error:
            words = "pictures of odd sizes" if kind == "odd sizes" else f"{kind} pictures"
            look = "picture.size" if kind == "odd sizes" else "picture.mode"
            return Wrong(
                f"Expected a recipe for any folder of pictures; with {words} it fails: {error} Try printing "
                f"`{look}` of a few pictures."
            )
    return None
