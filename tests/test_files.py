"""Files are written as a whole, or not at all."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.errors import CheckpointError, ConfigError
from course_utils.files import make_folder, write_atomically


@pytest.mark.parametrize(
    "error, expected",
    [
        (OSError(errno.ENOSPC, "No space left on device"), CheckpointError),
        (RuntimeError("PytorchStreamWriter failed writing file"), CheckpointError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full disk", "torch on a full disk", "Ctrl-C"],
)
def test_old_file_survives_a_write_that_fails(tmp_path, error, expected):
    path = tmp_path / "file"
    path.write_text("old")

    def fail_half_way(part):
        part.write_text("ne")
        raise error

    with pytest.raises(expected) as caught:
        write_atomically(path, fail_half_way)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
    if expected is CheckpointError:
        assert str(path) in str(caught.value)
        assert str(error) in str(caught.value)
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("kind", [CheckpointError, ConfigError])
def test_file_that_cannot_be_written_is_an_error_with_its_path(tmp_path, kind, refused):
    (tmp_path / "file").write_text("in the way")
    with refused(kind, where=tmp_path / "file" / "below"):
        write_atomically(tmp_path / "file" / "below", lambda part: part.write_text("hello"), kind)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_new_file_in_a_new_folder_has_the_permissions_of_the_umask(tmp_path):
    before, path = os.umask(0o027), tmp_path / "new" / "file"
    try:
        write_atomically(path, lambda part: part.write_text("hello"))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.read_text() == "hello" and os.listdir(tmp_path / "new") == ["file"]


HALF_WRITTEN = """
import sys
from pathlib import Path
from course_utils.files import write_atomically

def write(part):
    part.write_bytes(b"half of it")
    print(part, flush=True)
    sys.stdin.read()

write_atomically(Path(sys.argv[1]), write)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs locks that end with their process")
def test_what_a_killed_save_left_is_removed_by_the_next_one(tmp_path):
    path = tmp_path / "file"
    others = [tmp_path / ".file.part", tmp_path / ".file.notes.part", tmp_path / ".other.abcd1234.part"]
    for other in others:
        other.write_text("mine")
    command = [sys.executable, "-W", "ignore", "-c", HALF_WRITTEN, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        part = Path(process.stdout.readline().strip())
        write_atomically(path, lambda part: part.write_text("of another"))
        assert part.read_bytes() == b"half of it", "one that is under way is left alone"
        process.kill()
    assert part.read_bytes() == b"half of it"
    write_atomically(path, lambda part: part.write_text("whole"))
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_folder_of_somebody_else_is_an_error_of_the_kind_asked_for(folder_for_all, ordinary_user):
    make_folder(folder_for_all / "a" / "b", ConfigError)
    folder_for_all.chmod(0o555)
    with ordinary_user(), pytest.raises(ConfigError, match="could not be written"):
        make_folder(folder_for_all, ConfigError)
    assert [path.name for path in folder_for_all.iterdir()] == ["a"]
