"""A submission stays shut in, watched and without a trace, whatever becomes of the grader."""

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
from small_submissions import RIGHT, handed_in, hostile_answers, small_solution

from course_utils.errors import ConfigError
from course_utils.teaching.grading import protection
from course_utils.teaching.grading.protection import (
    FIRST_USER,
    Limits,
    Protection,
    find_protection,
    free_users,
    own_cgroup,
    own_folder,
    shut_in,
    sweep,
)
from course_utils.teaching.grading.sandbox import run_shut_in
from course_utils.teaching.grading.submissions import restore

LIMITS = Limits(seconds=120, cell_seconds=100, memory=400_000_000, file_size=20_480_000)
# Takes 600 MB, more than it may, half a second after it has been seen.
GREEDY = "import time\ntime.sleep(0.5)\nx = [b'1' * 10**7 for _ in range(60)]\ntime.sleep(90)"


@pytest.fixture(scope="module")
def shut():
    """Give a protection that is worth its name; without bubblewrap, skip."""
    try:
        return find_protection("bwrap")
    except ConfigError as error:
        pytest.skip(f"bubblewrap does not work here: {error.found}")


def executable(*answers):
    """Return the small exercise with answers as it is executed."""
    cells = [
        {"type": cell.cell_type, "source": cell.source, "id": cell.get("id"), "text": cell.source.strip()}
        | {"grade_id": cell.metadata.get("nbgrader", {}).get("grade_id")}
        for cell in handed_in(*answers).cells
    ]
    return restore(small_solution(), cells)


def run_in(shut, folder, *command):
    """Run a command as a submission would; return what it prints."""
    with own_folder(shut, FIRST_USER - 2) as (_, own):
        command = [*shut_in(own, shut, FIRST_USER - 2, LIMITS, [folder]), *command]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_lies_within_what_is_needed_is_covered(shut, tmp_path, monkeypatch):
    (tmp_path / "data" / "submissions").mkdir(parents=True)
    (tmp_path / "data" / "submissions" / "mine.txt").write_text("mine")
    (tmp_path / "data" / "cifar.txt").write_text("data")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    for path in (tmp_path, *tmp_path.parents[:2], *tmp_path.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055)
    found = run_in(shut, tmp_path / "data" / "submissions", "find", str(tmp_path), "-type", "f")
    assert found.stdout.split() == [str(tmp_path / "data" / "cifar.txt")]


def test_nothing_is_in_sight_but_what_is_needed(shut):
    found = run_in(
        shut, Path("/nowhere"), "ls", "-a", "/", "/etc", "/dev/shm", str(protection.REPOSITORY_FOLDER)
    )
    assert found.returncode == 0
    for name in ("home", "var", "root/.bashrc", "passwd", "notebooks", "tests", ".git"):
        assert name not in found.stdout.split(), found.stdout


@pytest.mark.parametrize("place", ["/", "/dev", "/tmp", "/usr", str(protection.REPOSITORY_FOLDER / "data")])
def test_nothing_can_be_written_but_in_the_own_folder(shut, place):
    done = run_in(shut, Path("/nowhere"), "sh", "-c", f"touch here && echo fine; echo x > {place}/new-file")
    assert done.stdout == "fine\n" and done.returncode != 0


def test_files_in_memory_are_no_larger_than_one_file_may_be(shut):
    code = "head -c 30000000 /dev/zero > /dev/shm/file; stat -c %s /dev/shm/file"
    assert int(run_in(shut, Path("/nowhere"), "sh", "-c", code).stdout) <= LIMITS.file_size


def test_privileges_are_gone_and_do_not_come_back(shut):
    code = "id -u; grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs' /proc/self/status; unshare -Ur true || echo none"
    user, *rest = run_in(shut, Path("/nowhere"), "sh", "-c", code).stdout.split("\n")
    assert int(user) == (FIRST_USER - 2 if shut.own_user else os.getuid())
    assert [line.split()[-1] for line in rest if line] == [*["0" * 16] * 3, "1", "none"]


