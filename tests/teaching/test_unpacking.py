"""A bundle is put in place whole or not at all, and nothing of the student's is touched."""

import errno
import hashlib
import shutil
import stat
import zipfile
from collections import namedtuple

import pytest

from course_utils.errors import DataError
from course_utils.teaching.bundles import unpacking
from course_utils.teaching.bundles.unpacking import SUMS, unpack

FILES = {"data/a.txt": b"first\n", "notebooks/00_b.ipynb": b"{}", "data/downloads/c.pth": b"\x00" * 5000}


def write_zip(path, files=FILES, sums=None, **extra):
    """Write a bundle by hand; `sums` replaces what the list says, `extra` adds members that it lacks."""
    lines = {name: f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in files.items()}
    listed = "\n".join(lines.values()) + "\n" if sums is None else sums
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, SUMS: listed, **extra}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def contents_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_folder_that_a_bundle_was_unpacked_to_serves_as_well(tmp_path):
    shutil.unpack_archive(write_zip(tmp_path / "a.zip"), tmp_path / "by hand")
    (tmp_path / "by hand" / ".DS_Store").write_text("a file manager's")
    rows = unpack(tmp_path / "by hand", tmp_path / "class")
    assert sorted(row.what for row in rows) == sorted(FILES)
    assert contents_of(tmp_path / "class") == FILES


def test_only_some_files_are_put_in_place_if_asked(tmp_path):
    rows = unpack(write_zip(tmp_path / "a.zip"), tmp_path / "class", "data/", tmp_path / "shared")
    assert sorted(row.what for row in rows) == ["data/a.txt", "data/downloads/c.pth"]
    assert contents_of(tmp_path / "class") == {"data/a.txt": FILES["data/a.txt"]}
    assert contents_of(tmp_path / "shared") == {"c.pth": FILES["data/downloads/c.pth"]}


def _sum_of(content=b"first\n"):
    return hashlib.sha256(content).hexdigest()


def _altered(path):
    sums = "".join(f"{_sum_of(content)}  {name}\n" for name, content in FILES.items())
    return write_zip(path, {**FILES, "data/a.txt": b"First\n"}, sums)


def _truncated(path):
    path.write_bytes(write_zip(path).read_bytes()[:-300])


def _flipped(path):
    content = bytearray(write_zip(path).read_bytes())
    content[content.index(b"first")] ^= 1
    path.write_bytes(content)


