"""Check that this machine has everything that the course needs (lesson 00)."""

import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import pandas as pd
from packaging.version import Version

from course_utils.data.loaders import progress_bar
from course_utils.data.splits import check_sums
from course_utils.errors import CourseError
from course_utils.models.freezing import choose_device
from course_utils.models.weights import backbone_weights, read_weights
from course_utils.notebook.packages import package_floors
from course_utils.settings import REPOSITORY_FOLDER, Settings, gpu_advice, shipped_data_folder

SHIPPED = ("fashion_mnist_sample", "clipart", "photographs", "text")
"""The folders of `data` that ship, each with a list of checksums. The weights have theirs in their entry."""


def describe_machine(settings: Settings) -> pd.DataFrame:
    """Check the packages, the device, and the data and weights that ship. Nothing is downloaded.

    Returns:
        One row for each, with the columns `wanted`, `found` and `fine` (bool). Where something is missing,
        `found` says how to get it.
    """
    rows = {}
    for name, floor in {"Python": "3.11", **package_floors(REPOSITORY_FOLDER / "pyproject.toml")}.items():
        rows[name] = (f"{floor} or newer", *_find_version(name, floor))
    advice = gpu_advice(settings)
    rows["device"] = ("a GPU" if advice else "any", advice or str(choose_device(settings.device)), not advice)
    checks = {f"data/{name}": partial(check_sums, shipped_data_folder() / name) for name in SHIPPED}
    checks["data/weights"] = lambda: read_weights(backbone_weights(Settings()))
    for name, check in progress_bar(checks.items(), desc="checks", leave=False):
        rows[name] = ("whole", *_whole(check))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["wanted", "found", "fine"])


def _find_version(name: str, floor: str) -> tuple[str, bool]:
    """Return the installed version of a package, and whether it is new enough."""
    try:
        found = platform.python_version() if name == "Python" else version(name)
    except PackageNotFoundError:
        return f"missing: pip install {name}", False
    if Version(found) >= Version(floor):
        return found, True
    return f"{found}: " + ("install a newer one" if name == "Python" else f"pip install -U {name}"), False


def _whole(check: Callable[[], object]) -> tuple[str, bool]:
    """Return "whole" and True if a check passes; otherwise its error on one line, and False."""
    try:
        check()
    except CourseError as error:
        return " ".join(f"{error.failed} {error.where}: {error.found}. {error.do}".split()), False
    return "whole", True
