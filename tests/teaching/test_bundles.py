"""The course goes into one file, all of it and nothing else, and comes out as it was."""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import zipfile

import pytest
from local_remote import commit, copy_course, git

from course_utils.data.archives import FileStatus
from course_utils.errors import ConfigError, DataError
from course_utils.settings import Settings, downloads_folder
from course_utils.teaching.address import launch_links
from course_utils.teaching.bundles import bundle, content, packing, students_repository
from course_utils.teaching.bundles.unpacking import SUMS, unpack

LINK = re.compile(r"\]\(([^()#\s]+)")


@pytest.fixture(scope="module", autouse=True)
def course(tmp_path_factory):
    """Pack a copy of the course, which nobody works on meanwhile and in which all is committed; give it."""
    folder = copy_course(tmp_path_factory.mktemp("course"))
    commit(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "REPOSITORY_FOLDER", folder)
        yield folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Give a folder that has a wheel, and something that is none."""
    folder = tmp_path_factory.mktemp("wheels")
    (folder / "small_thing-2.0-py3-none-any.whl").write_bytes(b"a wheel")
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture(scope="module")
def packed(course, wheels, tmp_path_factory):
    """Give the bundle of the quick profile, and the names in it."""
    out = tmp_path_factory.mktemp("bundle") / "course.zip"
    return out, bundle("quick", out, wheels)


def test_everything_that_ships_is_packed_and_nothing_else(packed):
    out, names = packed
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == names
        assert archive.testzip() is None
    assert {"README.txt", SUMS, "README.md", "Makefile", "requirements.txt", "pyproject.toml"} <= set(names)
    assert {"notebooks/00_start_here.ipynb", "course_utils/__main__.py"} <= set(names)
    assert {"data/weights/resnet18_64px.safetensors", "docs/glossary.md"} <= set(names)
    assert [name for name in names if "wheel" in name] == ["wheelhouse/small_thing-2.0-py3-none-any.whl"]
    for part in (
        "data/downloads",
        "/solutions",
        "__pycache__",
        "data/features",
        ".pyc",
        ".git/",
        "runs/",
        "tests/",
    ):
        assert not [name for name in names if part in name]


def test_every_file_of_the_repository_that_belongs_to_the_course_is_packed(course, packed):
    tracked = git(["ls-files", "data", "course_utils", "notebooks", "benchmarks/results"], course).stdout
    assert {name for name in tracked.splitlines() if "/solutions/" not in name} <= set(packed[1])


def test_every_link_in_a_bundle_leads_to_a_file_in_it(packed, tmp_path):
    shutil.unpack_archive(packed[0], tmp_path)
    texts = [path for kind in ("*.md", "*.ipynb") for path in tmp_path.rglob(kind)]
    links = {
        (path, target)
        for path in texts
        for target in LINK.findall(path.read_text("utf-8"))
        if ":" not in target and ("/" in target or "." in target)
    }
    assert len(links) > 50
    assert [(path.name, target) for path, target in links if not (path.parent / target).exists()] == []
    told = (tmp_path / "README.md").read_text("utf-8")
    assert "| For those who teach |" in told and "make run" in told and "make test" not in told
    assert "pytest" not in (tmp_path / "docs" / "setup.md").read_text("utf-8")
    assert not [path for path in texts if "BEGIN SOLUTION" in path.read_text("utf-8")]


def test_bundle_comes_out_as_it_went_in_and_again_without_a_change(packed, tmp_path):
    out, names = packed
    rows = unpack(out, tmp_path / "class")
    assert {row.state for row in rows} == {"unpacked"}
    assert sorted([*(row.what for row in rows), SUMS]) == names
    with zipfile.ZipFile(out) as archive:
        for row in rows:
            assert row.where == (tmp_path / "class" / row.what).resolve()
            assert row.where.stat().st_size == row.bytes
            assert row.where.read_bytes() == archive.read(row.what)
    times = {row.where: row.where.stat().st_mtime_ns for row in rows}
    assert {row.state for row in unpack(out, tmp_path / "class")} == {"sound"}
    assert times == {row.where: row.where.stat().st_mtime_ns for row in rows}


def test_same_files_give_the_same_bytes(packed, tmp_path, wheels):
    bundle("quick", tmp_path / "other name.zip", wheels)
    again = hashlib.sha256((tmp_path / "other name.zip").read_bytes()).hexdigest()
    assert again == hashlib.sha256(packed[0].read_bytes()).hexdigest()


def test_list_of_sums_is_one_that_sha256sum_reads(packed, tmp_path):
    with zipfile.ZipFile(packed[0]) as archive:
        sums = archive.read(SUMS).decode().splitlines()
    assert [line[66:] for line in sums] == [name for name in packed[1] if name != SUMS]
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum here")
    shutil.unpack_archive(packed[0], tmp_path)
    check = ["sha256sum", "--check", "--quiet", "--strict", SUMS]
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode == 0


def test_what_is_not_committed_is_not_packed_and_told(course, tmp_path, monkeypatch, capsys):
    (tmp_path / "a" / "notebooks").mkdir(parents=True)
    for name in ("README.md", "notebooks/00_a.ipynb"):
        (tmp_path / "a" / name).write_text("committed")
    commit(tmp_path / "a")
    (tmp_path / "a" / "README.md").write_text("changed")
    (tmp_path / "a" / "my own.txt").touch()
    monkeypatch.setattr(content, "REPOSITORY_FOLDER", tmp_path / "a")
    (tmp_path / "b").mkdir()
    content.write_content(tmp_path / "b")
    assert (tmp_path / "b" / "README.md").read_text() == "committed"
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["README.md", "notebooks"]
    assert capsys.readouterr().err == "Not committed, so taken as it was before: README.md\n"


def test_folder_without_git_is_told(tmp_path, monkeypatch, assert_says_four_things):
    monkeypatch.setattr(content, "REPOSITORY_FOLDER", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for path in (os.environ["PATH"], ""):
        monkeypatch.setenv("PATH", path)
        with pytest.raises(ConfigError, match="git") as told:
            content.write_content(tmp_path)
        assert_says_four_things(told.value)


@pytest.fixture
def known_to_git(monkeypatch):
    """Give git a name to commit under."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Jane")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "jane@example.org")


