"""A class's zip file is read wherever it comes from, and nothing of it gets outside of its place."""

import json
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile

import pytest
from small_submissions import RIGHT, handed_in, small_solution, zipped

from course_teaching.grading import exports
from course_teaching.grading.exports import class_folder, exported_as
from course_teaching.grading.submissions import find_submissions
from course_teaching.grading.workspace import remove_stale_workspaces
from course_utils.errors import ConfigError

SOLUTIONS = {"01_small": small_solution()}
TEXT = json.dumps(handed_in(*RIGHT))


def found(path):
    with class_folder(path) as folder:
        return [
            (one.student, one.id, one.lesson, one.file, bool(one.notebook))
            for one in find_submissions(folder, SOLUTIONS)
        ]


MUELLER = "Änne Müller_1234567_assignsubmission"
EXPORTS = {
    "Moodle, with folders": (
        {
            f"{MUELLER}_file_/01_small.ipynb": TEXT,
            f"{MUELLER}_onlinetext_/onlinetext.html": "hello",
            "Jo Lee_7_assignsubmission_file/work.zip": b"",  # newer ones end without a line
            "Jo Lee_8_assignsubmission_file_/notes.pdf": "x",
        },
        [
            ("Jo Lee", "7", "01_small", "Jo Lee_7_assignsubmission_file/work.zip: a/01_small.ipynb", True),
            ("Jo Lee", "8", "01_small", "", False),
            ("Änne Müller", "1234567", "01_small", f"{MUELLER}_file_/01_small.ipynb", True),
        ],
    ),
    "Moodle, without folders": (
        {
            f"{MUELLER}_file_01_small.ipynb": TEXT,
            f"{MUELLER}_file_notes.pdf": "x",
            "Participant_9_assignsubmission_file_notes.txt": "x",
        },
        [
            ("Participant", "9", "01_small", "", False),
            ("Änne Müller", "1234567", "01_small", f"{MUELLER}_file_01_small.ipynb", True),
        ],
    ),
    "Canvas": (
        {
            "müllernne_LATE_12_345_01_small-1.ipynb": TEXT,
            "müllernne_12_346_data.csv": "x",
            "leejo_13_347_01_small (2).ipynb": TEXT,
        },
        [
            ("leejo", "13", "01_small", "leejo_13_347_01_small (2).ipynb", True),
            ("müllernne", "12", "01_small", "müllernne_LATE_12_345_01_small-1.ipynb", True),
        ],
    ),
}


@pytest.mark.parametrize("members, rows", EXPORTS.values(), ids=EXPORTS)
def test_what_a_platform_exports_is_read_packed_and_unpacked(tmp_path, members, rows):
    inner = zipped(tmp_path / "inner.zip", {"a/01_small.ipynb": TEXT}).read_bytes()
    path = zipped(tmp_path / "class.zip", {name: content or inner for name, content in members.items()})
    shutil.unpack_archive(path, tmp_path / "unpacked" / "class")
    (tmp_path / "unpacked" / ".DS_Store").touch()
    for place in (path, tmp_path / "unpacked", tmp_path / "unpacked" / "class"):
        assert found(place) == rows


@pytest.mark.parametrize(
    "name", ["anna_03_replace_the_head.ipynb", "anna.ipynb", "anna_2024_03_x.ipynb", "a_1"]
)
def test_other_names_are_no_export(name):
    assert exported_as(name) == ("", "", name)


