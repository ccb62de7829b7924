"""A lesson starts fast because nothing heavy is imported before it is used."""

import subprocess
import sys

from course_utils.settings import REPOSITORY_FOLDER

ROOMS = sorted(f"course_utils.{path.stem}" for path in (REPOSITORY_FOLDER / "course_utils").glob("[a-z]*"))
HEAVY = [
    "captum",
    "distributed",
    "matplotlib.pyplot",
    "nbgrader",
    "papermill",
    "scipy.stats",
    "sklearn",
    "timm",
]
HEAVY += ["torchmetrics", "torchinfo", "transformers", "seqeval", "accelerate", "webdataset"]


def imported_with(*names):
    """Return which of the heavy libraries a new Python has imported together with these modules."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_the_package_itself_imports_no_network():
    found = imported_with("course_utils", "course_utils.settings", "course_utils.errors")
    assert not {"torch", "torchvision", "pandas", "numpy"} & found


def test_no_room_imports_what_only_some_of_its_functions_need():
    found = imported_with(*ROOMS)
    assert "torch" in found
    assert not set(HEAVY) & found


def test_a_heavy_library_would_be_seen():
    assert {"scipy.stats", "matplotlib.pyplot"} <= imported_with("scipy.stats", "matplotlib.pyplot")
