"""The first cell of each notebook: in Colab it gets the course and what is missing, elsewhere nothing."""

import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from importlib.metadata import version

import pytest
from local_remote import commit, copy_course, git, where_git_finds_it

from course_teaching.address import FIRST_CELL
from course_utils.notebook.packages import missing_packages, package_floors
from course_utils.settings import REPOSITORY_FOLDER

IN_COLAB = 'import sys, types; sys.modules["google.colab"] = types.ModuleType("google.colab")\n'
AND_THEN = "\nimport course_utils; print(course_utils.__path__[0])"


@pytest.fixture(scope="module")
def github(tmp_path_factory):
    """Commit as much of the course as the cell needs; return a folder that stands in for GitHub."""
    folder = tmp_path_factory.mktemp("github")
    commit(copy_course(folder / "jane" / "lessons", "course_utils", "notebooks/colab.py", "pyproject.toml"))
    return folder


@pytest.fixture
def run(tmp_path, github):
    """Return a function that runs the cell where the packages are installed, but not the course."""

    def run_cell(address="jane/lessons", before=IN_COLAB, after=AND_THEN, ref=""):
        folders = [sysconfig.get_path("purelib"), *site.getsitepackages()]
        own = {**os.environ, **where_git_finds_it(github), "PYTHONPATH": os.pathsep.join(folders)}
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


def test_a_class_stays_on_the_tag_that_it_began_with(run, tmp_path, github):
    course = github / "jane" / "lessons"
    git(["tag", "v1.0.0"], course)
    (course / "newer.txt").touch()
    commit(course)
    done = run(ref="v1.0.0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "course" / "pyproject.toml").exists() and not (
        tmp_path / "course" / "newer.txt"
    ).exists()
    shutil.rmtree(tmp_path / "course")
    assert run().returncode == 0 and (tmp_path / "course" / "newer.txt").exists()
    shutil.rmtree(tmp_path / "course")
    assert "Remote branch v9 not found" in run(ref="v9").stderr


def test_the_cell_elsewhere_names_the_right_kernel_or_does_nothing(run, tmp_path):
    error = run(before="", after="").stderr.splitlines()[-1]
    assert error.startswith("ModuleNotFoundError: Expected a kernel with the course installed, got ")
    assert sys.executable in error and "VS Code" in error and "make lab" in error
    course = f"import sys; sys.path.insert(0, {str(REPOSITORY_FOLDER)!r})\n"
    done = run(before=course + IN_COLAB, after="")
    assert done.returncode == 0 and not done.stdout and not list(tmp_path.iterdir())


def test_the_cell_says_what_is_wrong(run):
    for address, answer in (
        ("", "Expected OWNER/NAME of the course in REPOSITORY"),
        ("jane/other", "could not be cloned from https://github.com/jane/other"),
    ):
        done = run(address)
        assert done.returncode == 1 and answer in done.stderr


def test_package_floors_are_those_of_the_lessons():
    floors = package_floors()
    assert {"torch", "torchvision", "captum", "ipywidgets"} <= set(floors)
    assert not {"jupyterlab", "papermill", "pytest", "nbgrader"} & set(floors)
    assert all(version(name) and re.fullmatch(r"[\d.]+", floor) for name, floor in floors.items())
    assert missing_packages() == []
