"""Wrong answers to the open exercises of lessons 04 and 05, and words of the hint that each must get.

Wrong trainings of the empty page are in `recipes.py`; here are dictionaries of another form.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from course_utils.evaluation import evaluate

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def reported(**changes):
    """Return a recipe that trains nothing, and makes up what it returns."""

    def recipe(folder, epochs, batch_size):
        classes = sorted(path.name for path in folder.iterdir())
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, len(classes)))
        paths = sorted(folder.glob("*/*.png"))
        files = {"train": paths[3:], "val": paths[:1], "test": paths[1:3]}
        report = {"model": model, "classes": classes, "transform": picture_to_input, "files": files}
        report |= {
            "train_loss": [0.3, 0.2, 0.1],
            "val_accuracy": [0.5] * 3,
            "best_epoch": 1,
            "test_accuracy": 0.5,
        }
        return report | {name: change(report) for name, change in changes.items()}

    return recipe


def picture_to_input(picture):
    pixels = np.array(picture.convert("RGB").resize((64, 64)))
    return (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - MEAN) / STD


def files_with(name, change):
    return lambda report: {**report["files"], name: change(report["files"][name])}


def read_picture(path):
    return picture_to_input(Image.open(path))


def mixed_up(path):
    return (torch.from_numpy(np.array(Image.open(path))).reshape(3, 64, 64) / 255 - MEAN) / STD


def read_folder(folder):
    classes = sorted(path.name for path in folder.iterdir())
    files = sorted(folder.glob("*/*.png"))
    labels = [classes.index(path.parent.name) for path in files]
    return torch.stack([read_picture(path) for path in files]), torch.tensor(labels), classes


class Network(nn.Module):
    """A network with a head `fc`."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Linear(2, 5).requires_grad_(False), nn.Linear(5, 1000)


def new_network(num_classes):
    model = Network()
    model.fc = nn.Linear(5, num_classes)
    return model, torch.optim.Adam(model.fc.parameters(), lr=0.01)


def optimizer_first(num_classes):
    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.fc = nn.Linear(5, num_classes)
    return model, optimizer


def everything_learns(num_classes):
    model, optimizer = new_network(num_classes)
    return model.requires_grad_(True), optimizer


def train(model, optimizer, images, labels, epochs, awake=False, last=nn.Identity()):  # noqa: B008
    model.train(awake)
    losses = []
    for _ in range(epochs):
        loss = F.cross_entropy(last(model(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(model, images, labels):
    return (model(images).argmax(dim=1) == labels).float().mean().item()


REPAIRED = {
    "read_picture": read_picture,
    "read_folder": read_folder,
    "new_network": new_network,
    "train": train,
    "accuracy": accuracy,
}


def repaired(**changes):
    return tuple({**REPAIRED, **changes}.values())


RIGHT = {
    "five_faults": [repaired()],
}
WRONG = {
    "empty_page": [
        (lambda *given: [1, 2], "Expected a dictionary, got"),
        (lambda *given: {"model": nn.Identity()}, "none called 'classes'"),
        (reported(classes=lambda report: ["dots", "lines"]), "Expected the names of the folders"),
        (reported(model=lambda report: "model"), "Expected a network as `model`"),
        (
            reported(model=lambda report: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 1000))),
            "got a tensor [2, 1000] of float32. Is that the old head?",
        ),
        (reported(files=lambda report: report["files"]["train"]), "with the lists train, val, test"),
        (reported(files=files_with("val", lambda paths: [])), "got none in 'val'"),
        (reported(files=files_with("val", lambda paths: ["a/b.png"])), "got 'a/b.png' (of"),
        (reported(files=files_with("val", lambda paths: paths * 2)), "in val, twice"),
        (reported(best_epoch=lambda report: 0), "from 1 to 3 as `best_epoch`"),
        (reported(test_accuracy=lambda report: "half"), "Expected a number as `test_accuracy`"),
        (reported(train_loss=lambda report: [0.1]), "for each of the 3 epochs as `train_loss`"),
        (
            reported(transform=lambda report: lambda picture: torch.zeros(3, 224, 224)),
            "made for RGB pictures of 64",
        ),
        (reported(), "Expected a head that ends in an `nn.Linear` with 2 outputs"),
        (lambda *given: evaluate(*given), "`evaluate` does it for you"),
    ],
    "five_faults": [
        (
            repaired(read_picture=mixed_up),
            "mixed up",
        ),
        (repaired(read_picture=lambda path: read_picture(path).transpose(1, 2)), "got its columns"),
        (repaired(read_picture=lambda path: read_picture(path) * STD), "got other numbers"),
        (repaired(read_picture=lambda path: read_picture(path)[0]), "expected a tensor [3, 64, 64]"),
        (repaired(read_folder=lambda folder: read_folder(folder)[:2]), "expected images, labels and classes"),
        (
            repaired(read_folder=lambda folder: (*read_folder(folder)[:2], ["b", "a"])),
            "its classes in order",
        ),
        (
            repaired(read_folder=lambda folder: (read_folder(folder)[0].flip(0), *read_folder(folder)[1:])),
            "the label of its own folder",
        ),
        (repaired(new_network=optimizer_first), "got 0 of them"),
        (repaired(new_network=everything_learns), "expected a frozen backbone"),
        (repaired(new_network=lambda num_classes: new_network(1000)), "a head with 3 outputs, got 1000"),
        (repaired(train=lambda *given: train(*given, last=nn.Softmax(1))), "got 0.55, which no training"),
        (repaired(train=lambda *given: train(*given, awake=True)), "BatchNorm layers that move"),
        (repaired(train=lambda *given: [float(n) for n in range(40)]), "is right, got 39.00"),
        (repaired(train=lambda *given: train(*given)[-1]), "a loss for each of 40 epochs"),
        (
            repaired(accuracy=lambda model, x, y: (model(x).argmax(1, True) == y).float().mean()),
            "Print the shapes",
        ),
        (repaired(accuracy=lambda *given: 100 * accuracy(*given)), "got 66.667"),
        (repaired(accuracy=lambda *given: "all"), "expected a number"),
    ],
}