def test_nothing_of_a_zip_file_gets_outside_and_nothing_of_it_is_a_link(tmp_path):
    link = zipfile.ZipInfo("eve/02.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members = {
        **{"../../escaped.ipynb": "x", "/etc/absolute.ipynb": "x", "C:\\win\\dos.ipynb": "x"},
        **{link: "/etc/passwd", "eve/.hidden/a.ipynb": "x", "__MACOSX/eve/._a.ipynb": "x"},
        **{"eve/large.ipynb": b" " * 20_000_001, "eve/data.bin": b"x" * 1000, "n" * 400 + ".ipynb": TEXT},
    }
    path = zipped(tmp_path / "class.zip", members)
    before = sorted(tmp_path.rglob("*"))
    with class_folder(path) as folder:
        files = [one for one in sorted(folder.rglob("*")) if not one.is_dir()]
        assert not [one for one in files if one.is_symlink() or not one.is_relative_to(folder)]
        sizes = {one.relative_to(folder).as_posix(): one.stat().st_size for one in files}
        told = {one.file: one.problem for one in find_submissions(folder, SOLUTIONS)}
    assert sorted(tmp_path.rglob("*")) == before and not folder.exists()
    assert sizes.keys() == {
        *("escaped.ipynb", "etc/absolute.ipynb", "C_/win/dos.ipynb", "n" * 200 + ".ipynb"),
        *("eve/02.ipynb", "eve/large.ipynb", "eve/data.bin"),
    }
    assert sizes["eve/data.bin"] == 0 and sizes["eve/02.ipynb"] < 20
    assert "20 MB are the most" in told["eve/large.ipynb"] and "not a notebook" in told["eve/02.ipynb"]


@pytest.mark.parametrize(
    "names",
    [
        ("anna/a:b.ipynb", "anna/a?b.ipynb"),
        (f"anna/{'n' * 201}.ipynb", f"anna/{'n' * 202}.ipynb"),
        ("anna/x", "anna/x/y.ipynb"),
        ("anna/x/y.ipynb", "anna/x"),
        ("anna/a.ipynb", "./anna/a.ipynb"),
        ("anna/a:/b.ipynb", "anna/a?/b.ipynb"),
    ],
)
def test_names_that_become_the_same_are_told_apart(tmp_path, names):
    path = zipped(tmp_path / "class.zip", {**dict.fromkeys(names, TEXT), "ben/01_small.ipynb": TEXT})
    with class_folder(path) as folder:
        assert len([one for one in folder.rglob("*") if one.is_file()]) == 3
        students = [one.student for one in find_submissions(folder, SOLUTIONS) if one.notebook]
    assert students == ["anna"] * sum(name.endswith(".ipynb") for name in names) + ["ben"]


KILLED = """
import os, sys, tempfile
from pathlib import Path
from course_teaching.grading.exports import class_folder
tempfile.tempdir = sys.argv[2]
with class_folder(Path(sys.argv[1])):
    os._exit(9)
"""


def test_class_of_a_grader_that_was_killed_is_removed_by_the_next_and_one_in_use_is_not(
    tmp_path, monkeypatch
):
    path, left = zipped(tmp_path / "class.zip", [("anna/01_small.ipynb", TEXT)]), tmp_path / "temporary"
    left.mkdir()
    command = [sys.executable, "-c", KILLED, str(path), str(left)]
    assert subprocess.run(command).returncode == 9
    assert list(left.rglob("*.ipynb")), "nothing was left to be removed"
    monkeypatch.setattr(tempfile, "tempdir", str(left))
    with class_folder(path) as folder:
        remove_stale_workspaces()
        assert [one.name for one in left.rglob("*.ipynb")] == ["01_small.ipynb"]
        assert list(folder.rglob("*.ipynb")) == list(left.rglob("*.ipynb"))
    assert list(left.glob("grading-*/*")) == []


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: path.write_bytes(b"no zip"), "BadZipFile"),
        (lambda path: zipped(path, {"a.ipynb": "x"}, zipfile.ZIP_LZMA), "uncommon way"),
        (
            lambda path: path.write_bytes(
                zipped(path, {"a.ipynb": "12345"}, 0).read_bytes().replace(b"12345", b"54321")
            ),
            "Bad CRC",
        ),
        (lambda path: zipped(path, {f"{n}.ipynb": "" for n in range(31)}), "31 files"),
    ],
)
def test_zip_file_that_cannot_be_read_is_an_error(tmp_path, monkeypatch, make, words):
    monkeypatch.setattr(exports, "CLASS_FILES", 30)
    make(tmp_path / "class.zip")
    with pytest.raises(ConfigError) as caught, class_folder(tmp_path / "class.zip"):
        pass
    assert words in caught.value.found
