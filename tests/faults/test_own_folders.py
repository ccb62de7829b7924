"""Lessons on a student's own pictures: two classes, pictures of several sizes, a name with dollars."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from small_notebooks import cells_of
from torch import nn

from course_utils import evaluation
from course_utils.data.splits import load_splits
from course_utils.settings import REPOSITORY_FOLDER, Settings


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


def test_no_run_of_lesson_06_is_tested_with_pictures_that_it_was_trained_on(own_folder, monkeypatch):
    """Another seed draws other test pictures from a folder that has none of its own."""
    cells = cells_of(REPOSITORY_FOLDER / "notebooks" / "06_fine_tune.ipynb", "code")
    (source,) = (cell.source for cell in cells if "run_seed in" in cell.source)
    settings = Settings(dataset=f"folder:{own_folder}", image_size=32)
    learnt, shared = [], []

    def fine_tune(down_to, images, own):
        learnt.append(set(images.train.indices))
        return nn.Linear(1, 1), SimpleNamespace(best=SimpleNamespace(val_accuracy=0.5))

    def evaluate(network, test):
        asked = {test.dataset.indices[index] for index in test.indices}
        shared.append(len(learnt[-1] & asked))
        return SimpleNamespace(accuracy=0.5)

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    lesson = {"settings": settings, "splits": load_splits(settings), "load_splits": load_splits}
    exec(source, {**lesson, "fine_tune": fine_tune, "top": "layer4", "bottom": "conv1"})
    assert shared == [0] * 9
