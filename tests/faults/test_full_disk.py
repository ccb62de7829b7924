"""A disk that is really full: what is reported before training, what goes on, and what is left behind."""

import json
import shutil

import nbformat
import pytest
from small_notebooks import write_grid, write_notebook
from small_pictures import usual
from torchvision.models import shufflenet_v2_x0_5

from course_teaching.__main__ import main
from course_teaching.lessons import run_lessons
from course_teaching.sweeps import sweep
from course_utils.errors import CheckpointError
from course_utils.models.saving import save_model

MB = 2**20
LARGE = "if seed == 0:\n    print('x' * 3_000_000)"  # what it prints does not fit on the disk


def fill(folder, leave=0):
    """Write a file that takes what the disk has left, but for so many bytes."""
    (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free - leave))


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


def test_room_is_checked_before_training(small_disk, tmp_path, write_class_folders, monkeypatch, capsys):
    write_class_folders(tmp_path / "pets" / "train", {"cat": 6, "dog": 7})
    write_class_folders(tmp_path / "pets" / "test", {"cat": 3, "dog": 4})
    output = small_disk(40 * MB) / "run"  # a resnet18 has 45 MB
    monkeypatch.setattr(
        "course_utils.scale.train_command.fit", lambda *_, **__: pytest.fail("it was trained")
    )
    given = ["-p", "dataset", f"folder:{tmp_path / 'pets'}", "-p", "device", "cpu"]
    assert main(["train", *given, "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("CheckpointError") and str(output) in error and "MB" in error


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


@pytest.mark.kernels
def test_a_disk_that_is_full_from_the_first_lesson_on(small_disk, tmp_path, refused, capsys):
    disk = small_disk(MB)
    fill(disk)
    lessons = [write_notebook(tmp_path / f"0{number}_small.ipynb", "1 + 1") for number in (1, 2)]
    with refused(CheckpointError, where=disk / "out" / "results.json"):
        run_lessons(lessons, {}, disk / "out")
    printed = capsys.readouterr().out
    assert printed.count("failed in") == 2 and printed.count("No space left on device") == 2


@pytest.mark.kernels
def test_a_run_of_a_sweep_that_has_no_room_fails_and_the_rest_run(small_disk, tmp_path):
    notebook = write_notebook(tmp_path / "07_some.ipynb", LARGE)
    grid = write_grid(tmp_path / "grid.yaml", "seed: [0, 1]")
    output = small_disk(2 * MB) / "out"
    large, small = sweep(notebook, grid, output, workers=1)
    assert large["status"] == "failed" and "No space left on device" in large["error"]
    assert small["status"] == "ok"
    assert (output / "runs" / f"{small['name']}.ipynb").exists()


@pytest.mark.kernels
def test_a_sweep_whose_disk_fills_up_does_all_runs_and_then_says_so(small_disk, tmp_path, refused, capfd):
    output = small_disk(2 * MB) / "out"
    fill_up = f"import shutil\nroom = shutil.disk_usage({str(output)!r}).free\n"
    fill_up += f"open({str(output / 'filler')!r}, 'wb').write(bytes(room))"
    notebook = write_notebook(tmp_path / "07_some.ipynb", fill_up)
    grid = write_grid(tmp_path / "grid.yaml", "seed: [0, 1]")
    with refused(CheckpointError, where=output / "results.csv"):
        sweep(notebook, grid, output, workers=1)
    assert "2/2" in capfd.readouterr().err  # the bar: both were done
