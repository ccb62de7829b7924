"""Submissions get the marks that they deserve, whatever else they do, and harm nobody."""

import contextlib
import os
import shutil
import socket
import tempfile
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
    output=1_000_000,
)
TESTS = ("lesson01-test-1", "lesson01-test-2")
# For each, what may become of it, and some words of what its row says.
HOSTILE = {
    "loops_on": (["stopped"], "was interrupted after"),
    # Nothing of the teacher's is there, too much memory is refused, and no one listens in its own network.
    "is_refused": (["graded"], "directory, MemoryError, No space left on device, Connection refused"),
    "eats_memory": (["graded", "died"], ""),
    "exits_in_test": (["died"], "the kernel died in cell 6"),
    "prints": (["stopped"], "were printed"),
    "prints_at_once": (["stopped", "graded"], ""),
    "forks": (["graded", "stopped", "died"], ""),
    "leaves_process": (["graded"], "", "with all marks"),
    "fills_disk": (["graded"], "No space left on device"),
    "hides_in_unlinked": (["graded"], "No space left on device"),
}
# What only systemd bounds, or docker and podman: memory that belongs to no process, or to several.
OF_A_SCOPE = ("shares_memory", "hides_in_memfd", "hides_in_thread", "hides_behind_thread", "hides_itself")
SCRIPT = "from IPython.display import HTML\nHTML('<script>alert(1)</script>')"


pytestmark = pytest.mark.kernels


def write_good_and_bad(folder):
    """Write submissions that mean no harm, of which some are not even notebooks; most have several traits."""
    write_submission(folder, "half", handed_in(*RIGHT[:1]))
    write_submission(
        folder,
        "shadows",
        handed_in(
            f"answer = 42\nall = sum = max = lambda *a: True\n{SCRIPT}",
            "def double(x):\n    return 2 * x if x == 3 else 0\nraise ValueError('<b>bold</b>')",
        ),
    )
    edited = handed_in("answer = 41", "double = None")
    for cell in edited.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.source, cell.metadata.nbgrader["points"] = "pass", 100
    write_submission(folder, "=edited", edited)
    secret = "import os\nassert 'secret' not in str(dict(os.environ))\nanswer = 42"
    deleted = handed_in(secret, RIGHT[1])
    deleted.cells = [cell for cell in deleted.cells if not cell.metadata.get("nbgrader", {}).get("grade")]
    write_submission(folder, "Anna", deleted)
    write_submission(folder, "anna ", handed_in(*RIGHT))
    write_submission(folder, "text", "print('no notebook')")
    write_submission(folder, "list", "[1, 2, 3]")
    (folder / "nothing").mkdir()
    (folder / "large").mkdir()
    with open(folder / "large" / "01_small.ipynb", "wb") as file:
        file.truncate(200_000_000)


