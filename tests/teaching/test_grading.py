"""Submissions get the marks that they deserve, whatever else they do, and harm nobody."""

import contextlib
import os
import shutil
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from small_rosters import rows_by
from small_submissions import (
    RIGHT,
    cheating_answers,
    filled_in,
    fingerprint,
    handed_in,
    hostile_answers,
    running,
    write_solution,
    write_submission,
)

from course_teaching.exercises import marks
from course_teaching.grading import grade
from course_teaching.grading.engines import Limits
from course_teaching.grading.sandbox import FIRST_USER, USERS, run_in_sandbox

LIMITS = Limits(
    seconds=40,
    cell_seconds=3,
    memory=400_000_000,
    threads=96,
    file_size=50_000_000,
    folder_size=100_000_000,
    output=20_000_000,
)
TESTS = ("lesson01-test-1", "lesson01-test-2")
# For each, what may become of it, and some words of what its row says.
HOSTILE = {
    "loops_on": (["stopped"], ""),
    # Nothing of the teacher's is there, too much memory is refused, and no one listens in its own network.
    "is_refused": (["graded"], "directory, MemoryError, Connection refused"),
    "eats_memory": (["graded", "died"], ""),
    "exits_in_test": (["died"], "the kernel died in cell 6"),
    "prints": (["stopped"], ""),
    "forks": (["graded", "stopped", "died"], ""),
    "leaves_process": (["graded"], "", "with all marks"),
    "fills_disk": (["graded"], "No space left on device"),
}
SCRIPT = "from IPython.display import HTML\nHTML('<script>alert(1)</script>')"

pytestmark = pytest.mark.kernels


def write_honest(folder):
    """Write submissions that mean no harm; most have several traits."""
    write_submission(folder, "half", handed_in(*RIGHT[:1]))
    shadows = f"answer = 42\nall = sum = max = lambda *a: True\n{SCRIPT}"
    double = "def double(x):\n    return 2 * x if x == 3 else 0\nraise ValueError('<b>bold</b>')"
    write_submission(folder, "shadows", handed_in(shadows, double))
    edited = handed_in("answer = 41", "double = None")
    for cell in edited.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.source, cell.metadata.nbgrader["points"] = "pass", 100
    write_submission(folder, "=edited", edited)
    deleted = handed_in("import os\nassert 'secret' not in str(dict(os.environ))\nanswer = 42", RIGHT[1])
    deleted.cells = [cell for cell in deleted.cells if not cell.metadata.get("nbgrader", {}).get("grade")]
    write_submission(folder, "Anna", deleted)
    write_submission(folder, "anna ", handed_in(*RIGHT))
    write_submission(folder, "text", "print('no notebook')")


