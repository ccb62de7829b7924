"""This machine: whether all that the course needs is here. Lesson 00 begins with it."""

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import pandas as pd
from packaging.version import Version

from course_utils.data.archives import is_unpacked
from course_utils.data.loaders import progress_bar
from course_utils.data.splits import DOWNLOADED, check_sums
from course_utils.errors import CourseError
from course_utils.models.freezing import choose_device
from course_utils.models.weight_files import FileWeights
from course_utils.models.weights import backbone_weights
from course_utils.notebook.packages import PYPROJECT, package_floors
from course_utils.settings import (
    REPOSITORY_FOLDER,
    Settings,
    downloads_folder,
    gpu_advice,
    how_to_restore,
    image_folder,
    shipped_data_folder,
)
from course_utils.text.encoders import encoder_source

SHIPPED = ("fashion_mnist_sample", "clipart", "photographs", "text")
"""What ships in folders of `data`, with a list of sums each. The weights know their own sum."""

RESULTS = (
    *("adapting.csv", "author_split.csv", "cited_rates.csv", "extraction.csv", "imbalance.csv"),
    *("preprocessing.csv", "scale_growth.csv", "scale_processes.csv", "shift.csv", "stage_probes.csv"),
    *("text_decoder.csv", "text_domains.csv", "text_grid.csv", "transfer_epochs.csv", "transfer_grid.csv"),
    *("transfer_longer.csv", "transfer_rates.csv", "which_network.csv", "without_training.csv"),
)
"""Results of longer runs, in benchmarks/results, that lessons show."""


def describe_machine(settings: Settings) -> pd.DataFrame:
    """Check the packages, the device, and the data, weights and notebooks that ship. Nothing is downloaded.

    Returns:
        One row for each, with the columns `wanted`, `found` and `fine` (bool). Where something is missing,
        `found` says how to get it.
    """
    rows = {}
    floors = package_floors() if PYPROJECT.is_file() else {}
    for name, floor in {"Python": "3.11", **floors}.items():
        rows[name] = (f"{floor} or newer", *_find_version(name, floor))
    advice = gpu_advice(settings)
    rows["device"] = ("a GPU" if advice else "any", advice or str(choose_device(settings.device)), not advice)
    data = shipped_data_folder()
    checks = {
        "images": (settings.dataset, lambda: _find_dataset(settings)),
        "weights": (f"for {settings.backbone}", lambda: _find_weights(settings)),
        **{f"data/{name}": ("whole", lambda name=name: check_sums(data / name)) for name in SHIPPED},
        "data/weights": ("whole", lambda: _find_weights(Settings())),
    }
    if floors:  # else it is not known whether the package that brings it along is wanted
        checks["text encoder"] = ("whole", lambda: encoder_source(Settings()) and None)
    for name, (wanted, look) in progress_bar(checks.items(), desc="checks", leave=False):
        rows[name] = (wanted, *_whole(look))
    absent = [part for part in _parts_that_ship() if not (REPOSITORY_FOLDER / part).exists()]
    found = f"missing: {', '.join(absent)}. {how_to_restore(' '.join(absent))}" if absent else "whole"
    rows["other files"] = ("whole", found, not absent)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["wanted", "found", "fine"])


def _find_version(name: str, floor: str) -> tuple[str, bool]:
    """Return which version of a package is here, and whether it will do."""
    try:
        found = platform.python_version() if name == "Python" else version(name)
    except PackageNotFoundError:
        return f"missing: pip install {name}", False
    if Version(found) >= Version(floor):
        return found, True
    return f"{found}: " + ("install a newer one" if name == "Python" else f"pip install -U {name}"), False


def _whole(look: Callable[[], tuple[str, bool] | None]) -> tuple[str, bool]:
    """Return what `look` found ("whole" if nothing is to be said), or its error on one line."""
    try:
        return look() or ("whole", True)
    except CourseError as error:
        return " ".join(f"{error.failed} {error.where}: {error.found}. {error.do}".split()), False


def _find_dataset(settings: Settings) -> tuple[str, bool]:
    if settings.dataset in SHIPPED:
        check_sums(shipped_data_folder() / settings.dataset)
        return "ships with the course", True
    if settings.dataset in DOWNLOADED:
        there = is_unpacked(DOWNLOADED[settings.dataset], downloads_folder())
        return ("downloaded" if there else "not yet: it is downloaded when a lesson first needs it"), True
    folder = image_folder(settings.dataset)
    return ("the folder is there" if folder.is_dir() else f"no such folder: {folder}"), folder.is_dir()


def _find_weights(settings: Settings) -> tuple[str, bool]:
    weights = backbone_weights(settings)
    if isinstance(weights, FileWeights):
        return f"{weights.name}, {len(weights.get_state_dict())} entries, sound", True
    return f"{weights.name}, torchvision's: downloaded when first needed", True


def _parts_that_ship() -> list[str]:
    """Return what has no sum to be checked by. A lesson and its exercises have one name."""
    folders = ("notebooks", "notebooks/exercises")
    found = (path for folder in folders for path in (REPOSITORY_FOLDER / folder).glob("[0-9][0-9]_*.ipynb"))
    names = sorted({path.name for path in found})
    notebooks = [f"{folder}/{name}" for folder in folders for name in names]
    results = [f"benchmarks/results/{name}" for name in RESULTS]
    return ["pyproject.toml", "data/clipart/drawings.csv", *notebooks, *results]
