"""The course goes into one file and comes out as it was, or not at all; nothing of a student's is touched."""

import hashlib
import shutil
import subprocess
import zipfile
from collections import namedtuple

import pytest

from course_utils.__main__ import main
from course_utils.data.splits import fetch_images
from course_utils.downloads import FileStatus
from course_utils.errors import ConfigError, DataError
from course_utils.models.weights import fetch_weights
from course_utils.settings import Settings
from course_utils.teaching import bundles
from course_utils.teaching.bundles import SUMS, bundle, unpack

FILES = {"data/a.txt": b"first\n", "notebooks/00_b.ipynb": b"{}", "data/downloads/c.pth": b"\x00" * 5000}


@pytest.fixture(autouse=True)
def small_course(monkeypatch):
    """Let students get two files."""

    def write(folder):
        (folder / "docs").mkdir(parents=True)
        (folder / "README.md").write_text("the course")
        (folder / "docs" / "setup.md").write_text("how to install it")

    monkeypatch.setattr(bundles, "write_student_files", write)


@pytest.fixture
def wheels(tmp_path):
    """Give a folder that has a wheel, and something that is none."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "small_thing-2.0-py3-none-any.whl").write_bytes(b"a wheel")
    (folder / "notes.txt").touch()
    return folder


def contents_of(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_bundle_has_course_wheels_and_sums_and_the_same_bytes_again(tmp_path, wheels):
    names = bundle("quick", tmp_path / "course.zip", wheels)
    wheel = "wheelhouse/small_thing-2.0-py3-none-any.whl"
    assert names == ["README.md", "README.txt", SUMS, "docs/setup.md", wheel]
    shutil.unpack_archive(tmp_path / "course.zip", tmp_path / "class")
    found = contents_of(tmp_path / "class")
    assert sorted(found) == names and found["README.md"] == b"the course"
    assert "--find-links wheelhouse" in found["README.txt"].decode()
    sums = [line.split("  ", 1) for line in found[SUMS].decode().splitlines()]
    assert [name for _, name in sums] == [name for name in names if name != SUMS]
    assert all(hashlib.sha256(found[name]).hexdigest() == digest for digest, name in sums)
    if shutil.which("sha256sum"):
        check = ["sha256sum", "--check", "--quiet", "--strict", SUMS]
        assert subprocess.run(check, cwd=tmp_path / "class", check=False).returncode == 0
    bundle("quick", tmp_path / "other name.zip", wheels)
    assert (tmp_path / "other name.zip").read_bytes() == (tmp_path / "course.zip").read_bytes()


def test_full_profile_brings_images_and_weights_to_where_they_are_found(
    cifar10_server, tmp_path, wheels, monkeypatch, no_network, capsys
):
    _, stop = cifar10_server
    pretrained = tmp_path / "hub" / "resnet50-0123.pth"
    pretrained.parent.mkdir()
    pretrained.write_bytes(b"weights")

    def stand_in(settings):
        own = settings.backbone == "resnet18"
        return fetch_weights(settings) if own else [FileStatus("ResNet50", pretrained, 7, "sound")]

    monkeypatch.setattr(bundles, "fetch_weights", stand_in)
    names = bundle("full", tmp_path / "course.zip", wheels)
    brought = [name.removeprefix("data/downloads/") for name in names if name.startswith("data/")]
    assert len(brought) == 8 and "cifar-10-batches-py/data_batch_1" in brought and pretrained.name in brought
    stop()
    monkeypatch.delenv("COURSE_MIRROR")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "shared"))
    for new in (8, 0):
        assert main(["fetch", "--from", str(tmp_path / "course.zip")]) == 0
        assert f"of 8 files of data, {new} were put in place" in capsys.readouterr().out
    assert sorted(contents_of(tmp_path / "shared")) == sorted(brought)
    assert [row.state for row in fetch_images(Settings(profile="full"))] == ["sound"]


def test_bundle_replaces_an_earlier_one_and_no_other_file(tmp_path, wheels):
    (tmp_path / "thesis.zip").write_text("mine")
    for name in ("thesis.zip", "."):
        with pytest.raises(DataError, match="overwrite"):
            bundle("quick", tmp_path / name, wheels)
    assert (tmp_path / "thesis.zip").read_text() == "mine"
    with pytest.raises(ConfigError, match="profile"):
        bundle("quik", tmp_path / "course.zip", wheels)
    write_zip(tmp_path / "course.zip")
    assert SUMS in bundle("quick", tmp_path / "course.zip", wheels)


def test_bundle_that_cannot_be_written_leaves_the_old_one(small_disk, tmp_path):
    disk = small_disk(2**20)
    old = write_zip(disk / "course.zip").read_bytes()
    (tmp_path / "large.whl").write_bytes(bytes(2**20))
    with pytest.raises(DataError, match="No space left"):
        bundle("quick", disk / "course.zip", tmp_path)
    assert contents_of(disk) == {"course.zip": old}


def sums_of(files):
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())


def write_zip(path, files=FILES, sums=None):
    """Write a bundle by hand; `sums` replaces its list of hashes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, SUMS: sums_of(files) if sums is None else sums}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def put_in_place(path, room):
    return unpack(path, room / "data", room / "shared")


