"""A classroom's copy is made with all its packages, and installed where no package index can be reached.

It fetches and installs about 500 MB, so it has a command of its own: `make test-bundle`.
"""

import os
import re
import subprocess
import sys

import pytest
from local_remote import commit, copy_course

GUIDE = "docs/instructors.md"


def test_classroom_copy_is_installed_without_a_network(tmp_path):
    """As the guide says, in a fresh environment; seqeval, for one, comes as a source archive."""
    course = copy_course(tmp_path / "course")  # in which nobody works meanwhile, and all is committed
    commit(course)
    asked = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "packaging"]
    reached = subprocess.run([*asked, "--dest", tmp_path / "asked"], capture_output=True, text=True)
    if reached.returncode:
        pytest.skip(f"no package index to get the wheels from: {reached.stderr.strip()[-300:]}")
    guide = (course / GUIDE).read_text("utf-8").split("## A classroom without a network")[1]
    make, install = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    own = {**os.environ, "PATH": path, "PYTHONPATH": str(course)}
    own |= {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    run(make, course, own)
    own = {name: value for name, value in own.items() if not name.startswith(("PIP_", "PYTHON"))}
    own |= {
        "PIP_CONFIG_FILE": os.devnull,
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    folder = tmp_path / "classroom"
    run("".join(install.splitlines(keepends=True)[:2]), folder, own)
    code = "import seqeval, torch, course_utils; print(course_utils.__path__[0])"
    assert run(f".venv/bin/python -W ignore -c '{code}'", folder, own).strip() == str(folder / "course_utils")


def run(commands, folder, environment):
    """Run a script that stops at the first error, and return what it prints."""
    done = subprocess.run(
        ["bash", "-ec", commands], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
