"""In Colab the first cell gets the course and what is missing; what is there stays as it is."""

import os
import re
import site
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version

import pytest
from local_remote import local_remote

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER, check_parameters
from course_utils.teaching import packages
from course_utils.teaching.address import FIRST_CELL
from course_utils.teaching.packages import install_missing, package_floors

IN_COLAB = """
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
"""
AND_THEN = "\nimport course_utils; print(course_utils.__path__[0])"


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    return local_remote(tmp_path_factory.mktemp("remote"), "jane/course")


def run(code, folder, remote):
    """Run code where the packages are installed, but not the course."""
    # Without -S, a file among the installed packages would put the course on the path.
    own = {**remote, "PYTHONPATH": os.pathsep.join([sysconfig.get_path("purelib"), *site.getsitepackages()])}
    command = [sys.executable, "-S", "-W", "ignore", "-c", code]
    return subprocess.run(command, cwd=folder, env={**os.environ, **own}, capture_output=True, text=True)


def test_first_cell_gets_the_course_in_colab(tmp_path, remote):
    code = IN_COLAB + FIRST_CELL.format(repository="jane/course") + AND_THEN
    done = run(code, tmp_path, remote)
    assert done.returncode == 0, done.stderr
    # All that the lessons need is here, so nothing was installed.
    assert done.stdout.splitlines() == [str(tmp_path / "course" / "course_utils")]
    assert run(code, tmp_path, remote).stdout == done.stdout  # the cell was run again


def test_first_cell_does_nothing_elsewhere(tmp_path, remote):
    done = run(FIRST_CELL.format(repository="jane/course") + AND_THEN, tmp_path, remote)
    assert "No module named 'course_utils'" in done.stderr and not list(tmp_path.iterdir())
    own = "import sys\nsys.path.insert(0, " + repr(str(REPOSITORY_FOLDER)) + ")"
    done = run(own + IN_COLAB + FIRST_CELL.format(repository="jane/course"), tmp_path, remote)
    assert done.returncode == 0 and not done.stdout and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, told",
    [("", "no address yet"), ("jane/other", "could not be cloned from https://github.com/jane/other")],
)
def test_first_cell_says_what_is_wrong(tmp_path, remote, name, told):
    done = run(IN_COLAB + FIRST_CELL.format(repository=name), tmp_path, remote)
    assert done.returncode == 1
    assert told in done.stderr


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder with one small package, from which alone pip installs, to another folder."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "small_thing-2.0-py3-none-any.whl", "w") as wheel:
        about = "small_thing-2.0.dist-info"
        wheel.writestr("small_thing.py", "")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: small-thing\nVersion: 2.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "TARGET": str(tmp_path / "in")}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return tmp_path / "in"


def test_what_is_missing_is_installed_and_the_rest_is_not_asked_for(wheels, monkeypatch, capsys):
    # numpy is here in an older version than that: it is left alone.
    monkeypatch.setattr(packages, "package_floors", lambda: {"numpy": "99", "small-thing": "1.5"})
    assert install_missing() == ["small-thing"]
    assert (wheels / "small_thing.py").exists() and not (wheels / "numpy").exists()
    assert capsys.readouterr().out == "Installed: small-thing. Everything else is as it was.\n"


def test_what_cannot_be_installed_is_told(wheels, monkeypatch, assert_says_four_things):
    monkeypatch.setattr(packages, "package_floors", lambda: {"small-thing": "3"})
    with pytest.raises(ConfigError, match="small-thing>=3") as told:
        install_missing()
    assert_says_four_things(told.value)
    monkeypatch.setattr(packages, "package_floors", lambda: {"numpy": "99"})
    assert install_missing() == []


def test_students_need_the_first_part_of_the_requirements():
    floors = package_floors()
    assert {"torch", "torchvision", "captum", "ipywidgets"} <= set(floors)
    assert not {"jupyterlab", "papermill", "pytest", "nbgrader"} & set(floors)
    assert all(version(name) for name in floors)
    assert all(re.fullmatch(r"[\d.]+", floor) for floor in floors.values())


@pytest.mark.parametrize("device, wanted", [("cuda", False), ("cpu", True)])
def test_full_says_what_it_costs_without_a_gpu(monkeypatch, capsys, device, wanted):
    import torch

    monkeypatch.setattr("course_utils.teaching.environment.choose_device", lambda name: torch.device(device))
    check_parameters(profile="full")
    assert ("wants a GPU" in capsys.readouterr().out) == wanted
    check_parameters(profile="quick")
    assert not capsys.readouterr().out
