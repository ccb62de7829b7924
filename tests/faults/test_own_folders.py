"""Lessons on a student's own pictures: two classes, pictures of several sizes, a name with dollars."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from course_utils.settings import REPOSITORY_FOLDER

pytestmark = pytest.mark.kernels

SIZES = ((40, 30), (30, 50), (3, 3))


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory):
    """Write twelve pictures of two colours, of three sizes, and return the folder."""
    folder = tmp_path_factory.mktemp("own") / "my pictures"
    random = np.random.default_rng(0)
    for label, name in enumerate((r"$\frac{$", "plain")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            width, height = SIZES[number % len(SIZES)]
            pixels = random.integers(0, 90, (height, width, 3), dtype=np.uint8)
            pixels[..., label] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("lesson", ["01", "09"])
def test_a_lesson_runs_on_two_classes_of_mixed_sizes(own_folder, lesson, tmp_path):
    command = [
        sys.executable,
        "-m",
        "course_utils",
        "run",
        "--only",
        lesson,
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [*command, "-p", "dataset", f"folder:{own_folder}"],
        cwd=REPOSITORY_FOLDER,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COURSE_FEATURES": str(tmp_path / "features")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
