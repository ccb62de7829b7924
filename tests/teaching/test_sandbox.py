"""A notebook runs in a sandbox, only its outputs come out, and nothing of it stays."""

import contextlib
import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from small_submissions import RIGHT, filled_in, hostile_answers, running

from course_teaching.exercises import SOLUTIONS_FOLDER, marks
from course_teaching.grading import sandbox
from course_teaching.grading.answers import read_solutions
from course_teaching.grading.engines import Isolation, Limits, is_root
from course_teaching.grading.runner import IMPORTS_OF_CHECKS
from course_teaching.grading.sandbox import find_isolation, read_lines, run_in_sandbox
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

LIMITS = Limits(seconds=120, cell_seconds=100, memory=400_000_000)
SOLUTIONS = read_solutions(SOLUTIONS_FOLDER)
GRADER = """
import sys
from small_submissions import RIGHT, filled_in
from course_teaching.grading.engines import Limits
from course_teaching.grading.sandbox import find_isolation, run_in_sandbox
run_in_sandbox(filled_in(RIGHT[0], sys.argv[1]), Limits(), find_isolation("bwrap"))
"""


def points(executed):
    return [got for got, _ in marks(executed.notebook).values()]


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
def test_read_lines_takes_only_outputs_from_a_sandbox(lines, status, happened):
    notebook = filled_in(*RIGHT)
    executed = read_lines(lines, notebook)
    assert executed.status == status and happened in executed.happened
    assert [cell.source for cell in executed.notebook.cells] == [cell.source for cell in notebook.cells]


@pytest.mark.parametrize("name", SOLUTIONS)
def test_runner_finds_the_import_of_the_checks_in_every_exercise(name):
    cells = [cell for cell in SOLUTIONS[name].cells if cell.metadata.get("nbgrader", {}).get("locked")]
    found = IMPORTS_OF_CHECKS.findall("\n".join(cell.source for cell in cells))
    assert found == ["from course_utils import checks as check"]


@pytest.mark.kernels
@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_container_of_a_real_engine_gives_marks_and_bounds_memory(engine):
    try:
        isolation = find_isolation(engine)
    except ConfigError as error:
        pytest.skip(f"{engine} does not work here: {error.found}")
    executed = run_in_sandbox(filled_in(*RIGHT), LIMITS, isolation)
    assert (executed.status, points(executed)) == ("graded", [2, 3])
    executed = run_in_sandbox(filled_in(RIGHT[0], hostile_answers("")["shares_memory"]), LIMITS, isolation)
    assert executed.status in ("died", "stopped")
    assert running("runner.py") == []


@pytest.mark.kernels
@pytest.mark.skipif(is_root(), reason="root grades with an engine only")
def test_without_an_engine_marks_are_right():
    executed = run_in_sandbox(filled_in(*RIGHT), Limits(), find_isolation("none"))
    assert (executed.status, executed.happened, points(executed)) == ("graded", "", [2, 3])


def test_find_isolation_refuses_root_without_an_engine(monkeypatch):
    monkeypatch.setattr(sandbox, "is_root", lambda: True)
    with pytest.raises(ConfigError) as caught:
        find_isolation("none")
    assert caught.value.found == "none: submissions would run as root"
    monkeypatch.setattr(sandbox, "is_root", lambda: False)
    assert find_isolation("none") == Isolation("none")


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