@pytest.fixture(scope="module")
def graded(tmp_path_factory, bubblewrap):
    """Grade all sorts of submissions at once; give the results by student, and what was around them."""
    # Not where temporary files usually are, since submissions do not see that.
    place = "/var/tmp" if os.path.isdir("/var/tmp") else tmp_path_factory.mktemp("grading")
    base = Path(tempfile.mkdtemp(dir=place))
    base.chmod(0o755)
    sentinel = base / "teachers-own"
    (sentinel / "deep").mkdir(parents=True)
    for name in ("marks.txt", "deep/notes.txt"):
        (sentinel / name).write_text("mine")
    for path in (sentinel, *sentinel.rglob("*")):
        path.chmod(0o777)  # anybody may change it, and yet a submission cannot
    solutions = write_solution(base / "solutions")
    submissions = base / "submissions"
    write_good_and_bad(submissions)
    (submissions / "link").mkdir()
    (submissions / "link" / "01_small.ipynb").symlink_to(solutions / "01_small.ipynb")
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    hostile = hostile_answers(sentinel, server.getsockname()[1])
    for name in HOSTILE:
        write_submission(submissions, name, handed_in(RIGHT[0], hostile[name]))
    write_submission(submissions, "loops", handed_in(hostile["loops"], RIGHT[1]))
    clone = write_solution(base / "clone" / "notebooks" / "exercises" / "solutions") / "01_small.ipynb"
    private = write_solution(base / "private") / "01_small.ipynb"
    private.chmod(0o600)
    cheating = cheating_answers(solutions / "01_small.ipynb", clone, private)
    write_submission(submissions, "reads_solutions", handed_in(*[cheating["reads_solutions"]] * 2))
    # The first hides the error of a test; the second leaves out all that a test says, and so shows none.
    write_submission(submissions, "hides", handed_in(cheating["hides_errors"], cheating["drops_source"]))
    before = {name: fingerprint(base / name) for name in ("teachers-own", "solutions", "submissions")}
    (base / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("API_TOKEN", "secret")
        patch.setattr(tempfile, "tempdir", str(base / "temporary"))
        results = grade(submissions, base / "out", workers=2, solutions=solutions, limits=LIMITS)
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


@pytest.mark.parametrize("name", OF_A_SCOPE)
def test_memory_of_all_processes_is_bounded_where_systemd_is(bubblewrap, name):
    if not bubblewrap.scope:
        pytest.skip("there is no systemd here: memory is bounded for each process")
    executed = run_in_sandbox(filled_in(RIGHT[0], hostile_answers("")[name]), LIMITS, bubblewrap)
    assert executed.status in ("died", "stopped")
    assert [got for got, _ in marks(executed.notebook).values()] == [2, 0]


def test_cell_that_takes_too_long_is_interrupted_and_the_cells_after_it_run(graded):
    result = graded[1]["loops"]
    assert (result.status, points_of(graded, "loops")) == ("stopped", (0, 3))
    assert "was interrupted after" in result.happened


@pytest.mark.parametrize("student", ["hides", "reads_solutions"])
def test_test_that_did_not_run_to_its_end_gives_no_points(graded, student):
    assert points_of(graded, student) == (0, 0)


def test_all_who_cheat_and_nobody_else_are_to_be_looked_at(graded):
    named = {name for name, one in graded[1].items() if one.review}
    assert named == {"hides", "reads_solutions", "is_refused"}


@pytest.mark.parametrize(
    "student, status, told",
    [
        ("text", "refused", "not a notebook"),
        ("list", "refused", "not a notebook"),
        ("large", "refused", "200 MB"),
        ("link", "refused", "link"),
        ("nothing", "missing", "nothing was handed in"),
    ],
)
def test_what_is_no_notebook_is_a_row_and_not_a_crash(graded, student, status, told):
    result = graded[1][student]
    assert (result.status, result.total, result.max_points) == (status, 0, 5)
    assert told in result.happened


def test_nothing_outside_of_a_submission_is_changed(graded):
    base, _, before, _ = graded
    assert {name: fingerprint(base / name) for name in before} == before


def test_no_process_of_a_submission_is_left(graded):
    users = range(FIRST_USER, FIRST_USER + USERS)
    assert running("sleep 98765") + running(str(graded[0]), users=users) == []


def test_no_submission_reaches_the_network(graded):
    assert graded[3] == []
    assert "Connection refused" in (graded[0] / "out" / graded[1]["is_refused"].feedback).read_text()


def test_same_name_twice_is_told(graded):
    assert "duplicate" in graded[1]["Anna"].happened
    assert "duplicate" in graded[1]["anna "].happened
    assert "duplicate" not in graded[1]["half"].happened


def test_table_has_a_row_for_each_and_no_formula(graded):
    base, results, _, _ = graded
    rows = rows_by("student", base / "out" / "marks.csv")
    assert rows.keys() == {name.replace("=edited", "'=edited") for name in results}
    half = rows["half"]
    assert [half[name] for name in (*TESTS, "total", "of", "percent")] == ["2", "0", "2", "5", "40.0"]
    assert (half["status"], half["happened"]) == ("graded", "")
    assert all((base / "out" / row["feedback"]).is_file() for row in rows.values())


def test_feedback_says_what_was_wrong_and_runs_nothing(graded):
    base, results, _, _ = graded
    half = (base / "out" / results["half"].feedback).read_text(encoding="utf-8")
    assert "2 of 5 points" in half and "name &#x27;double&#x27; is not defined" in half
    assert "shut in: bubblewrap" in half
    script = (base / "out" / results["shadows"].feedback).read_text(encoding="utf-8")
    assert "<script" not in script and "<b>bold" not in script and "&lt;b&gt;bold" in script
    assert "default-src &#x27;none&#x27;" in script or "default-src 'none'" in script
