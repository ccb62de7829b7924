"""Wrong answers to the open exercises of lessons 04 and 05, and words of the hint that each must get.

Wrong trainings of the empty page are in `recipes.py`; here are dictionaries of another form.
"""

import nbformat
import torch
from recipes import TRANSFORM
from torch import nn

from course_utils.evaluation import evaluate
from course_utils.settings import REPOSITORY_FOLDER

SOLUTION = REPOSITORY_FOLDER / "notebooks" / "exercises" / "solutions" / "04_freeze_and_train.ipynb"


def functions_of(*cells):
    """Return the five functions of the script of lesson 04, after these cells of the solution."""
    sources = {cell.id: cell.source for cell in nbformat.read(SOLUTION, as_version=4).cells}
    names = {}
    for cell in cells:
        exec(sources[f"lesson04-open-faults-{cell}"], names)
    return {name: names[name] for name in ("read_picture", "read_folder", "new_network", "train", "accuracy")}


BROKEN, REPAIRED = functions_of("script"), functions_of("script", "answer")
read_picture, read_folder, new_network, train, accuracy = REPAIRED.values()


def reported(**changes):
    """Return a recipe that trains nothing, and makes up what it returns."""

    def recipe(folder, epochs, batch_size):
        classes = sorted(path.name for path in folder.iterdir())
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, len(classes)))
        paths = sorted(folder.glob("*/*.png"))
        files = {"train": paths[3:], "val": paths[:1], "test": paths[1:3]}
        report = {"model": model, "classes": classes, "transform": TRANSFORM, "files": files}
        report |= {
            "train_loss": [0.3, 0.2, 0.1],
            "val_accuracy": [0.5] * 3,
            "best_epoch": 1,
            "test_accuracy": 0.5,
        }
        return report | {name: change(report) for name, change in changes.items()}

    return recipe


def files_with(name, change):
    return lambda report: {**report["files"], name: change(report["files"][name])}


def everything_learns(num_classes):
    model, optimizer = new_network(num_classes)
    return model.requires_grad_(True), optimizer


def train_awake(model, *rest):
    model.eval = model.train
    return train(model, *rest)


def repaired(**changes):
    return tuple({**REPAIRED, **changes}.values())


RIGHT = {
    "five_faults": [repaired()],
}
WRONG = {
    "empty_page": [
        (lambda *given: [1, 2], "Expected a dictionary, got"),
        (lambda *given: {"model": nn.Identity()}, "there is no 'classes'"),
        (reported(classes=lambda report: ["dots", "lines"]), "Expected the folder names"),
        (reported(model=lambda report: "model"), "Expected a network as `model`"),
        (
            reported(model=lambda report: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 1000))),
            "got a tensor of shape [2, 1000] (float32). Is this the old head?",
        ),
        (reported(files=lambda report: report["files"]["train"]), "with the lists train, val, test"),
        (reported(files=files_with("val", lambda paths: [])), "got none in 'val'"),
        (reported(files=files_with("val", lambda paths: ["a/b.png"])), "got 'a/b.png' (type str)"),
        (reported(files=files_with("val", lambda paths: paths * 2)), "in val, twice"),
        (reported(best_epoch=lambda report: 0), "from 1 to 3 as `best_epoch`"),
        (reported(test_accuracy=lambda report: "half"), "Expected a number as `test_accuracy`"),
        (reported(train_loss=lambda report: [0.1]), "for each of the 3 epochs as `train_loss`"),
        (
            reported(transform=lambda report: lambda picture: torch.zeros(3, 224, 224)),
            "trained on RGB pictures of 64",
        ),
        (reported(), "Expected a head that ends in an `nn.Linear` with 2 outputs"),
        (lambda *given: evaluate(*given), "`evaluate` does it for you"),
    ],
    "five_faults": [
        (repaired(read_picture=BROKEN["read_picture"]), "in a scrambled order"),
        (
            repaired(read_picture=lambda path: read_picture(path).transpose(1, 2)),
            "got rows and columns swapped",
        ),
        (repaired(read_picture=lambda path: 2 * read_picture(path)), "got other values"),
        (repaired(read_picture=lambda path: read_picture(path)[0]), "expected a tensor [3, 64, 64]"),
        (repaired(read_folder=lambda folder: read_folder(folder)[:2]), "expected images, labels and classes"),
        (
            repaired(read_folder=lambda folder: (*read_folder(folder)[:2], ["b", "a"])),
            "the sorted class names",
        ),
        (repaired(read_folder=BROKEN["read_folder"]), "the label of its own folder"),
        (repaired(new_network=BROKEN["new_network"]), "got 0 of them"),
        (repaired(new_network=everything_learns), "expected a frozen backbone"),
        (repaired(new_network=lambda num_classes: new_network(1000)), "a head with 3 outputs, got 1000"),
        (repaired(train=BROKEN["train"]), "got 0.55, which no amount of training"),
        (repaired(train=train_awake), "BatchNorm statistics that change"),
        (repaired(train=lambda *given: [float(n) for n in range(40)]), "easy to tell apart, got 39.00"),
        (repaired(train=lambda *given: train(*given)[-1]), "a loss for each of 40 epochs"),
        (repaired(accuracy=BROKEN["accuracy"]), "Print the shapes"),
        (repaired(accuracy=lambda *given: 100 * accuracy(*given)), "got 66.667"),
        (repaired(accuracy=lambda *given: "all"), "expected a number"),
    ],
}
