"""Small networks and sets of random pictures, which several test files train, and how."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from course_utils.models.backbones import build_backbone
from course_utils.models.freezing import freeze
from course_utils.settings import Settings


def set_bfloat16(monkeypatch, has: bool) -> None:
    """Make this machine one that multiplies bfloat16, or one that does not; an older torch cannot say."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has}, raising=False)


class SmallNet(nn.Module):
    """A network with BatchNorm and dropout in the backbone, and a head `fc`."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(8, 3)
        self.images = 0  # how many have passed

    def forward(self, images):
        self.images += len(images)
        return self.fc(self.dropout(self.norm(self.conv(images)).relu().mean(dim=(2, 3))))


def seeded_net(is_frozen=False, seed=0):
    """Return a `SmallNet` whose weights follow from the seed, frozen but for its head or not."""
    torch.manual_seed(seed)
    model = SmallNet()
    if is_frozen:
        freeze(model)
    return model


class Pictures(Dataset):
    """Random pictures of three classes; `change` is given the count of reads so far and the picture."""

    classes = ("cat", "dog", "ship")

    def __init__(self, count, seed=1, size=16, change=None):
        self.images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
        self.targets = [number % 3 for number in range(count)]
        self.change, self.read = change or (lambda read, image: image), []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.read.append(index)
        return self.change(len(self.read), self.images[index]), self.targets[index]


def some_settings(**values):
    return Settings(**{"epochs": 2, "batch_size": 8, "lr": 0.01, "device": "cpu", **values})


def state(model):
    return copy.deepcopy(model.state_dict())


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def norm_net(classes=3):
    """Return a network with BatchNorm over one value for each image and channel, and a head `fc`."""
    layers = {"conv": nn.Conv2d(3, 8, 3, stride=2), "relu": nn.ReLU(), "pool": nn.AdaptiveAvgPool2d(1)}
    layers |= {"flat": nn.Flatten(), "norm": nn.BatchNorm1d(8), "fc": nn.Linear(8, classes)}
    return nn.Sequential(OrderedDict(layers))


def build_shapes(name):
    """Build a network on the meta device, where it costs next to nothing: only names and shapes count."""
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    if name.startswith("regnet"):  # which computes with its own new parameters, as meta tensors do not allow
        return build_backbone(name).to("meta")
    with torch.device("meta"):
        return build_backbone(name)
