"""Students get all of the course but what is for those who teach, with links that lead somewhere."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from local_remote import commit, copy_course, git

from course_teaching.address import launch_links, set_repository

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")

LINK = re.compile(r"\]\(([^()#\s]+)")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Give a copy of the course in which all is committed but one file, with the students' address."""
    folder = copy_course(tmp_path_factory.mktemp("course"))
    set_repository("jane/for-students", folder, "autumn")
    commit(folder)
    (folder / "docs" / "my own.md").touch()
    return folder


@pytest.fixture(scope="module")
def repository(course, tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "for-students"
    done = make(course, folder, "autumn")
    assert done.returncode == 0, done.stderr
    return folder


def make(course, folder, *tag):
    names = {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    command = ["bash", "course_teaching/students.sh", folder, *tag]
    return subprocess.run(command, cwd=course, env=os.environ | names, capture_output=True, text=True)


def files_of(folder):
    return set(git(["ls-files"], folder).stdout.splitlines())


def test_what_belongs_to_the_course_is_there_and_nothing_for_those_who_teach(course, repository):
    parts = ["data", "course_utils", "notebooks", "benchmarks/results", "README.md", "docs/setup.md"]
    tracked = set(git(["ls-files", *parts], course).stdout.splitlines())
    solutions = {name for name in tracked if "/solutions/" in name}
    names = files_of(repository)
    assert solutions and tracked - solutions - {"notebooks/conftest.py"} <= names
    parts = (
        r"^course_teaching/|^tests/|^\.ci/|/solutions/|/quizzes|/_static/|/routes|benchmarks/\w+\.py|my own"
    )
    parts += r"|^docs/(api|classroom|contributing|exercises|grading|index|instructors|try)\.md"
    assert not [name for name in names if re.search(parts, name)]
    texts = [(repository / name).read_text("utf-8") for name in names if name.endswith(".ipynb")]
    assert texts and not [text for text in texts if "BEGIN SOLUTION" in text or "HIDDEN TESTS" in text]


def test_every_link_leads_to_a_file_that_is_there(repository):
    texts = [path for kind in ("*.md", "*.ipynb") for path in repository.rglob(kind)]
    links = {
        (path, target)
        for path in texts
        for target in LINK.findall(path.read_text("utf-8"))
        if ":" not in target and ("/" in target or "." in target)
    }
    assert len(links) > 50
    assert [(path.name, target) for path, target in links if not (path.parent / target).exists()] == []
    readme = (repository / "README.md").read_text("utf-8")
    assert "make lab" in readme and "make run" not in readme and "For instructors" not in readme
    assert "pytest" not in (repository / "docs" / "setup.md").read_text("utf-8")


def test_students_repository_is_one_commit_with_links_of_its_own(repository):
    assert git(["tag", "--points-at", "HEAD"], repository).stdout == "autumn\n"
    assert git(["status", "--porcelain", "--ignored"], repository).stdout == ""
    assert len(git(["log", "--format=%H"], repository).stdout.split()) == 1
    for path in (repository / "notebooks").rglob("*.ipynb"):
        links = launch_links("jane/for-students", path.relative_to(repository).as_posix(), "autumn")
        assert links in path.read_text("utf-8")


@pytest.mark.kernels
def test_a_lesson_runs_in_the_students_repository(repository, tmp_path):
    lesson = repository / "notebooks" / "00_start_here.ipynb"
    command = [sys.executable, "-m", "jupyter", "execute", str(lesson), "--output", str(tmp_path / "run")]
    own = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=repository, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert git(["status", "--porcelain"], repository).stdout == ""


def test_students_repository_is_refused_where_something_is(course, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        done = make(course, place)
        assert done.returncode == 2 and "students' repository" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