def test_engine_that_is_not_there_is_an_error_and_none_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="cannot be shut in") as caught:
        find_protection("bwrap")
    assert "no bwrap" in caught.value.found and "apt-get install bubblewrap" in caught.value.do
    told = str(Protection("none", own_user=False))
    assert "NOT SHUT IN" in told and "counted, not bounded" in told and "System V" in told
    assert "bounded by a cgroup" in str(Protection("bwrap", own_user=True, cgroup=True))


def test_folders_of_graders_that_were_killed_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("grading-left", "grading-in-use", "grading-by-somebody-else", "mine"):
        (tmp_path / name / "own").mkdir(parents=True)
    (tmp_path / "grading-left" / "lock").touch()
    with FileLock(tmp_path / "grading-in-use" / "lock"):
        sweep()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"grading-in-use", "grading-by-somebody-else", "mine"}


def test_cgroup_is_made_with_its_limit_and_removed():
    with own_cgroup(10**9) as group:
        if group is None:
            pytest.skip("no cgroup can be made here")
        limits = [
            path.read_text()
            for path in group.glob("memory.*")
            if path.name in ("memory.max", "memory.limit_in_bytes")
        ]
        assert [abs(int(limit) - 10**9) < 4096 for limit in limits] == [True]
    assert not group.exists()


@pytest.mark.kernels
def test_without_an_engine_marks_are_right_and_no_process_is_left():
    try:
        none = find_protection("none")
    except ConfigError as error:
        pytest.skip(f"root cannot give a submission a user of its own here: {error.found}")
    answer = hostile_answers("")["leaves_process"].replace("98765", "98764")
    ran = run_shut_in(executable(RIGHT[0], answer), LIMITS, none, user=free_users(1)[0])
    assert (ran.status, ran.happened) == ("graded", "")
    assert all(cell.execution_count for cell in ran.notebook.cells if cell.cell_type == "code")
    left = [
        process for process in psutil.process_iter(["cmdline"]) if "98764" in (process.info["cmdline"] or [])
    ]
    assert left == []


@contextlib.contextmanager
def grader_of(folder, answer):
    """Run a grader of one submission as a process of its own; give it, and all that it started."""
    code = f"""
import sys, tempfile
tempfile.tempdir = {str(folder)!r}
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_sandbox as here
from course_utils.grading.protection import find_protection
notebook, user = here.executable(here.RIGHT[0], {answer!r}), here.FIRST_USER - 3
ran = here.run_shut_in(notebook, here.LIMITS, find_protection(), user=user)
print(ran.happened)
"""
    environment = {**os.environ, "PYTHONPATH": str(protection.REPOSITORY_FOLDER)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as grader:
        try:
            wait_for(lambda: list(folder.glob("grading-*/own/work/started")))
            yield grader, psutil.Process(grader.pid).children(recursive=True)
        finally:
            grader.kill()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


@pytest.fixture
def short_folder():
    """Give a folder whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="tl-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.kernels
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_limits_are_watched_while_the_grader_stands_still(short_folder, shut):
    with grader_of(short_folder, f"open('started', 'w')\n{GREEDY}") as (grader, started):
        os.kill(grader.pid, signal.SIGSTOP)
        wait_for(lambda: not any(map(is_running, started)))
        os.kill(grader.pid, signal.SIGCONT)
        assert "GB of memory" in grader.communicate(timeout=60)[0]


def is_running(process):
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.kernels
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_nothing_stays_when_the_grader_is_killed(short_folder):
    with grader_of(short_folder, "open('started', 'w')\nimport time\ntime.sleep(90)") as (grader, started):
        assert len(started) > 2
        grader.kill()
        wait_for(lambda: not any(map(is_running, started)))
        wait_for(lambda: not list(short_folder.glob("grading-*")))
