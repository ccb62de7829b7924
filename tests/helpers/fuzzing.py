"""What the files of random examples share: how many, what may come out, and what may not change."""

import contextlib
import os
import signal
import sys
import warnings
from pathlib import Path

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from course_utils.errors import CourseError
from course_utils.settings import REPOSITORY_FOLDER

sys.path.insert(0, str(REPOSITORY_FOLDER / "benchmarks"))

SEEDS = st.integers(0, 2**32 - 1)


def examples(count):
    return hypothesis_settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Hangs(BaseException):
    """No `Exception`, so that nothing on the way takes it for a damaged file."""


def stop(*_):
    raise Hangs("twenty seconds are over")


@contextlib.contextmanager
def only_course_errors():
    """Let a `CourseError` pass; anything else, or twenty seconds, fails the test."""
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about what it skips in a damaged file
            yield
    except CourseError as error:
        assert len(str(error)) < 100_000
    finally:
        signal.alarm(0)


def everything_in(folder):
    """Return the content of every file and the target of every link in a folder."""
    return {
        path: os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in Path(folder).rglob("*")
    }


@contextlib.contextmanager
def nothing_changes_in(folder):
    before = everything_in(folder)
    yield
    assert everything_in(folder) == before
