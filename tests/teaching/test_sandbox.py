"""A submission stays watched and leaves no trace, whatever becomes of the grader."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from small_submissions import RIGHT, filled_in, hostile_answers, running

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER
from course_utils.teaching.exercises import SOLUTIONS_FOLDER
from course_utils.teaching.grading.answers import read_solutions
from course_utils.teaching.grading.engines import find_isolation
from course_utils.teaching.grading.executor import IMPORTS_OF_CHECKS
from course_utils.teaching.grading.sandbox import run_shut_in
from course_utils.teaching.grading.workspace import Limits, sweep

SOLUTIONS = read_solutions(SOLUTIONS_FOLDER)
IMPORT = "from course_utils import checks as check"
# Takes 600 MB, more than it may, half a second after it has been seen.
GREEDY = "import time\ntime.sleep(0.5)\nx = [b'1' * 10**7 for _ in range(60)]\ntime.sleep(90)"
GRADER = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from small_submissions import RIGHT, filled_in
from course_utils.teaching.grading.engines import find_isolation
from course_utils.teaching.grading.sandbox import run_shut_in
from course_utils.teaching.grading.workspace import Limits
limits = Limits(seconds=120, cell_seconds=100, memory=400_000_000)
print(run_shut_in(filled_in(RIGHT[0], sys.argv[2]), limits, find_isolation("bwrap")).happened)
"""


def test_folders_of_graders_that_were_killed_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("grading-left", "grading-in-use", "grading-by-somebody-else", "mine"):
        (tmp_path / name / "own").mkdir(parents=True)
    (tmp_path / "grading-left" / "lock").touch()
    with FileLock(tmp_path / "grading-in-use" / "lock"):
        sweep()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"grading-in-use", "grading-by-somebody-else", "mine"}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_import_of_the_checks_that_is_repeated_before_a_test_is_found(name):
    cells = [cell for cell in SOLUTIONS[name].cells if cell.metadata.get("nbgrader", {}).get("locked")]
    assert IMPORTS_OF_CHECKS.findall("\n".join(cell.source for cell in cells)) == [IMPORT]


@pytest.fixture
def no_engine():
    """Give the protection that is left without an engine; where root has none to give, skip."""
    try:
        return find_isolation("none")
    except ConfigError as error:
        pytest.skip(f"root cannot give a submission a user of its own here: {error.found}")


@pytest.mark.kernels
def test_without_an_engine_marks_are_right_and_no_process_is_left(no_engine):
    answer = hostile_answers("")["leaves_process"].replace("98765", "98764")
    executed = run_shut_in(filled_in(RIGHT[0], answer), Limits(), no_engine)
    assert (executed.status, executed.happened) == ("graded", "")
    assert all(cell.execution_count for cell in executed.notebook.cells if cell.cell_type == "code")
    assert running("98764") == []


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["hides_from_parent", "hides_behind_thread", "hides_in_memfd"])
def test_without_an_engine_memory_is_counted_whoever_has_it(no_engine, name):
    limits = Limits(seconds=60, memory=400_000_000)
    executed = run_shut_in(filled_in(RIGHT[0], hostile_answers("")[name]), limits, no_engine)
    assert executed.status == "stopped" and "GB of memory" in executed.happened


@contextlib.contextmanager
def grader_of(answer):
    """Run a grader of one submission as a process of its own; give it, its folder and what it started."""
    helpers = REPOSITORY_FOLDER / "tests" / "helpers"
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY_FOLDER}{os.pathsep}{helpers}"}
    # A folder whose path is short enough for sockets in it.
    with tempfile.TemporaryDirectory(prefix="tl-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        command = [sys.executable, "-c", GRADER, name, f"open('started', 'w')\n{answer}"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as grader:
            try:
                wait_for(lambda: list(Path(name).glob("grading-*/own/work/started")))
                yield grader, Path(name), psutil.Process(grader.pid).children(recursive=True)
            finally:
                grader.kill()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


def is_running(process):
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.kernels
def test_limits_are_watched_while_the_grader_stands_still(bubblewrap):
    with grader_of(GREEDY) as (grader, _, started):
        os.kill(grader.pid, signal.SIGSTOP)
        wait_for(lambda: not any(map(is_running, started)))
        os.kill(grader.pid, signal.SIGCONT)
        assert "GB of memory" in grader.communicate(timeout=60)[0]


@pytest.mark.kernels
def test_nothing_stays_when_the_grader_is_killed(bubblewrap):
    with grader_of("import time\ntime.sleep(90)") as (grader, folder, started):
        assert len(started) > 2
        grader.kill()
        wait_for(lambda: not any(map(is_running, started)))
        wait_for(lambda: not list(folder.glob("grading-*")))