def _link(path):
    link = zipfile.ZipInfo("data/a.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr(SUMS, f"{_sum_of(b'/etc/passwd')}  data/a.txt\n")


def _twice(path):
    with zipfile.ZipFile(write_zip(path), "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("data/a.txt", b"second")


def _missing(path):
    write_zip(path, {"data/a.txt": b"first\n"}, f"{_sum_of()}  data/a.txt\n{_sum_of()}  data/b.txt\n")


def _encrypted(path):
    write_zip(path)
    content = path.read_bytes()
    entry = content.index(b"PK\x01\x02")
    path.write_bytes(content[: entry + 8] + b"\x01" + content[entry + 9 :])


def _of(name):
    return lambda path: write_zip(path, {name: b"first\n", "data/b.txt": b"second"})


@pytest.mark.parametrize(
    "make, told",
    [
        (_altered, "data/a.txt: 6 bytes with the SHA-256 hash"),
        (_flipped, "data/a.txt: Bad CRC-32"),
        (_truncated, "not a zip file"),
        (lambda path: path.write_text("<html>log in</html>"), "not a zip file"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: None, "no file"),
        (lambda path: path.mkdir(), "missing, empty"),
        (_link, "a link"),
        (_twice, "data/a.txt: twice"),
        (_missing, "data/b.txt: missing"),
        (_encrypted, "encrypted"),
        (lambda path: write_zip(path, sums=""), "missing, empty"),
        (lambda path: write_zip(path, sums="nonsense"), "the line 'nonsense'"),
        (lambda path: write_zip(path, **{"data/extra.txt": b"x"}), "'data/extra.txt': not listed"),
        (_of("../escaped.txt"), "would leave the folder"),
        (_of("data/../../escaped.txt"), "would leave the folder"),
        (_of("/tmp/escaped.txt"), "would leave the folder"),
        (_of("C:/escaped.txt"), "would leave the folder"),
        (_of("..\\escaped.txt"), "would leave the folder"),
        (_of("data//a.txt"), "would leave the folder"),
        (_of("DATA/b.txt"), "upper and lower case"),
    ],
)
def test_bundle_that_is_not_sound_is_refused_before_anything_is_written(
    tmp_path, assert_says_four_things, make, told
):
    source, target = tmp_path / "in" / "course.zip", tmp_path / "class" / "room"
    source.parent.mkdir()
    target.mkdir(parents=True)
    make(source)
    before = contents_of(tmp_path)
    with pytest.raises(DataError) as error:
        unpack(source, target)
    assert told in str(error.value)
    assert_says_four_things(error.value)
    assert contents_of(tmp_path) == before
    assert not list(target.iterdir())


def test_link_in_a_folder_is_missing(tmp_path):
    shutil.unpack_archive(write_zip(tmp_path / "a.zip"), tmp_path / "by hand")
    (tmp_path / "secret").write_bytes(FILES["data/a.txt"])
    (tmp_path / "by hand" / "data" / "a.txt").unlink()
    (tmp_path / "by hand" / "data" / "a.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=r"data/a\.txt: missing"):
        unpack(tmp_path / "by hand", tmp_path / "class")


def test_bundle_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_BYTES", 4000)
    with pytest.raises(DataError, match="more than 4,000"):
        unpack(write_zip(tmp_path / "a.zip"), tmp_path / "class")


def test_no_file_of_the_students_is_overwritten(tmp_path, assert_says_four_things):
    own = tmp_path / "class" / "notebooks" / "00_b.ipynb"
    own.parent.mkdir(parents=True)
    own.write_text("my answers")
    with pytest.raises(DataError, match=r"other files: notebooks/00_b\.ipynb") as error:
        unpack(write_zip(tmp_path / "a.zip"), tmp_path / "class")
    assert_says_four_things(error.value)
    assert contents_of(tmp_path / "class") == {"notebooks/00_b.ipynb": b"my answers"}


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_what_stands_in_the_way_is_named(tmp_path, kind):
    room = tmp_path / "class"
    room.mkdir()
    (tmp_path / "elsewhere").mkdir()
    if kind == "file":
        (room / "data").write_text("mine")
    elif kind == "folder":
        (room / "data" / "a.txt").mkdir(parents=True)
    elif kind == "link":
        (room / "data").symlink_to(tmp_path / "elsewhere")
    else:
        (room / "data").mkdir()
        (room / "data" / "a.txt").symlink_to(tmp_path / "elsewhere" / "nothing")
    with pytest.raises(DataError, match=r"other files: data/a\.txt"):
        unpack(write_zip(tmp_path / "a.zip"), room)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_disk_that_is_full_is_told_before_anything_is_written(tmp_path, monkeypatch, assert_says_four_things):
    usage = namedtuple("usage", "total used free")(100, 50, 50)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="5,008 bytes of free space") as error:
        unpack(write_zip(tmp_path / "a.zip"), tmp_path / "class")
    assert_says_four_things(error.value)
    assert not (tmp_path / "class").exists()


def test_disk_that_fills_up_leaves_whole_files_only_and_the_rest_follows(
    tmp_path, monkeypatch, assert_says_four_things
):
    copy = unpacking._copy

    def fill_up(source, out, expected):
        copy(source, out, expected)
        if out.parent.name == "downloads":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking, "_copy", fill_up)
    with pytest.raises(DataError, match="No space left") as error:
        unpack(write_zip(tmp_path / "a.zip"), tmp_path / "class")
    assert_says_four_things(error.value)
    there = contents_of(tmp_path / "class")
    assert there == {name: FILES[name] for name in there} and len(there) < len(FILES)
    monkeypatch.undo()
    unpack(tmp_path / "a.zip", tmp_path / "class")
    assert contents_of(tmp_path / "class") == FILES


def test_file_that_changes_after_it_was_verified_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_altered", lambda *_: [])
    with pytest.raises(DataError, match="changed since it was verified"):
        unpack(_altered(tmp_path / "a.zip"), tmp_path / "class")
