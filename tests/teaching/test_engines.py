"""Engines: what bubblewrap shuts in, and the command lines of docker and podman."""

import ast
import os
import subprocess
import sys

import pytest
from small_submissions import RIGHT, filled_in, hostile_answers, running

from course_teaching.exercises import marks
from course_teaching.grading import engines, sandbox
from course_teaching.grading.engines import Isolation, Limits, sandbox_command
from course_teaching.grading.sandbox import FIRST_USER, find_isolation, run_in_sandbox
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

LIMITS = Limits(
    seconds=120, cell_seconds=100, memory=400_000_000, file_size=20_480_000, folder_size=40_960_000
)
# What `docker run` and `docker rm` do as far as the course needs it, with nothing shut in. What it runs is no
# child of the command, as with docker, and gets no other variables than those that are named.
STAND_IN = f"""#!{sys.executable}
import os, signal, subprocess, sys
folder = os.path.dirname(__file__)
with open(folder + "/calls", "a") as file:
    print(sys.argv[1:], file=file)
if sys.argv[1] == "rm":
    os.killpg(int(open(folder + "/" + sys.argv[3]).read()), signal.SIGKILL)
    sys.exit()
image = next(n for n, word in enumerate(sys.argv[2:], 2) if not word.startswith("--"))
options = dict(word[2:].split("=", 1) for word in sys.argv[2:image] if "=" in word)
variables = dict(word[6:].split("=", 1) for word in sys.argv[2:image] if word.startswith("--env="))
command = [options["entrypoint"], *sys.argv[image + 1 :]]
command = [sys.executable if word == "python3" else word for word in command]
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    path = {{"PATH": os.environ["PATH"]}}
    own = {{"env": {{**path, **variables}}, "cwd": options["workdir"], "start_new_session": True}}
    done = subprocess.Popen(command, **own)
    with open(folder + "/" + options["name"], "w") as file:
        file.write(str(done.pid))
    os.write(write, b"%d" % (done.wait() & 255))
    os._exit(0)
os.close(write)
sys.exit(int(os.read(read, 9) or 137))
"""


