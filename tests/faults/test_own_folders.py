"""Lessons on a student's own pictures: two classes, pictures of several sizes, a name with dollars."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from course_utils.settings import REPOSITORY_FOLDER


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory):
    """Write twelve pictures of two colours, of three sizes, and return the folder."""
    folder, random = tmp_path_factory.mktemp("own") / "my pictures", np.random.default_rng(0)
    for label, name in enumerate((r"$\frac{$", "plain")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            size = ((30, 40), (50, 30), (3, 3))[number % 3]
            pixels = random.integers(0, 90, (*size, 3), dtype=np.uint8)
            pixels[..., label] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.kernels
@pytest.mark.parametrize("lesson", ["01", "09"])
def test_a_lesson_runs_on_two_classes_of_mixed_sizes(own_folder, lesson, tmp_path):
    command = [sys.executable, "-m", "course_teaching", "run", "--only", lesson]
    command += ["--output", str(tmp_path / "out"), "-p", "dataset", f"folder:{own_folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=REPOSITORY_FOLDER, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
