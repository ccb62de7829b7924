"""A submission stays watched and leaves no trace, whatever becomes of the grader."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from small_submissions import RIGHT, filled_in, hostile_answers, running

from course_teaching.exercises import SOLUTIONS_FOLDER
from course_teaching.grading.answers import read_solutions
from course_teaching.grading.engines import Limits
from course_teaching.grading.runner import IMPORTS_OF_CHECKS
from course_teaching.grading.sandbox import FIRST_USER, USERS, _read, find_isolation, run_in_sandbox
from course_teaching.grading.workspace import locked_folder, private_folder, remove_stale_workspaces
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

SOLUTIONS = read_solutions(SOLUTIONS_FOLDER)
IMPORT = "from course_utils import checks as check"
GRADER = """
import sys
from small_submissions import RIGHT, filled_in
from course_teaching.grading.engines import Limits
from course_teaching.grading.sandbox import find_isolation, run_in_sandbox
run_in_sandbox(filled_in(RIGHT[0], sys.argv[1]), Limits(), find_isolation("bwrap"))
"""


@pytest.fixture
def private(tmp_path, monkeypatch):
    """The private folder of a temporary folder in which anybody may write."""
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "shared"))
    return private_folder()


def test_remove_stale_workspaces_leaves_the_workspace_in_use(private):
    for name in ("left", "in-use", "begun"):
        (private / name / "own").mkdir(parents=True)
    (private / "left" / "lock").touch()
    with FileLock(private / "in-use" / "lock"):
        remove_stale_workspaces()
    assert {path.name for path in private.iterdir()} == {"in-use", "begun"}


def test_remove_stale_workspaces_touches_no_folder_of_others_and_follows_no_link(private, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    planted = private.parent / "grading-planted"
    for folder in (tmp_path / "linked", planted):
        folder.mkdir()
        (folder / "lock").touch()
    (private / "link").symlink_to(tmp_path / "linked")
    (private / "lock-link").mkdir()
    (private / "lock-link" / "lock").symlink_to(tmp_path / "mine.txt")
    remove_stale_workspaces()
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "linked" / "lock").exists() and (planted / "lock").exists()


@pytest.mark.parametrize("kind", ["link", "file", "folder of another user"])
def test_private_folder_that_belongs_to_somebody_else_is_an_error(private, tmp_path, kind):
    private.rmdir()
    if kind == "link":
        private.symlink_to(tmp_path)
    elif kind == "file":
        private.touch()
    elif os.geteuid():
        pytest.skip("only root can give a folder to another user")
    else:
        private.mkdir()
        os.chown(private, FIRST_USER, FIRST_USER)
    with pytest.raises(ConfigError, match="set TMPDIR"), locked_folder():
        pass


def test_workspace_can_be_entered_by_nobody_else(private):
    with locked_folder() as folder:
        assert folder.parent == private
        assert [path.stat().st_mode & 0o066 for path in (private, folder)] == [0, 0]


def test_users_of_submissions_are_nobody_elses():
    numbers = range(FIRST_USER, FIRST_USER + USERS)
    assert numbers[0] > 60_705, "people, systemd-homed and greeters"
    assert numbers[-1] < 61_184, "dynamic users of systemd"


CLOSED = """
import os, sys
from pathlib import Path
from course_teaching.grading.workspace import remove
if os.geteuid() == 0:  # whom no permission stops
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
work = Path(sys.argv[1]) / "own" / "work"
(work / "deep").mkdir(parents=True)
(work / "deep" / "file").touch()
(work / "link").symlink_to(sys.argv[2])
for path in (work / "deep", work, work.parent):
    path.chmod(0)
remove(Path(sys.argv[1]))
"""


def test_workspace_without_permissions_is_removed_by_an_ordinary_user():
    # Not below pytest's own folder, which is shut to other users.
    with tempfile.TemporaryDirectory(prefix="tl-") as name:
        Path(name).chmod(0o777)
        space, outside = Path(name) / "space", Path(name) / "outside"
        outside.mkdir(mode=0o500)
        subprocess.run([sys.executable, "-c", CLOSED, str(space), str(outside), str(FIRST_USER)], check=True)
        assert not space.exists() and outside.stat().st_mode & 0o777 == 0o500


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
def test_without_an_engine_marks_are_right_and_a_user_of_its_own_leaves_no_process(no_engine):
    leave = hostile_answers("")["leaves_process"].replace("98765", "98764")
    answer = leave if no_engine.separate_user else RIGHT[1]
    executed = run_in_sandbox(filled_in(RIGHT[0], answer), Limits(), no_engine)
    assert (executed.status, executed.happened) == ("graded", "")
    assert all(cell.execution_count for cell in executed.notebook.cells if cell.cell_type == "code")
    assert running("98764") == []


def line(**message):
    return json.dumps(message).encode() + b"\n"


@pytest.mark.parametrize(
    "lines, status, happened",
    [
        ([line(status="graded", happened="")], "graded", ""),
        ([], "failed", "it could not be started"),
        ([line(cell=4), line(cell=4)[:-3]], "stopped", "it was ended in cell 5"),
        ([b"[" * 100_000 + b"\n"], "died", "cannot be read"),
        ([b"printed\n"], "died", "cannot be read"),
        ([line(cell=99, outputs=[])], "died", "cannot be read"),
        ([line(cell=2, outputs=[{"output_type": "stream", "text": 3}])], "died", "cannot be read"),
        ([line(cell=2, outputs="x")], "died", "cannot be read"),
        ([line(status="perfect", happened="")], "died", "cannot be read"),
    ],
)
def test_only_outputs_are_taken_from_what_comes_out_of_a_sandbox(lines, status, happened):
    notebook = filled_in(*RIGHT)
    executed = _read(lines, notebook)
    assert executed.status == status and happened in executed.happened
    assert [cell.source for cell in executed.notebook.cells] == [cell.source for cell in notebook.cells]


@pytest.mark.kernels
def test_no_process_stays_when_the_grader_is_killed(bubblewrap):
    helpers = REPOSITORY_FOLDER / "tests" / "helpers"
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY_FOLDER}{os.pathsep}{helpers}"}
    command = [sys.executable, "-c", GRADER, "import os, time\nos.execlp('sleep', 'sleep', '98762')"]
    with subprocess.Popen(command, env=environment) as grader:
        try:
            wait_for(lambda: running("sleep 98762"))
            started = psutil.Process(grader.pid).children(recursive=True)
        finally:
            grader.kill()
    assert len(started) > 2
    wait_for(lambda: not any(map(is_running, started)))


def wait_for(condition, seconds=300):
    """Wait until something is so; a guard against a hang, not a measurement."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def is_running(process):
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
