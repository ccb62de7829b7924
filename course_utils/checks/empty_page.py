"""Check of the open exercise of lesson 05: write the whole recipe on an empty page.

The recipe trains on two small folders: two classes of shapes, and ten classes of drawings. `recipe_report.py`
reads its result, `tracing.py` records its training, and `recipe_hints.py` compares the two.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from torch import nn
from torchvision.models import resnet18

from course_utils.checks.asking import ask_value
from course_utils.checks.recipe_hints import recipe_hints
from course_utils.checks.recipe_report import ODD_SIZES, Report, read_report
from course_utils.checks.tracing import Trace
from course_utils.checks.verdict import Right, Wrong, check
from course_utils.settings import REPOSITORY_FOLDER, set_seed

EPOCHS, BATCH_SIZE = 3, 4
DRAWINGS = REPOSITORY_FOLDER / "data" / "clipart" / "train"
MODES = ("RGB", "L", "RGBA", "P", "LA")
WEIGHTS = REPOSITORY_FOLDER / "data" / "weights" / "resnet18_64px.safetensors"
READY_MADE = ("load_splits", "make_loader", "load_backbone", "backbone_weights", "replace_head", "freeze")
READY_MADE += ("set_train_mode", "extract_features", "fit", "train_one_epoch", "evaluate")


@functools.cache
def shipped_network() -> nn.Module:
    """Return the pretrained network of the course with its old head."""
    model = resnet18()
    model.load_state_dict(load_file(WEIGHTS))
    return model


@check(
    begin="start with the data. `ImageFolder(folder)` finds the pictures and their classes. Then write one "
    "step of the recipe at a time, and print its result.",
    expects="a function from a folder, a number of epochs and a batch size to a dictionary",
    without=READY_MADE,
)
def empty_page(answer, pretrained=shipped_network):
    """Lesson 05: write the whole recipe in plain PyTorch. The check runs it on two small folders."""
    backbone = pretrained().eval()
    with tempfile.TemporaryDirectory() as temporary:
        shapes, drawings = Path(temporary) / "shapes", Path(temporary) / "drawings"
        report, trace = _train(answer, _write_shapes(shapes), backbone)
        hints = list(recipe_hints(report, trace, backbone))
        if not hints and report.train_loss[1] > 0.999 * report.train_loss[0]:
            losses = "{:.2f} and {:.2f}".format(*report.train_loss)
            hints.append(f"Expected a training loss that falls, got {losses}. Try another learning rate.")
        yield from hints
        if hints:
            return
        yield Right("Two classes of shapes: your recipe trains, chooses and tests correctly.")
        try:
            report, trace = _train(answer, _write_drawings(drawings), backbone)
        except Wrong as error:
            raise _reason(answer, Path(temporary), backbone) or error from error
        hints = list(recipe_hints(report, trace, backbone))
        yield from hints
        if not hints:
            yield Right(
                "Ten classes of drawings, some grey, transparent or of odd sizes: your recipe is right here "
                "as well."
            )


def _train(answer: Callable, folder: Path, backbone: nn.Module) -> tuple[Report, Trace]:
    classes = len(list(folder.iterdir()))
    set_seed(0)
    with Trace(classes, backbone.fc.in_features, EPOCHS) as trace:
        value = ask_value(answer, folder, EPOCHS, BATCH_SIZE)
    return read_report(value, folder, EPOCHS), trace


def _reason(answer: Callable, folder: Path, backbone: nn.Module) -> Wrong | None:
    """Find the kind of pictures that a recipe cannot handle. Return its error together with this kind."""
    kinds = {
        "pictures of odd sizes": ("size", {"sizes": ODD_SIZES}),
        "grey pictures": ("mode", {"modes": ("L",)}),
        "transparent pictures": ("mode", {"modes": MODES[2:]}),
    }
    for words, (look, how) in kinds.items():
        try:
            _train(answer, _write_shapes(folder / words, **how), backbone)
        except Wrong as error:
            return Wrong(
                f"Expected a recipe for any folder of pictures, but yours fails with {words}: {error} Try "
                f"printing `picture.{look}` for a few pictures."
            )
    return None


def _write_shapes(folder: Path, modes: tuple = ("RGB",), sizes: tuple = ((64, 64),)) -> Path:
    """Write 12 pictures each of warm stripes and cold dots, cycling through the modes and sizes."""
    random = np.random.default_rng(0)
    for name in ("stripes", "dots"):  # not in alphabetical order
        (folder / name).mkdir(parents=True)
        for number in range(12):
            picture = _shape(name, random)
            picture = picture.resize(sizes[number % len(sizes)]).convert(modes[number % len(modes)])
            picture.save(folder / name / f"{number}.png")
    return folder


def _shape(name: str, random: np.random.Generator) -> Image.Image:
    picture = Image.new("RGBA", (64, 64), tuple(random.integers(200, 256, 3)))
    draw, (strong, weak) = ImageDraw.Draw(picture), random.integers((160, 0), (256, 100))
    if name == "stripes":
        for left in range(int(random.integers(0, 8)), 64, int(random.integers(8, 16))):
            draw.rectangle((left, 0, left + 4, 63), fill=(strong, weak, weak, 255))
    else:
        for x, y in random.integers(4, 60, (6, 2)).tolist():
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=(weak, weak, strong, 255))
    return picture


def _write_drawings(folder: Path) -> Path:
    """Write 6 drawings of each of the ten classes in odd sizes, some of them grey or transparent."""
    for class_folder in sorted(DRAWINGS.iterdir(), reverse=True):
        (folder / class_folder.name).mkdir(parents=True)
        for number, path in enumerate(sorted(class_folder.iterdir())[:6]):
            with Image.open(path) as drawing:
                picture = drawing.convert("RGBA").resize(ODD_SIZES[number % len(ODD_SIZES)])
            mode = MODES[number % len(MODES)]
            if mode not in ("RGBA", "LA"):
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
                picture = picture.convert("RGB")
            picture.convert(mode).save(folder / class_folder.name / f"{number}.png")
    return folder
