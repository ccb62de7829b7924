"""Imports: none leads to a higher part of the package, and nothing heavy is imported before it is used."""

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn
from torchvision import models

from course_utils.models.weight_files import ImageClassification
from course_utils.settings import REPOSITORY_FOLDER
from course_utils.training.features import fuse_conv_bn

PARTS = sorted(f"course_utils.{path.stem}" for path in (REPOSITORY_FOLDER / "course_utils").glob("[a-z]*"))
HEAVY = "captum joblib matplotlib.pyplot nbgrader papermill pooch scipy.stats sklearn timm torchmetrics "
HEAVY += "torchinfo transformers seqeval accelerate webdataset"


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


def test_no_part_imports_what_only_some_of_its_functions_need():
    found = imported_with(*PARTS)
    assert "torch" in found
    assert not set(HEAVY.split()) & found


@pytest.mark.parametrize("module", ["", "course_utils.training", "course_teaching.lessons"])
def test_no_part_imports_a_higher_one(tmp_path, module):
    shutil.copyfile(REPOSITORY_FOLDER / "pyproject.toml", tmp_path / "pyproject.toml")
    for package in ("course_utils", "course_teaching"):
        shutil.copytree(REPOSITORY_FOLDER / package, tmp_path / package)
    changed = tmp_path / "course_utils" / "models" / "freezing.py"
    line = f"def later():\n    import {module}\n" if module else ""
    changed.write_text(changed.read_text("utf-8") + line, "utf-8")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    own = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)
    assert done.returncode == bool(module), done.stdout + done.stderr
    assert not module or f"course_utils.models.freezing -> {module}" in done.stdout


def test_torchvisions_preset_and_torchs_folding_are_still_what_the_course_takes_them_for():
    wanted = {"crop_size", "resize_size", "mean", "std", "interpolation", "antialias"}
    preset = models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    missing = wanted - {*inspect.signature(type(preset)).parameters} | wanted - {*dir(preset)}
    assert type(preset) is ImageClassification and not missing, (
        f"torchvision's preprocessing of classifiers has changed: it lacks {missing or 'its one class'}. "
        "Write a class ImageClassification with these parameters in course_utils/models/weight_files.py."
    )
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    assert "BatchNorm2d" not in [type(module).__name__ for module in fuse_conv_bn(network).modules()], (
        "torch.fx.experimental.optimization.fuse has gone or changed; lessons still run, more slowly. "
        "In `fuse_conv_bn`, use torch.fx.symbolic_trace and torch.nn.utils.fusion.fuse_conv_bn_eval."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other OpenMP libraries print this in their own way")
@pytest.mark.parametrize("given, sleep", [({}, True), ({"OMP_WAIT_POLICY": "ACTIVE"}, False)])
def test_threads_of_torch_sleep_while_they_wait_unless_the_environment_decides(given, sleep):
    own = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    own |= {"OMP_DISPLAY_ENV": "verbose", **given}  # what OpenMP itself has read
    code = "import course_utils.settings\nimport torch"  # as each lesson begins
    done = subprocess.run([sys.executable, "-c", code], env=own, check=True, capture_output=True, text=True)
    assert ("GOMP_SPINCOUNT = '0'" in done.stderr) == sleep
