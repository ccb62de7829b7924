"""The first cell of each notebook: in Colab it gets the course and what is missing, elsewhere nothing."""

import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version

import pytest
from local_remote import commit, git, local_remote, remote_folder

from course_teaching.address import FIRST_CELL
from course_utils.notebook.packages import install, missing_packages, package_floors
from course_utils.settings import REPOSITORY_FOLDER

IN_COLAB = 'import sys, types; sys.modules["google.colab"] = types.ModuleType("google.colab")\n'
AND_THEN = "\nimport course_utils; print(course_utils.__path__[0])"
COURSES_OWN = f"import sys; sys.path.insert(0, {str(REPOSITORY_FOLDER)!r})\n"
PYPROJECT = """[project]
dependencies = ["numpy>=99", "Small.Thing>={}", "jupyterlab>=99"]
optional-dependencies.teach = ["other-thing>=1"]
"""


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    return local_remote(tmp_path_factory.mktemp("remote"), "jane/lessons")


@pytest.fixture
def run(tmp_path, remote):
    """Return a function that runs the cell where the packages are installed, but not the course."""

    def run_cell(address="jane/lessons", before=IN_COLAB, after=AND_THEN, ref=""):
        folders = [sysconfig.get_path("purelib"), *site.getsitepackages()]
        own = {**os.environ, **remote, "PYTHONPATH": os.pathsep.join(folders)}
        # Without -S, a file among the installed packages would put the course on the path.
        code = before + FIRST_CELL.format(repository=address, ref=ref) + after
        command = [sys.executable, "-S", "-W", "ignore", "-c", code]
        return subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)

    return run_cell


def test_the_cell_gets_the_course_in_colab_and_may_run_again(run, tmp_path):
    for _ in range(2):
        done = run()
        assert done.returncode == 0, done.stderr
        # All that the lessons need is here, so nothing was installed.
        assert done.stdout.splitlines() == [str(tmp_path / "course" / "course_utils")]


def test_a_class_stays_on_the_tag_that_it_began_with(run, tmp_path, remote):
    course = remote_folder(remote) / "jane" / "lessons"
    git(["tag", "v1.0.0"], course)
    (course / "newer.txt").touch()
    commit(course)
    done = run(ref="v1.0.0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "course" / "README.md").exists() and not (tmp_path / "course" / "newer.txt").exists()
    shutil.rmtree(tmp_path / "course")
    assert run().returncode == 0 and (tmp_path / "course" / "newer.txt").exists()
    shutil.rmtree(tmp_path / "course")
    assert "Remote branch v9 not found" in run(ref="v9").stderr


def test_the_cell_elsewhere_names_the_right_kernel_or_does_nothing(run, tmp_path):
    error = run(before="", after="").stderr.splitlines()[-1]
    assert error.startswith("ModuleNotFoundError: Expected a kernel with the course installed, got ")
    assert sys.executable in error and "VS Code" in error and "make lab" in error
    done = run(before=COURSES_OWN + IN_COLAB, after="")
    assert done.returncode == 0 and not done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("", "Expected OWNER/NAME of the course in REPOSITORY"),
        ("jane/other", "could not be cloned from https://github.com/jane/other"),
    ],
)
def test_the_cell_says_what_is_wrong(run, address, answer):
    done = run(address)
    assert done.returncode == 1
    assert answer in done.stderr


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder with one small package, from which alone pip installs, to the returned folder."""
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


def test_what_is_missing_is_installed_and_what_is_old_is_left_alone(wheels, capsys):
    missing = missing_packages(PYPROJECT.format("1.5"))
    assert missing == ["Small.Thing>=1.5"]
    install(missing)
    assert (wheels / "small_thing.py").exists() and not (wheels / "numpy").exists()
    assert capsys.readouterr().out == "Installed: Small.Thing. Everything else is as it was.\n"


def test_package_floors_are_those_of_the_lessons():
    floors = package_floors()
    assert {"torch", "torchvision", "captum", "ipywidgets"} <= set(floors)
    assert not {"jupyterlab", "papermill", "pytest", "nbgrader"} & set(floors)
    assert all(version(name) and re.fullmatch(r"[\d.]+", floor) for name, floor in floors.items())
    assert missing_packages() == []
