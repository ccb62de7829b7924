"""Engines: what bubblewrap confines, and the command lines of docker and podman."""

import os
import subprocess

import pytest

from course_teaching.grading.engines import Isolation, Limits, is_root, sandbox_command
from course_teaching.grading.sandbox import FIRST_USER
from course_utils.settings import REPOSITORY_FOLDER

LIMITS = Limits(
    seconds=120, cell_seconds=100, memory=400_000_000, file_size=20_480_000, folder_size=40_960_000
)


def run_in(isolation, *command):
    """Run a command as a submission would; return what it prints."""
    user = FIRST_USER if is_root() else None
    command = [*sandbox_command(isolation, LIMITS, user=user), *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_bubblewrap_shows_nothing_but_what_is_needed(bubblewrap):
    found = run_in(bubblewrap, "ls", "-a", "/", "/etc", "/dev/shm", str(REPOSITORY_FOLDER))
    assert found.returncode == 0, found.stderr
    hidden = {"home", "var", "root/.bashrc", "passwd", "notebooks", "tests", ".git"}
    assert not hidden & set(found.stdout.split())


@pytest.mark.parametrize("place", ["/", "/dev", "/usr", str(REPOSITORY_FOLDER / "data")])
def test_bubblewrap_lets_nothing_be_written_but_the_own_folder(bubblewrap, place):
    done = run_in(bubblewrap, "sh", "-c", f"touch here && echo fine; echo x > {place}/new-file")
    assert done.stdout == "fine\n" and done.returncode != 0


@pytest.mark.parametrize("place, most", [("/dev/shm", LIMITS.file_size), ("/tmp", LIMITS.folder_size)])
def test_bubblewrap_bounds_the_room_for_files(bubblewrap, place, most):
    code = f"for n in 1 2 3; do head -c 20000000 /dev/zero > {place}/$n; done; du -sb {place} | cut -f1"
    assert 0 < int(run_in(bubblewrap, "sh", "-c", code).stdout) <= most + 100_000


def test_bubblewrap_passes_on_no_variable_of_yours(bubblewrap, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    assert "HOME=/tmp/home" in (found := run_in(bubblewrap, "env").stdout) and "secret" not in found


def test_bubblewrap_leaves_no_privileges(bubblewrap):
    code = "id -u; grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs' /proc/self/status"
    user, *rest = run_in(bubblewrap, "sh", "-c", code).stdout.split("\n")
    assert int(user) >= FIRST_USER if is_root() else int(user) == os.getuid()
    assert [line.split()[-1] for line in rest if "Cap" in line or "New" in line] == [*["0" * 16] * 3, "1"]


@pytest.mark.parametrize("user", [None, FIRST_USER])
def test_systemd_bounds_memory_and_processes_of_bubblewrap(user):
    words = sandbox_command(Isolation("bwrap", scope=True), LIMITS, user=user)
    assert words[: words.index("bwrap")] == [
        *("systemd-run", *["--user"] * (user is None), "--scope", "--quiet", "--collect"),
        *("-p", "MemoryMax=400000000", "-p", "MemorySwapMax=0", "-p", "TasksMax=1024"),
    ]
    assert "--data=400000000" not in words and "--nproc=1024" in words
    words = sandbox_command(Isolation("bwrap"), LIMITS, user=user)
    assert "systemd-run" not in words and "--data=400000000" in words
    assert ("--unshare-user" in words) == ("setpriv" not in words) == (user is None)


@pytest.mark.parametrize("engine", ["docker", "podman"])
@pytest.mark.parametrize("user", [None, FIRST_USER])
def test_container_is_started_with_everything_closed(engine, user, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    words = sandbox_command(Isolation(engine, "course:1"), LIMITS, user=user, name="grading-x")
    number = f"{user}:{user}" if user else f"{os.getuid()}:{os.getgid()}"
    assert words[:5] == [engine, "run", "--rm", "--interactive", "--name=grading-x"]
    assert {
        *("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *("--memory=400000000", "--memory-swap=400000000", "--pids-limit=1024", "--shm-size=20480000"),
        *(f"--user={number}", "--ulimit=fsize=20480000", "--workdir=/tmp", "--log-driver=none"),
        "--tmpfs=/tmp:rw,exec,size=40960000,mode=1777",
        f"--volume={REPOSITORY_FOLDER}/course_utils:{REPOSITORY_FOLDER}/course_utils:ro",
    } <= set(words)
    assert ("--userns=keep-id" in words) == (engine == "podman" and user is None)
    assert [word for word in words if word.startswith("--volume=") and not word.endswith(":ro")] == []
    assert not [word for word in words if "secret" in word or "/notebooks" in word]
    assert words[-3:] == ["course:1", "--signal=KILL", "240"]


def test_isolation_says_what_is_in_force():
    assert "NOT CONFINED" in str(Isolation("none"))
    assert "for each process only" in str(Isolation("bwrap")) and "no network" in str(Isolation("bwrap"))
    for isolation in (Isolation("bwrap", scope=True), Isolation("docker", "course:1")):
        assert str(isolation).endswith("memory and processes bounded")
