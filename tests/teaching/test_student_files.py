"""Students get all of the course but what is for those who teach, with links that lead somewhere."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from local_remote import commit, copy_course, git

from course_teaching import student_files
from course_teaching.address import launch_links
from course_teaching.student_files import students_repository, write_student_files
from course_utils.errors import ConfigError

# What a teacher may have beside the solutions.
PLANTED = ("notebooks/exercises/solutions/planted.md", "docs/quizzes/planted.md")
LINK = re.compile(r"\]\(([^()#\s]+)")


@pytest.fixture(scope="module", autouse=True)
def course(tmp_path_factory):
    """Put in the place of the course a copy in which all is committed, and nobody works; give it."""
    folder = copy_course(tmp_path_factory.mktemp("course"))
    for name in PLANTED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("What a good answer has in it.")
    commit(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student_files, "REPOSITORY_FOLDER", folder)
        yield folder


@pytest.fixture(scope="module")
def written(course, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    write_student_files(folder)
    return folder


def files_in(folder):
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if not name.startswith(".git/")}


def test_what_belongs_to_the_course_is_there_and_nothing_for_those_who_teach(course, written):
    parts = ("data", "course_utils", "notebooks", "benchmarks/results", "README.md", "Makefile", "docs/*.md")
    tracked = set(git(["ls-files", *parts], course).stdout.splitlines())
    pages = ("api", "classroom", "contributing", "exercises", "grading", "index", "instructors", "routes")
    kept_back = {f"docs/{name}.md" for name in pages}
    kept_back |= {name for name in tracked if name.startswith(("docs/routes/", "docs/quizzes/"))}
    kept_back.add("notebooks/conftest.py")
    solutions = {name for name in tracked if "/solutions/" in name}
    assert kept_back < tracked and solutions
    names = files_in(written)
    assert tracked - kept_back - solutions <= names
    parts = r"^course_teaching/|^tests/|^\.ci/|/solutions/|/quizzes/|/_static/|benchmarks/\w+\.py"
    for_teachers = re.compile(parts)
    assert not [name for name in names if for_teachers.search(name)]
    texts = [(written / name).read_text("utf-8") for name in names if name.endswith(".ipynb")]
    assert texts and not [text for text in texts if "BEGIN SOLUTION" in text or "HIDDEN TESTS" in text]


def test_every_link_leads_to_a_file_that_is_there(written):
    texts = [path for kind in ("*.md", "*.ipynb") for path in written.rglob(kind)]
    links = {
        (path, target)
        for path in texts
        for target in LINK.findall(path.read_text("utf-8"))
        if ":" not in target and ("/" in target or "." in target)
    }
    assert len(links) > 50
    assert [(path.name, target) for path, target in links if not (path.parent / target).exists()] == []
    readme = (written / "README.md").read_text("utf-8")
    assert "| For those who teach |" in readme and "make lab" in readme and "make run" not in readme
    assert "pytest" not in (written / "docs" / "setup.md").read_text("utf-8")


def test_what_is_not_committed_is_left_out_and_reported(tmp_path, monkeypatch, capsys):
    (tmp_path / "a" / "notebooks").mkdir(parents=True)
    for name in ("README.md", "notebooks/00_a.ipynb"):
        (tmp_path / "a" / name).write_text("committed")
    commit(tmp_path / "a")
    (tmp_path / "a" / "README.md").write_text("changed")
    (tmp_path / "a" / "my own.txt").touch()
    monkeypatch.setattr(student_files, "REPOSITORY_FOLDER", tmp_path / "a")
    (tmp_path / "b").mkdir()
    write_student_files(tmp_path / "b")
    assert (tmp_path / "b" / "README.md").read_text() == "committed"
    assert files_in(tmp_path / "b") == {"README.md", "notebooks/00_a.ipynb"}
    assert capsys.readouterr().err == "Not committed, so taken as it was before: README.md\n"


def test_folder_without_git_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(student_files, "REPOSITORY_FOLDER", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for path in (os.environ["PATH"], ""):
        monkeypatch.setenv("PATH", path)
        with pytest.raises(ConfigError, match="git"):
            write_student_files(tmp_path)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Jane")
            patch.setenv(f"GIT_{role}_EMAIL", "jane@example.org")
        return students_repository("jane/for-students", tmp_path_factory.mktemp("new"), "autumn")


def test_students_repository_is_one_commit_with_links_of_its_own(course, written, repository):
    assert git(["tag", "--points-at", "HEAD"], repository).stdout == "autumn\n"
    assert set(git(["ls-files"], repository).stdout.splitlines()) == files_in(written)
    assert git(["status", "--porcelain", "--ignored"], repository).stdout == ""
    assert len(git(["log", "--format=%H"], repository).stdout.split()) == 1
    for path in (repository / "notebooks").rglob("*.ipynb"):
        links = launch_links("jane/for-students", path.relative_to(repository).as_posix(), "autumn")
        assert links in path.read_text("utf-8")
    assert "https://github.com/jane/for-students" in (repository / "README.md").read_text("utf-8")
    assert git(["status", "--porcelain"], course).stdout == ""  # the course's own address has not changed


def objects(folder):
    """Return the texts of all files that a repository holds, in whatever commit or in none."""
    listed = git(["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)"], folder)
    names = [line.split()[1] for line in listed.stdout.splitlines() if line.startswith("blob ")]
    command = ["git", "cat-file", "--batch"]
    asked = "\n".join(names).encode()
    text = subprocess.run(command, cwd=folder, input=asked, capture_output=True, check=True).stdout
    return text.decode(errors="replace"), len(names)


def test_no_object_of_the_students_repository_holds_a_solution(course, repository):
    (all_of_it, _), (text, count) = objects(course), objects(repository)
    assert count > 100 and "YOUR CODE HERE" in text
    paths = (course / "notebooks" / "exercises" / "solutions").glob("*.ipynb")
    cells = [cell.source for path in paths for cell in nbformat.read(path, as_version=4).cells]
    cells = [cell for cell in cells if "### BEGIN SOLUTION" in cell]
    assert len(cells) > 40
    for cell in cells:
        solution = re.search(r"### BEGIN SOLUTION\n(.*)\n### END SOLUTION", cell, re.DOTALL)[1].strip()
        lines = [json.dumps(line, ensure_ascii=False) for line in solution.splitlines(keepends=True)]
        in_a_notebook = ",\n    ".join(lines)[:-1]
        assert in_a_notebook in all_of_it
        assert in_a_notebook not in text and solution not in text
    for words in ("### BEGIN SOLUTION", "What a good answer has in it."):
        assert words in all_of_it and words not in text
    names = git(["log", "--all", "--name-only"], repository).stdout
    assert "notebooks/exercises/" in names and not re.search("solutions/|quizzes/|tests/", names)


@pytest.mark.kernels
def test_a_lesson_runs_in_the_students_repository(repository, tmp_path):
    lesson = repository / "notebooks" / "00_start_here.ipynb"
    command = [sys.executable, "-m", "jupyter", "execute", str(lesson), "--output", str(tmp_path / "run")]
    own = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=repository, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert git(["status", "--porcelain"], repository).stdout == ""


def test_students_repository_is_refused_where_something_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(ConfigError, match="cannot be made there"):
            students_repository("jane/course", place)
    with pytest.raises(ConfigError, match="name of a repository"):
        students_repository("jane/..", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
