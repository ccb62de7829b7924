"""A disk that is really full: what is reported, what goes on, and what is left behind."""

import json

import nbformat
import pytest
from small_notebooks import write_notebook
from small_pictures import usual
from torchvision.models import shufflenet_v2_x0_5

from course_teaching.lessons import run_lessons
from course_utils.errors import CheckpointError
from course_utils.models.saving import save_model

MB = 2**20
LARGE = "if seed == 0:\n    print('x' * 3_000_000)"  # what it prints does not fit on the disk


def test_a_model_that_has_no_room_is_an_error_and_leaves_the_old_file(small_disk, refused):
    disk = small_disk(2 * MB)
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b"], "image_size": 32, "transform": usual()}
    network = shufflenet_v2_x0_5(num_classes=2)
    save_model(network, disk / "model.safetensors", **names)
    before = (disk / "model.safetensors").read_bytes()
    with refused(CheckpointError, where=disk / "model.safetensors"):
        save_model(network, disk / "model.safetensors", **names)
    assert (disk / "model.safetensors").read_bytes() == before
    assert not list(disk.rglob(".*"))


@pytest.mark.kernels
def test_a_lesson_that_has_no_room_fails_and_the_rest_run(small_disk, tmp_path):
    output = small_disk(2 * MB) / "out"
    lessons = [
        write_notebook(tmp_path / "01_large.ipynb", LARGE),
        write_notebook(tmp_path / "02_small.ipynb", "print('it ran')"),
    ]
    large, small = run_lessons(lessons, {}, output)
    assert large.status == "failed" and "No space left on device" in large.error
    assert small.status == "ok"
    assert [run["status"] for run in json.loads((output / "results.json").read_text())] == ["failed", "ok"]
    assert not (output / "01_large.ipynb").exists()  # half of it could be read by nobody
    assert "it ran" in str(nbformat.read(output / "02_small.ipynb", as_version=4).cells)