def test_students_repository_has_links_of_its_own_and_no_answers(course, tmp_path, known_to_git, packed):
    folder = students_repository("jane/for-students", tmp_path / "new")
    tracked = git(["ls-files"], folder).stdout.splitlines()
    assert set(tracked) == {
        name for name in packed[1] if not name.startswith(("README.txt", SUMS, "wheelhouse"))
    }
    assert git(["status", "--porcelain", "--ignored"], folder).stdout == ""
    assert len(git(["log", "--format=%H"], folder).stdout.split()) == 1
    for path in (folder / "notebooks").rglob("*.ipynb"):
        told = path.read_text("utf-8")
        assert launch_links("jane/for-students", path.relative_to(folder).as_posix()) in told
        assert "BEGIN SOLUTION" not in told and "HIDDEN TESTS" not in told
    assert "https://github.com/jane/for-students" in (folder / "README.md").read_text("utf-8")
    assert git(["status", "--porcelain"], course).stdout == ""  # the course has no other address than before


def test_students_repository_is_refused_where_something_is(tmp_path, assert_says_four_things):
    (tmp_path / "thesis.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(ConfigError, match="cannot be made there") as told:
            students_repository("jane/course", place)
        assert_says_four_things(told.value)
    with pytest.raises(ConfigError, match="name of a repository"):
        students_repository("jane/..", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_bundle_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, assert_says_four_things):
    with zipfile.ZipFile(tmp_path / "course.zip", "w") as archive:
        archive.writestr(SUMS, "an earlier one")
    old = (tmp_path / "course.zip").read_bytes()

    def fill_up(out, *_):
        out.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing, "_write_zip", fill_up)
    with pytest.raises(DataError, match="No space left") as error:
        bundle("quick", tmp_path / "course.zip", tmp_path)
    assert_says_four_things(error.value)
    assert (tmp_path / "course.zip").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["course.zip"]


def test_bundle_is_never_written_over_another_file(tmp_path, assert_says_four_things):
    (tmp_path / "thesis.zip").write_text("mine")
    for name in ("thesis.zip", "."):
        with pytest.raises(DataError, match="overwrite") as error:
            bundle("quick", tmp_path / name, tmp_path)
        assert_says_four_things(error.value)
    assert (tmp_path / "thesis.zip").read_text() == "mine"
    with pytest.raises(ConfigError, match="profile"):
        bundle("quik", tmp_path / "course.zip", tmp_path)


def test_full_profile_brings_images_and_weights_to_where_they_are_found(
    cifar10_server, tmp_path, monkeypatch, no_network
):
    from course_utils.data import fetch_images, fetch_weights

    archive, stop = cifar10_server
    pretrained = tmp_path / "hub" / "resnet50-0123.pth"
    pretrained.parent.mkdir()
    pretrained.write_bytes(b"weights")

    def stand_in(settings):
        own = settings.backbone == "resnet18"
        return fetch_weights(settings) if own else [FileStatus("ResNet50", pretrained, 7, "sound")]

    monkeypatch.setattr("course_utils.data.fetch_weights", stand_in)
    names = bundle("full", tmp_path / "course.zip", tmp_path)
    assert [name for name in names if name.startswith("data/downloads/")] == [
        *("data/downloads/cifar-10-python.tar.gz", "data/downloads/resnet50-0123.pth")
    ]
    packed = archive.read_bytes()
    stop()
    monkeypatch.delenv("COURSE_MIRROR")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "shared"))
    unpack(tmp_path / "course.zip", tmp_path / "class", "data/", downloads_folder())
    assert (tmp_path / "shared" / "cifar-10-python.tar.gz").read_bytes() == packed
    assert [row.state for row in fetch_images(Settings(profile="full"))] == ["unpacked"]
