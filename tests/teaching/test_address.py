"""The course's address stands in one place; whatever repeats it is written from there."""

import re
import shutil

import nbformat
import pytest
from local_remote import git

from course_teaching.address import (
    FIRST_CELL,
    OPEN_IT,
    readme_part,
    repository,
    repository_ref,
    set_repository,
)
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

FOUND = (REPOSITORY_FOLDER / "notebooks").rglob("*.ipynb")
NOTEBOOKS = sorted(path for path in FOUND if ".ipynb_checkpoints" not in path.parts)
# Links that lead to a notebook or a repository of somebody's on these hosts.
ADDRESS = re.compile(r"(?:colab\.research\.google\.com/github|mybinder\.org/v2/gh|git clone)[/ ]\S+")


@pytest.fixture
def course(tmp_path):
    """A copy of what repeats the address."""
    for name in ("notebooks", "pyproject.toml", "README.md"):
        source = REPOSITORY_FOLDER / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, tmp_path / name)
    return tmp_path


def texts(folder):
    return {path: path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_notebook_begins_with_its_address_and_the_cell_for_colab(path):
    text, code = nbformat.read(path, as_version=4).cells[:2]
    assert code.source == FIRST_CELL.format(repository=repository(), ref=repository_ref())
    assert code.metadata["cellView"] == "form" and code.metadata["jupyter"]["source_hidden"]
    assert text.source.count(OPEN_IT) == bool(repository())
    if not repository():
        assert not ADDRESS.search(text.source)


def test_readme_says_where_the_course_is():
    assert readme_part(repository(), repository_ref()) in (REPOSITORY_FOLDER / "README.md").read_text("utf-8")


def test_an_address_is_written_everywhere_and_can_be_replaced_and_taken_away(course):
    set_repository(repository(), course, repository_ref())
    before = texts(course)
    written = set_repository("jane/first-course", course)
    assert len(written) == len(NOTEBOOKS) + 2
    assert repository(course) == "jane/first-course"
    for path in course.glob("notebooks/[0-9]*.ipynb"):
        text, code = nbformat.read(path, as_version=4).cells[:2]
        link = f"https://colab.research.google.com/github/jane/first-course/blob/HEAD/notebooks/{path.name}"
        assert f"({link})" in text.source
        assert 'REPOSITORY = "jane/first-course"' in code.source
    readme = (course / "README.md").read_text("utf-8")
    assert "git clone https://github.com/jane/first-course" in readme
    assert "https://jane.github.io/first-course/docs/try.html" in readme
    assert set_repository("jane/first-course", course) == []
    set_repository("john/second", course)
    assert not [path for path, text in texts(course).items() if "first-course" in text]
    set_repository(repository(), course, repository_ref())
    assert texts(course) == before


def test_links_lead_to_the_tag_that_a_class_stays_on(course):
    set_repository("jane/first-course", course, "v1.0.0")
    assert (repository(course), repository_ref(course)) == ("jane/first-course", "v1.0.0")
    for path in NOTEBOOKS:
        text, code = nbformat.read(course / path.relative_to(REPOSITORY_FOLDER), as_version=4).cells[:2]
        assert "jane/first-course/blob/v1.0.0/notebooks/" in text.source and "HEAD" not in text.source
        assert "mybinder.org/v2/gh/jane/first-course/v1.0.0?" in text.source
        assert 'REF = "v1.0.0"' in code.source
    readme = (course / "README.md").read_text("utf-8")
    assert "git clone --branch v1.0.0 https://github.com/jane/first-course\n" in readme
    set_repository("jane/first-course", course)
    assert not [path for path, text in texts(course).items() if "v1.0.0" in text and path.suffix == ".ipynb"]


@pytest.mark.parametrize(
    "name, ref",
    [
        ("course", ""),
        ("https://github.com/a/b", ""),
        ('a/b"', ""),
        ("a/b\n", ""),
        ("a/b", "-v1"),
        ("a/b", 'v"'),
    ],
)
def test_what_cannot_be_an_address_is_refused_and_changes_nothing(tmp_path, refused, name, ref):
    (tmp_path / "README.md").write_text("<!-- address -->\n<!-- /address -->")
    with refused(ConfigError, match="cannot be the address"):
        set_repository(name, tmp_path, ref)
    assert (tmp_path / "README.md").read_text() == "<!-- address -->\n<!-- /address -->"


def test_there_is_no_other_mention_of_an_address():
    listed = git(["ls-files", "-co", "--exclude-standard"], REPOSITORY_FOLDER, check=False)
    if listed.returncode:
        pytest.skip("there is no git here to list the files with")
    allowed = {"course_teaching/address.py", "tests/teaching/test_address.py"}
    if repository():
        allowed |= {"README.md", *(path.relative_to(REPOSITORY_FOLDER).as_posix() for path in NOTEBOOKS)}
    for name in listed.stdout.splitlines():
        path = REPOSITORY_FOLDER / name
        if name in allowed or path.suffix not in {".py", ".md", ".toml", ".yml", ".ipynb", ".txt", ".html"}:
            continue
        found = ADDRESS.search(path.read_text("utf-8")) if path.exists() else None
        assert not found, f"{name}: {found[0]}"