def run_in(isolation, *command, hide=()):
    """Run a command as a submission would; return what it prints."""
    user = FIRST_USER if isolation.separate_user else None
    command = [*sandbox_command(isolation, LIMITS, hide, user=user), *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_lies_within_what_is_needed_is_covered(bubblewrap, tmp_path, monkeypatch):
    (tmp_path / "data" / "submissions").mkdir(parents=True)
    (tmp_path / "data" / "submissions" / "mine.txt").write_text("mine")
    (tmp_path / "data" / "cifar.txt").write_text("data")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    for path in (tmp_path, *tmp_path.parents[:2], *tmp_path.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055)
    hide = [tmp_path / "data" / "submissions"]
    found = run_in(bubblewrap, "find", str(tmp_path), "-type", "f", hide=hide)
    assert found.stdout.split() == [str(tmp_path / "data" / "cifar.txt")]


def test_nothing_is_in_sight_but_what_is_needed(bubblewrap):
    found = run_in(bubblewrap, "ls", "-a", "/", "/etc", "/dev/shm", str(REPOSITORY_FOLDER))
    assert found.returncode == 0
    hidden = {"home", "var", "root/.bashrc", "passwd", "notebooks", "tests", ".git"}
    assert not hidden & set(found.stdout.split())


@pytest.mark.parametrize("place", ["/", "/dev", "/usr", str(REPOSITORY_FOLDER / "data")])
def test_nothing_can_be_written_but_in_the_own_folder(bubblewrap, place):
    done = run_in(bubblewrap, "sh", "-c", f"touch here && echo fine; echo x > {place}/new-file")
    assert done.stdout == "fine\n" and done.returncode != 0


@pytest.mark.parametrize("place, most", [("/dev/shm", LIMITS.file_size), ("/tmp", LIMITS.folder_size)])
def test_files_take_no_more_room_than_they_may(bubblewrap, place, most):
    code = f"head -c 50000000 /dev/zero > {place}/file; stat -c %s {place}/file"
    assert 0 < int(run_in(bubblewrap, "sh", "-c", code).stdout) <= most


def test_sandbox_gets_no_variable_of_yours(bubblewrap, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    assert "HOME=/tmp/home" in (found := run_in(bubblewrap, "env").stdout) and "secret" not in found


def test_privileges_are_gone_and_do_not_come_back(bubblewrap):
    code = "id -u; grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs' /proc/self/status; unshare -Ur true || echo none"
    user, *rest = run_in(bubblewrap, "sh", "-c", code).stdout.split("\n")
    assert int(user) >= FIRST_USER if bubblewrap.separate_user else int(user) == os.getuid()
    assert [line.split()[-1] for line in rest if line] == [*["0" * 16] * 3, "1", "none"]


@pytest.mark.parametrize("engine", ["docker", "podman", "bwrap"])
def test_engine_that_is_not_there_is_an_error(monkeypatch, engine):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="cannot be confined") as caught:
        find_isolation(engine, "an-image")
    assert f"no {engine}" in caught.value.found and "apt-get install bubblewrap" in caught.value.do


def test_what_is_not_bounded_is_reported():
    without, own_user = (str(Isolation("none", separate_user=separate)) for separate in (False, True))
    assert "NOT SHUT IN" in without
    for one in (without, own_user, str(Isolation("bwrap", separate_user=True))):
        assert "memory bounded for each process, not for all together" in one
    for one in (without, own_user):
        assert "closed only to what follows http_proxy" in one and "not bounded" in one
    bounded = Isolation("docker", True, image="course"), Isolation("bwrap", True, scope=True)
    assert all("memory and processes bounded" in str(one) for one in bounded)


@pytest.mark.parametrize("user", [None, FIRST_USER])
def test_systemd_bounds_memory_and_processes_of_bubblewrap(user):
    words = sandbox_command(Isolation("bwrap", user is not None, scope=True), LIMITS, [], user=user)
    place = next(number for number, word in enumerate(words) if word.endswith("bwrap"))
    assert words[:place] == [
        *("systemd-run", *["--user"] * (user is None), "--scope", "--quiet", "--collect"),
        *("-p", "MemoryMax=400000000", "-p", "MemorySwapMax=0", "-p", "TasksMax=1024"),
    ]
    assert "systemd-run" not in sandbox_command(Isolation("bwrap", True), LIMITS, [], user=user)


@pytest.mark.parametrize("engine", ["docker", "podman"])
@pytest.mark.parametrize("user", [None, FIRST_USER])
def test_container_is_started_with_everything_closed(engine, user, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    isolation = Isolation(engine, user is not None, "course:1")
    submissions = REPOSITORY_FOLDER / "course_utils" / "checks"
    hide = [submissions, REPOSITORY_FOLDER / "notebooks"]
    words = sandbox_command(isolation, LIMITS, hide, user=user, name="grading-x")
    number = f"{user}:{user}" if user else f"{os.getuid()}:{os.getgid()}"
    assert words[:5] == [engine, "run", "--rm", "--interactive", "--name=grading-x"]
    assert {
        *("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *("--memory=400000000", "--memory-swap=400000000", "--pids-limit=1024", "--shm-size=20480000"),
        *(f"--user={number}", "--ulimit=fsize=20480000", "--workdir=/tmp", "--log-driver=none"),
        "--tmpfs=/tmp:rw,exec,size=40960000,mode=1777",
        f"--volume={REPOSITORY_FOLDER}/course_utils:{REPOSITORY_FOLDER}/course_utils:ro",
        f"--tmpfs={submissions}:ro,size=4k",
    } <= set(words)
    assert ("--userns=keep-id" in words) == (engine == "podman" and user is None)
    assert [word for word in words if word.startswith("--volume=") and not word.endswith(":ro")] == []
    assert not [word for word in words if "secret" in word or "/notebooks" in word]
    assert words[-3:] == ["course:1", "--signal=KILL", "240"]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder with a `docker` and a `podman` that shut nothing in, first on the PATH."""
    for name in ("docker", "podman"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for module in (engines, sandbox):  # what would be in memory is on the disk
        monkeypatch.setattr(module, "INSIDE", tmp_path / "inside")
    (tmp_path / "inside").mkdir()
    return tmp_path


def test_image_is_named_by_an_option_or_a_variable(stand_in, monkeypatch):
    with pytest.raises(ConfigError) as caught:
        find_isolation("docker")
    assert "no image is named" in caught.value.found
    assert find_isolation(image="mine").image == "mine"
    monkeypatch.setenv("COURSE_GRADING_IMAGE", "ours")
    assert str(find_isolation("podman")).startswith("podman with the image ours")


@pytest.mark.kernels
def test_notebook_runs_in_a_container_that_is_removed_at_the_end(stand_in, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    leave = hostile_answers("")["leaves_process"].replace("98765", "98763").replace("os.setsid()", "")
    answers = ("import os\nassert 'API_TOKEN' not in os.environ\nanswer = 42", leave)
    executed = run_in_sandbox(filled_in(*answers), LIMITS, find_isolation("podman", "course"))
    assert (executed.status, executed.happened) == ("graded", "")
    assert [got for got, _ in marks(executed.notebook).values()] == [2, 3]
    calls = [ast.literal_eval(line) for line in (stand_in / "calls").read_text().splitlines()]
    name = calls[-2][3].removeprefix("--name=")
    assert [call[0] for call in calls] == ["run", "run", "rm"] and calls[-1] == ["rm", "--force", name]
    assert running("98763") == []


@pytest.mark.kernels
def test_container_of_a_loop_is_stopped(stand_in):
    limits = Limits(seconds=60, cell_seconds=3)
    answers = (RIGHT[0], hostile_answers("")["loops_on"])
    executed = run_in_sandbox(filled_in(*answers), limits, find_isolation("docker", "course"))
    assert executed.status == "stopped"
    assert next(iter(marks(executed.notebook).values())) == (2, 2)


@pytest.mark.kernels
@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_container_of_a_real_engine_gives_marks_and_bounds_memory(engine):
    try:
        isolation = find_isolation(engine)
    except ConfigError as error:
        pytest.skip(f"{engine} does not work here: {error.found}")
    executed = run_in_sandbox(filled_in(*RIGHT), LIMITS, isolation)
    assert (executed.status, [got for got, _ in marks(executed.notebook).values()]) == ("graded", [2, 3])
    executed = run_in_sandbox(filled_in(RIGHT[0], hostile_answers("")["shares_memory"]), LIMITS, isolation)
    assert executed.status in ("died", "stopped")
    assert running("runner.py") == []
