"""This machine: whether all that the course needs is here. Lesson 00 begins with it."""

import platform
from importlib.metadata import PackageNotFoundError, version

import pandas as pd
from packaging.version import Version

from course_utils.data import DOWNLOADED, FileWeights, backbone_weights, dataset_files
from course_utils.errors import CourseError
from course_utils.models import choose_device
from course_utils.settings import Settings, downloads_folder, gpu_advice, image_folder
from course_utils.teaching.packages import package_floors


def describe_machine(settings: Settings) -> pd.DataFrame:
    """Check the packages, the device, the data and the weights, without downloading anything.

    Returns:
        One row for each, with the columns `wanted`, `found` and `fine` (bool).
    """
    rows = {}
    for name, floor in {"Python": "3.11", **package_floors()}.items():
        try:
            found = platform.python_version() if name == "Python" else version(name)
        except PackageNotFoundError:
            found = ""
        fine = bool(found) and Version(found) >= Version(floor)
        rows[name] = (f"{floor} or newer", found or "missing", fine)
    advice = gpu_advice(settings)
    rows["device"] = ("a GPU" if advice else "any", advice or str(choose_device(settings.device)), not advice)
    rows["images"] = (settings.dataset, *_find_dataset(settings))
    rows["weights"] = (f"for {settings.backbone}", *_find_weights(settings))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["wanted", "found", "fine"])


def _find_dataset(settings: Settings) -> tuple[str, bool]:
    if settings.dataset in ("fashion_mnist_sample", "clipart"):
        return "ships with the course", True
    if settings.dataset in DOWNLOADED:
        archives = dataset_files(DOWNLOADED[settings.dataset])
        names = [content.name for archive in archives for content in archive.contents]
        there = all((downloads_folder() / name).is_file() for name in names)
        return ("downloaded" if there else "not yet: it is downloaded when a lesson first needs it"), True
    there = image_folder(settings.dataset).is_dir()
    return ("the folder is there" if there else "no such folder"), there


def _find_weights(settings: Settings) -> tuple[str, bool]:
    try:
        weights = backbone_weights(settings)
        if isinstance(weights, FileWeights):
            return f"{weights.name}, {len(weights.get_state_dict())} entries, sound", True
        return f"{weights.name}, torchvision's: downloaded when first needed", True
    except CourseError as error:
        return str(error), False
