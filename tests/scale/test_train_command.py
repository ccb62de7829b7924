"""A whole run without a notebook: one command, one folder, one file of results, on one process or two."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from torchvision.models import get_model

from course_utils.__main__ import main
from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.errors import TrainingError
from course_utils.evaluation.metrics import evaluate
from course_utils.models.saving import load_model
from course_utils.models.weights import backbone_weights
from course_utils.scale import train_command
from course_utils.scale.train_command import choose_part
from course_utils.settings import REPOSITORY_FOLDER, Settings
from course_utils.training import loop as training

NAMES = ["model.safetensors", "results.json", "training.pt"]


@pytest.fixture
def pets(tmp_path, write_class_folders):
    write_class_folders(tmp_path / "pets" / "train", {"cat": 6, "dog": 7})
    return write_class_folders(tmp_path / "pets" / "test", {"cat": 3, "dog": 4}).parent


def arguments(pets, output, *more):
    given = ["train", "-p", "dataset", f"folder:{pets}", "-p", "epochs", "2", "-p", "batch_size", "4"]
    return [*given, "-p", "device", "cpu", "--output", str(output), *more]


def times_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_one_command_gives_weights_and_results(pets, tmp_path, capsys):
    assert main(arguments(pets, tmp_path / "run")) == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == NAMES
    found = results(tmp_path / "run")
    assert (found["trained"], found["processes"], found["device"]) == ("head", 1, "cpu")
    assert found["images"] == {"train": 10, "val": 3, "test": 7}
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2]
    assert found["test"]["accuracy"] == found["test"]["correct"] / 7
    assert f"{found['test']['correct']} of 7 images" in capsys.readouterr().out
    model, card = load_model(tmp_path / "run" / "model.safetensors")
    assert model.fc.out_features == 2 and card["classes"] == ["cat", "dog"]


def test_the_model_is_asked_as_it_was_tested(pets, tmp_path):
    assert main(arguments(pets, tmp_path / "run", "-p", "image_size", "48")) == 0
    model, card = load_model(tmp_path / "run" / "model.safetensors")
    settings = Settings(dataset=f"folder:{pets}", image_size=48)
    own = Preprocessing.from_dict(card["preprocessing"])
    assert own == Preprocessing.from_weights(backbone_weights(settings), 48)
    found = evaluate(model, load_splits(settings, own.transform()).test)
    assert found.accuracy == results(tmp_path / "run")["test"]["accuracy"]


@pytest.mark.parametrize("name", ["model.safetensors", "results.json"])
def test_files_of_others_are_never_written_over(pets, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr(train_command, "fit", lambda *_, **__: pytest.fail("it was trained"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("mine")
    assert main(arguments(pets, tmp_path / "run")) == 2
    told = capsys.readouterr().err
    assert told.startswith("ConfigError") and str(tmp_path / "run") in told and name in told
    assert (tmp_path / "run" / name).read_text() == "mine"


def press_ctrl_c_after_an_epoch(monkeypatch):
    real = training.save_training_state

    def press_ctrl_c(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_training_state", press_ctrl_c)


def test_train_prints_and_stores_the_baseline_and_the_recall(pets, tmp_path, capsys):
    assert main(arguments(pets, tmp_path / "run")) == 0
    test, told = results(tmp_path / "run")["test"], capsys.readouterr().out
    assert test["baseline"] == {"class": "dog", "accuracy": 4 / 7}
    assert "baseline 0.571: always the largest class, dog" in told
    assert list(test["recall"]) == ["cat", "dog"]
    assert 3 * test["recall"]["cat"] + 4 * test["recall"]["dog"] == pytest.approx(test["correct"])
    assert all(f"{name} {share:.3f}" in told for name, share in test["recall"].items())


def test_a_run_that_was_interrupted_says_so_and_goes_on(pets, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        press_ctrl_c_after_an_epoch(patch)
        assert main(arguments(pets, tmp_path / "run")) == 130
    told = capsys.readouterr()
    assert f"--output {tmp_path / 'run'}" in told.err and "test accuracy" not in told.out
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["training.pt"]
    assert main(arguments(pets, tmp_path / "run")) == 0
    assert [epoch["epoch"] for epoch in results(tmp_path / "run")["epochs"]] == [1, 2]


def test_what_does_not_exist_is_an_error(pets, tmp_path, capsys):
    for more, told in ((["-p", "epoch", "3"], "epochs"), (["--part", "layer5"], "layer4")):
        assert main(arguments(pets, tmp_path / "run", *more)) == 2
        assert told in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_what_is_trained():
    first_and_number = {"head": ("fc.weight", 2), "layer4": ("layer4.0.conv1.weight", 17)}
    for part, expected in (first_and_number | {"all": ("conv1.weight", 62)}).items():
        model = get_model("resnet18", num_classes=2)
        choose_part(model, part)
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        assert (names[0], len(names)) == expected


LAUNCHER = ["torch.distributed.run", "--nproc-per-node", "2", "-m"]


@pytest.mark.kernels
def test_launcher_gives_what_one_process_gives(pets, tmp_path):
    assert main(arguments(pets, tmp_path / "one")) == 0
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY_FOLDER)}
    command = [sys.executable, "-m", *LAUNCHER, "course_utils", *arguments(pets, tmp_path / "two")]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("test accuracy") == 1
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert two["processes"] == 2 and sorted(path.name for path in (tmp_path / "two").iterdir()) == NAMES
    assert two["test"] == one["test"]


def a_fault_on_the_last(folder):
    (folder / os.environ["RANK"]).touch()
    if os.environ["RANK"] == "1":
        raise TrainingError("It failed.", where="here", expected="a", found="b", do="c")


def one_is_killed_and_the_other_notices(folder):
    if os.environ["RANK"] == "1":
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while not (folder / "killed").exists():
        time.sleep(0.001)
    raise RuntimeError("Connection closed by peer")


LAUNCH = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from course_utils.errors import CourseError
from course_utils.scale.launching import launch
from test_train_command import {function}
try:
    launch({function}, Path({folder!r}), processes=2)
except CourseError as error:
    print(type(error).__name__, error)
"""


def what_launch_tells(function, folder):
    # In a new Python, as a notebook is one: a copy of this one would have all of pytest in it.
    tests = str(REPOSITORY_FOLDER / "tests" / "scale")
    code = LAUNCH.format(tests=tests, folder=str(folder), function=function.__name__)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.kernels
def test_launch_from_a_notebook_tells_who_failed(tmp_path):
    told = what_launch_tells(a_fault_on_the_last, tmp_path)
    assert "where:    process 1 of 2\n" in told and "TrainingError: It failed.\n  where:    here" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


@pytest.mark.kernels
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_launch_tells_of_the_killed_process_and_not_of_the_one_that_noticed(tmp_path):
    told = what_launch_tells(one_is_killed_and_the_other_notices, tmp_path)
    assert "where:    process 1 of 2\n" in told
    assert "found:    the signal SIGKILL" in told
