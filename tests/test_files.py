"""Files are written as a whole, or not at all."""

import errno
import os

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


def test_what_a_killed_save_left_is_overwritten_by_the_next_one(tmp_path):
    (tmp_path / ".file.part").write_text("half of it")
    write_atomically(tmp_path / "file", lambda part: part.write_text("whole"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folder_of_somebody_else_is_an_error_of_the_kind_asked_for(folder_for_all, ordinary_user):
    make_folder(folder_for_all / "a" / "b", ConfigError)
    folder_for_all.chmod(0o555)
    with ordinary_user(), pytest.raises(ConfigError, match="could not be written"):
        make_folder(folder_for_all, ConfigError)
    assert [path.name for path in folder_for_all.iterdir()] == ["a"]