def test_images_and_weights_are_put_in_place_from_a_zip_file_and_from_a_folder(tmp_path):
    shutil.unpack_archive(write_zip(tmp_path / "a.zip"), tmp_path / "by hand")
    (tmp_path / "by hand" / ".DS_Store").write_text("a file manager's")
    for number, source in enumerate(("a.zip", "by hand")):
        for state in ("unpacked", "sound"):
            rows = put_in_place(tmp_path / source, tmp_path / f"class {number}")
            found = [(row.what, row.bytes, row.state) for row in rows]
            assert found == [("data/a.txt", 6, state), ("data/downloads/c.pth", 5000, state)]
            assert all(row.where.read_bytes() == FILES[row.what] for row in rows)
        assert sorted(contents_of(tmp_path / f"class {number}")) == ["data/a.txt", "shared/c.pth"]


def _altered(path):
    write_zip(path, {**FILES, "notebooks/00_b.ipynb": b"[]"}, sums_of(FILES))


def _lacking(path):
    write_zip(path, {"data/a.txt": b"first\n"}, sums_of(FILES))


def _damaged(change):
    def make(path):
        content = bytearray(write_zip(path).read_bytes())
        change(content)
        path.write_bytes(content)

    return make


def _flip(content):
    content[content.index(b"first")] ^= 1


def _encrypt(content):
    content[content.index(b"PK\x01\x02") + 8] |= 1


def _named(name):
    return lambda path: write_zip(path, {name: b"first\n", "data/b.txt": b"second"})


@pytest.mark.parametrize(
    "make, expected",
    [
        (_altered, "notebooks/00_b.ipynb: 2 bytes with the SHA-256 hash"),
        (_lacking, "notebooks/00_b.ipynb: FileNotFoundError"),
        (_damaged(_flip), "data/a.txt: BadZipFile: Bad CRC-32"),
        (_damaged(_encrypt), "data/a.txt: RuntimeError: File 'data/a.txt' is encrypted"),
        (_damaged(lambda content: content.__delitem__(slice(-300, None))), "not a zip file"),
        (lambda path: path.write_text("<html>log in</html>"), "not a zip file"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: None, "no file"),
        (lambda path: path.mkdir(), "missing or empty"),
        (lambda path: write_zip(path, sums=""), "missing or empty"),
        (lambda path: write_zip(path, sums="nonsense"), "not a hash and a name"),
        (_named("data/../../escaped.txt"), "data/../../escaped.txt, or it would leave its folder"),
        (_named("data//tmp/escaped.txt"), "data//tmp/escaped.txt, or it would leave its folder"),
    ],
)
def test_bundle_that_is_not_sound_is_refused_before_anything_is_written(tmp_path, make, expected):
    source, room = tmp_path / "in" / "course.zip", tmp_path / "class" / "room"
    source.parent.mkdir()
    room.mkdir(parents=True)
    make(source)
    before = contents_of(tmp_path)
    with pytest.raises(DataError, match="Nothing was put in place") as caught:
        put_in_place(source, room)
    assert expected in str(caught.value)
    assert contents_of(tmp_path) == before and not list(room.iterdir())


@pytest.mark.parametrize(
    "name, put",
    [
        ("data/a.txt", lambda path, elsewhere: path.write_text("my answers")),
        ("data/a.txt", lambda path, elsewhere: path.mkdir()),
        ("data/a.txt", lambda path, elsewhere: path.symlink_to(elsewhere / "nothing")),
        ("data/b/c/d.txt", lambda path, elsewhere: path.parent.symlink_to(elsewhere)),
        ("data/b/c/d.txt", lambda path, elsewhere: path.parent.write_text("mine")),
    ],
    ids=["other file", "folder", "dangling link", "link to a folder", "file above"],
)
def test_what_stands_in_the_way_is_named_and_left_alone(tmp_path, name, put):
    room, elsewhere = tmp_path / "class", tmp_path / "elsewhere"
    for folder in (room / "data" / "b", elsewhere):
        folder.mkdir(parents=True)
    put(room / name, elsewhere)
    before = contents_of(room)
    with pytest.raises(DataError, match=f"another file is {name}"):
        put_in_place(write_zip(tmp_path / "a.zip", {name: b"first\n", "data/z.txt": b""}), room)
    assert contents_of(room) == before and not list(elsewhere.iterdir())


def test_disk_that_is_full_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(100, 50, 50)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="5,006 bytes of free space"):
        put_in_place(write_zip(tmp_path / "a.zip"), tmp_path / "class")
    assert not (tmp_path / "class").exists()


def test_disk_that_fills_up_leaves_whole_files_only_and_the_rest_follows(small_disk, tmp_path, monkeypatch):
    disk, files = small_disk(2**20), {f"data/{name}": bytes(300_000) for name in "abc"}
    path = write_zip(tmp_path / "a.zip", files)
    (disk / "filler").write_bytes(bytes(300_000))
    with monkeypatch.context() as patch, pytest.raises(DataError, match="No space left"):
        patch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(2**30))
        unpack(path, disk / "data", tmp_path)
    sizes = {name: len(content) for name, content in contents_of(disk / "data").items()}
    assert sizes == {"a": 300_000, "b": 300_000}
    (disk / "filler").unlink()
    assert [row.state for row in unpack(path, disk / "data", tmp_path)] == ["sound", "sound", "unpacked"]
