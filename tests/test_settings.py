"""Settings: what is valid, and the error for everything else."""

import random
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from course_utils.errors import ConfigError
from course_utils.settings import (
    DATASETS,
    REPOSITORY_FOLDER,
    Settings,
    set_seed,
    settings_from_notebook,
)


@pytest.mark.parametrize(
    ("values", "dataset", "backbone"),
    [
        ({}, "fashion_mnist_sample", "resnet18"),
        ({"profile": "full"}, "cifar10", "resnet50"),
        # "default" stands for the profile's own value; it never arrives in a lesson as a data set.
        ({"dataset": "default"}, "fashion_mnist_sample", "resnet18"),
        ({"profile": "full", "dataset": "fashion_mnist", "backbone": "vgg16"}, "fashion_mnist", "vgg16"),
    ],
)
def test_profile_fills_in_what_is_not_named(values, dataset, backbone):
    settings = Settings(**values)
    assert (settings.dataset, settings.backbone) == (dataset, backbone)
    assert settings.profile == ("full" if values.get("profile") == "full" else "quick")


WRONG = {
    "epochs": ["5", True, 5.0, 0, None],
    "lr": ["1e-3", float("nan"), 0],
    "seed": [-1, 2**32],
    "image_size": [15, 64.0],
    "device": ["gpu"],
    "backbone": [["resnet18"]],
    "skip_bad_images": ["false", 1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_wrong_type_or_range_is_refused_by_name(name, value):
    with pytest.raises(ConfigError) as caught:
        Settings(**{name: value})
    assert f"{name} = {value!r}" in str(caught.value)
    assert type(value).__name__ in caught.value.found
    assert isinstance(caught.value.__cause__, ValidationError)


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"epochs": np.array([1, 2])}, "parameter 'epochs'"),
        ({"epoch": 5}, "Did you mean 'epochs'"),
        ({"epoch": "default"}, "Did you mean 'epochs'"),
        ({"epochs": -1}, "Give epochs another value"),
        ({"dataset": "fashion_mnits"}, "Did you mean 'fashion_mnist'"),
        *(({"dataset": "fashion_mnits"}, name) for name in (*DATASETS, "folder:PATH")),
    ],
)
def test_error_names_what_would_be_right(values, answer):
    with pytest.raises(ConfigError, match=answer):
        Settings(**values)


PARAMETERS = "epochs: int = 5  # from 1\nlr: float = 0.02"


def run_cells(*sources, **names):
    """Return what a notebook's kernel has in `globals()` after these cells."""
    namespace = {"In": ["", *sources], **names}
    for source in sources:
        with suppress(SyntaxError, NameError):
            exec(source, namespace)
    return namespace


def test_the_parameters_cell_becomes_settings_and_nothing_else_does():
    notebook = run_cells("import sys", PARAMETERS, "seed, weights, notes = 7, [], 'mine'")
    assert settings_from_notebook(notebook) == Settings(epochs=5, lr=0.02)
    del notebook["In"]  # a script has none
    assert settings_from_notebook(notebook) == Settings(epochs=5, lr=0.02)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["epochs = 3\nlr: float = 0.1"], {}),
        ([PARAMETERS, "# Parameters\nepochs = 3\nlr = 0.1\n", "epoch = 1"], {}),
        ([PARAMETERS, "epochs: int = 3", "lr = 0.1"], {}),
        (["epoch: int = 3\nlr: float = 0.1", "epochs: int = 3\nlr: float = 0.1"], {}),
        (["epochs: int = 3\nlr: float = 0.1", "count: int = 7"], {}),
        # papermill may set what the cell does not show
        ([PARAMETERS, "# Parameters\nbatch_size = 8\n"], {"epochs": 5, "lr": 0.02, "batch_size": 8}),
    ],
)
def test_parameters_may_be_changed_and_cells_run_again(cells, values):
    assert settings_from_notebook(run_cells(*cells)) == Settings(**(values or {"epochs": 3, "lr": 0.1}))


@pytest.mark.parametrize(
    ("cells", "answer"),
    [
        (["epochs: int = 5\nlearning_rate = 0.02"], "no parameter 'learning_rate'"),
        (["epoch: int = 5"], "Did you mean 'epochs'"),
        ([PARAMETERS, "# Parameters\nepoch = 3\n"], "Did you mean 'epochs'"),
        ([PARAMETERS, "# Parameters\nepochs = -1\n"], "'epochs'"),
        ([], "parameters cell has not run"),
        (["import sys"], "parameters cell has not run"),
    ],
)
def test_wrong_or_missing_parameters_are_refused(cells, answer):
    with pytest.raises(ConfigError, match=answer):
        settings_from_notebook(run_cells(*cells))


def test_set_seed_repeats_all_three_sources_of_random_numbers():
    def draw(seed):
        set_seed(seed)
        return random.random(), np.random.rand(), torch.rand(1).item()

    first, again, other = draw(3), draw(3), draw(4)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_an_installed_package_finds_the_course_around_the_notebook(tmp_path):
    for name in ("__init__.py", "errors.py", "settings.py"):
        (tmp_path / "course_utils").mkdir(exist_ok=True)
        shutil.copy(REPOSITORY_FOLDER / "course_utils" / name, tmp_path / "course_utils")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from course_utils import settings as s; "
    code += "print(s.__file__, s.REPOSITORY_FOLDER, sep='\\n')"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        command, cwd=REPOSITORY_FOLDER / "notebooks", check=True, capture_output=True, text=True
    )
    file, folder = map(Path, done.stdout.splitlines())
    assert file.is_relative_to(tmp_path) and folder == REPOSITORY_FOLDER
