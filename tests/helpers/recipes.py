"""Recipes for lesson 05's empty page: one with each typical mistake on request, and right ones.

They train a small network in the place of the ResNet that ships, in a fraction of its time.
"""

import copy
import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
INPUT = [v2.Resize(64), v2.CenterCrop(64), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
TRANSFORM = v2.Compose([v2.RGB(), *INPUT, v2.Normalize(MEAN, STD)])


class SmallNetwork(nn.Module):
    """A backbone with BatchNorm, and a head `fc` with 1,000 outputs."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = (
            nn.Conv2d(3, 24, 7, stride=4, padding=3),
            nn.BatchNorm2d(24),
            nn.ReLU(),
        )
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(2), nn.Linear(96, 1000)

    def forward(self, images):
        return self.fc(self.avgpool(self.relu(self.bn1(self.conv1(images)))).flatten(1))


@functools.cache
def _pretrained():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = SmallNetwork()
        network(torch.randn(64, 3, 64, 64))  # in train mode: gives BatchNorm its statistics
    return network


def pretrained():
    return copy.deepcopy(_pretrained())


def recipe(folder, epochs, batch_size, mistake="", share=0.2):
    """Train as lesson 05 asks for; `mistake` names what goes wrong."""
    steps = INPUT if mistake == "no normalisation" else [*INPUT, v2.Normalize(MEAN, STD)]
    steps = [v2.Resize((64, 64)), *steps[1:]] if mistake == "squashed" else steps
    steps = [
        step for step in steps if mistake != "no resize" or not isinstance(step, v2.Resize | v2.CenterCrop)
    ]
    transform = v2.Compose(steps if mistake == "no RGB" else [v2.RGB(), *steps])
    augmented = v2.Compose([v2.RandomHorizontalFlip(1), v2.ColorJitter(0.5), transform])
    data = ImageFolder(folder, transform)
    if mistake == "pictures as they are":
        data = ImageFolder(folder, v2.Compose(steps), loader=Image.open)
    order = list(range(len(data))) if mistake == "split in order" else torch.randperm(len(data)).tolist()
    held = round(share * len(order))
    parts = {"test": order[:held], "val": order[held : 2 * held], "train": order[2 * held :]}
    if mistake == "overlap":
        parts["train"] = order[held:]
    files = {name: [data.samples[n][0] for n in part] for name, part in parts.items()}
    if mistake == "trained on test":
        parts["train"] = order
    if mistake == "val is test":
        parts["val"] = parts["test"]
    val_data = ImageFolder(folder, augmented if mistake == "augmented" else transform)
    loaders = {
        "train": DataLoader(Subset(data, parts["train"]), batch_size, shuffle=True),
        "val": DataLoader(Subset(val_data, parts["val"]), batch_size, shuffle=mistake == "order lost"),
        "test": DataLoader(Subset(data, parts["test"]), batch_size),
    }
    model = SmallNetwork() if mistake == "random weights" else pretrained()
    model.requires_grad_(mistake == "not frozen")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if mistake != "old head":
        model.fc = nn.Linear(96, len(data.classes))
    model.fc.requires_grad_(True)
    if mistake != "optimizer first":
        rate = {"rate too small": 0.0, "rate too large": 30.0}.get(mistake, 0.02)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    train_loss, val_accuracy, best, best_epoch = [], [], None, None

    def accuracy(name):
        model.train(mistake == "no eval")
        right, images, shares = 0, 0, []
        listed = [data.targets[n] for n in parts[name]]
        with torch.no_grad():
            for inputs, labels in loaders[name]:
                if mistake == "order lost":
                    labels = torch.tensor(listed[images : images + len(inputs)])
                agree = model(inputs).argmax(dim=1) == labels
                right, images = right + int(agree.sum()), images + len(labels)
                shares.append(float(agree.float().mean()))
        if mistake == "last batch":
            return shares[-1]
        if mistake == "mean of batches":
            return sum(shares) / len(shares)
        return right / images * (100 if mistake == "per cent" else 1)

    for epoch in range(1, epochs + 1):
        total, images = 0.0, 0
        for inputs, labels in loaders["train"]:
            model.train(mistake == "BatchNorm")
            outputs = model(inputs)
            outputs = outputs.softmax(dim=1) if mistake == "softmax" else outputs
            loss = F.cross_entropy(outputs, labels)
            if mistake not in ("no zero_grad", "zero_grad too late"):
                optimizer.zero_grad()
            loss.backward()
            if mistake == "zero_grad too late":
                optimizer.zero_grad()
            optimizer.step()
            total, images = total + loss.item() * len(labels), images + len(labels)
        train_loss.append(loss.item() if mistake == "last loss" else total / images)
        val_accuracy.append(accuracy("test" if mistake == "test chooses" else "val"))
        if val_accuracy[-1] == max(val_accuracy) and val_accuracy.count(max(val_accuracy)) == 1:
            best_epoch = epoch
            best = model.state_dict() if mistake == "no copy" else copy.deepcopy(model.state_dict())
    if mistake not in ("last epoch", "no copy"):
        model.load_state_dict(best)
    return {
        "model": model,
        "classes": data.classes[::-1] if mistake == "class order" else data.classes,
        "transform": augmented if mistake == "random transform" else transform,
        "files": files,
        "train_loss": train_loss,
        "val_accuracy": val_accuracy,
        "best_epoch": epochs if mistake == "last claimed" else best_epoch,
        "test_accuracy": accuracy("test"),
    }


def _fit(forward, head, optimizer, loaders, epochs):
    """Train a head; return losses, accuracies, the best epoch and the best head."""
    losses, accuracies, heads = [], [], []
    for _ in range(epochs):
        head.train()
        total, images = 0, 0
        for inputs, labels in loaders["train"]:
            loss = nn.CrossEntropyLoss()(forward(inputs), labels)
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            optimizer.step()
            total, images = total + len(labels) * float(loss), images + len(labels)
        losses.append(total / images)
        accuracies.append(_share_right(forward, head, loaders["val"]))
        heads.append(copy.deepcopy(head.state_dict()))
    best = max(range(epochs), key=accuracies.__getitem__)
    head.load_state_dict(heads[best])
    return losses, accuracies, best + 1


@torch.inference_mode()
def _share_right(forward, head, loader):
    head.eval()
    pairs = [(forward(inputs).argmax(dim=1), labels) for inputs, labels in loader]
    predictions, labels = map(torch.cat, zip(*pairs, strict=True))
    return (predictions == labels).float().mean()


def _report(model, data, files, fitted, test_accuracy):
    names = ("train_loss", "val_accuracy", "best_epoch")
    known = {"model": model, "classes": data.classes, "transform": TRANSFORM, "files": files}
    return {**known, **dict(zip(names, fitted, strict=True)), "test_accuracy": test_accuracy}


def features_once(folder, epochs, batch_size):
    """Run the backbone once, and train a head with dropout and a hidden layer on its features."""
    data, model = ImageFolder(folder, TRANSFORM), pretrained().eval()
    model.fc = nn.Identity()
    with torch.no_grad():
        features = torch.cat([model(images) for images, _ in DataLoader(data, 16)])
    labels = torch.tensor(data.targets)
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, len(data.classes)))
    parts = torch.randperm(len(data)).tensor_split((len(data) // 4, len(data) // 2))
    parts = dict(zip(("val", "test", "train"), parts, strict=True))
    loaders = {
        k: DataLoader(TensorDataset(features[n], labels[n]), batch_size, k == "train")
        for k, n in parts.items()
    }
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.02)
    fitted = _fit(head, head, optimizer, loaders, epochs)
    files = {name: [data.imgs[n][0] for n in part] for name, part in parts.items()}
    test_accuracy = _share_right(head, head, loaders["test"])
    model.fc = head
    return _report(model, data, files, fitted, test_accuracy)


def on_white(picture):
    picture = picture.convert("RGBA")
    return TRANSFORM(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture))


def sequential_network(folder, epochs, batch_size):
    """Put backbone and head into nn.Sequential, shuffle every set, and measure the training accuracy, too."""
    data, network = ImageFolder(folder, on_white, loader=Image.open), pretrained()
    backbone = nn.Sequential(*list(network.children())[:-1], nn.Flatten()).requires_grad_(False).eval()
    head = nn.Sequential(nn.Dropout(0.05), nn.Linear(96, len(data.classes)))
    parts = [part.tolist() for part in torch.randperm(len(data)).tensor_split(5)]
    parts = {"train": [*parts[0], *parts[1], *parts[2]], "val": parts[3], "test": parts[4]}
    loaders = {name: DataLoader(Subset(data, part), batch_size, True) for name, part in parts.items()}
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)

    def forward(images):
        with torch.no_grad():
            features = backbone(images)
        return head(features)

    fitted = _fit(forward, head, optimizer, loaders, epochs)
    _share_right(forward, head, loaders["train"])
    paths = [str(Path(path).relative_to(folder)) for path, _ in data.samples]
    files = {name: [paths[n] for n in part] for name, part in parts.items()}
    test_accuracy = _share_right(forward, head, loaders["test"])
    report = _report(nn.Sequential(backbone, head), data, files, fitted, test_accuracy)
    return {**report, "transform": on_white}