@pytest.fixture(scope="module")
def graded(bubblewrap):
    """Grade all sorts of submissions at once; give the results by student, and what was around them."""
    # Not where temporary files usually are, because submissions do not see those.
    base = Path(tempfile.mkdtemp(dir="/var/tmp"))
    base.chmod(0o755)
    sentinel = base / "teachers-own"
    (sentinel / "deep").mkdir(parents=True)
    for name in ("marks.txt", "deep/notes.txt"):
        (sentinel / name).write_text("mine")
    for path in (sentinel, *sentinel.rglob("*")):
        path.chmod(0o777)  # anybody may change it, and yet a submission cannot
    solutions, submissions = write_solution(base / "solutions"), base / "submissions"
    write_honest(submissions)
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    hostile = hostile_answers(sentinel, server.getsockname()[1])
    for name in HOSTILE:
        write_submission(submissions, name, handed_in(RIGHT[0], hostile[name]))
    write_submission(submissions, "loops", handed_in(hostile["loops"], RIGHT[1]))
    clone = write_solution(base / "clone" / "notebooks" / "exercises" / "solutions") / "01_small.ipynb"
    cheating = cheating_answers(solutions / "01_small.ipynb", clone)
    write_submission(submissions, "reads_solutions", handed_in(*[cheating["reads_solutions"]] * 2))
    # The first hides the error of a test; the second leaves out all that a test says, and so shows none.
    write_submission(submissions, "hides", handed_in(cheating["hides_errors"], cheating["drops_source"]))
    before = {name: fingerprint(base / name) for name in ("teachers-own", "solutions", "submissions")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("API_TOKEN", "secret")
        results = grade(submissions, base / "out", solutions=solutions, limits=replace(LIMITS, workers=2))
    calls = []
    with contextlib.suppress(TimeoutError):
        calls.append(server.accept())
    server.close()
    yield base, {one.student: one for one in results}, before, calls
    shutil.rmtree(base)


def points_of(graded, student):
    return tuple(graded[1][student].points[name][0] for name in TESTS)


@pytest.mark.parametrize(
    "student, points",
    [("half", (2, 0)), ("shadows", (2, 0)), ("=edited", (0, 0)), ("Anna", (2, 3)), ("anna ", (2, 3))],
)
def test_honest_submission_gets_its_marks(graded, student, points):
    assert points_of(graded, student) == points
    assert graded[1][student].status == "graded"
    assert graded[1][student].max_points == 5


@pytest.mark.parametrize("student", HOSTILE)
def test_hostile_submission_gets_its_marks_so_far(graded, student):
    statuses, told, *last = HOSTILE[student]
    result = graded[1][student]
    assert points_of(graded, student) == (2, 3 if last else 0)
    assert (result.status in statuses, told in result.happened) == (True, True), str(result)


@pytest.mark.parametrize("name", ["shares_memory", "hides_in_memfd"])
def test_memory_of_all_processes_is_bounded_where_systemd_is(bubblewrap, name):
    if not bubblewrap.scope:
        pytest.skip("there is no systemd here: memory is bounded for each process")
    executed = run_in_sandbox(filled_in(RIGHT[0], hostile_answers("")[name]), LIMITS, bubblewrap)
    assert executed.status in ("died", "stopped")
    assert [got for got, _ in marks(executed.notebook).values()] == [2, 0]


def test_cells_after_one_that_took_too_long_run(graded):
    result = graded[1]["loops"]
    assert (result.status, points_of(graded, "loops")) == ("stopped", (0, 3))
    assert "was interrupted after" in result.happened


@pytest.mark.parametrize("student", ["hides", "reads_solutions"])
def test_test_that_did_not_run_to_its_end_gives_no_points(graded, student):
    assert points_of(graded, student) == (0, 0)


def test_all_who_cheat_and_nobody_else_are_to_be_looked_at(graded):
    named = {name for name, one in graded[1].items() if one.review}
    assert named == {"hides", "reads_solutions", "is_refused"}


def test_non_notebook_becomes_a_row(graded):
    result = graded[1]["text"]
    assert (result.status, result.total, result.max_points) == ("refused", 0, 5)
    assert "not a notebook" in result.happened


def test_nothing_of_a_submission_stays_or_reaches_the_network(graded):
    base, results, before, calls = graded
    assert {name: fingerprint(base / name) for name in before} == before
    users = range(FIRST_USER, FIRST_USER + USERS)
    assert running("sleep 98765") + running(str(base), users=users if os.geteuid() == 0 else ()) == []
    assert calls == []
    assert "Connection refused" in (base / "out" / results["is_refused"].feedback).read_text()


def test_marks_have_a_row_for_each_and_name_a_double(graded):
    base, results, _, _ = graded
    rows = rows_by("student", base / "out" / "marks.csv")
    assert rows.keys() == {name.replace("=edited", "'=edited") for name in results}
    shown = [rows["half"][name] for name in (*TESTS, "total", "of", "status", "remarks", "in doubt")]
    assert shown == ["2", "0", "2", "5", "graded", "", ""]
    assert "2 notebooks" in rows["Anna"]["in doubt"] and "2 notebooks" in rows["anna "]["in doubt"]
    assert all((base / "out" / row["feedback"]).is_file() for row in rows.values())


def test_feedback_says_what_was_wrong_and_runs_nothing(graded):
    base, results, _, _ = graded
    half = (base / "out" / results["half"].feedback).read_text(encoding="utf-8")
    assert "2 of 5 points" in half and "name &#x27;double&#x27; is not defined" in half
    assert "confined by: bubblewrap" in half
    script = (base / "out" / results["shadows"].feedback).read_text(encoding="utf-8")
    assert "<script" not in script and "<b>bold" not in script and "&lt;b&gt;bold" in script
