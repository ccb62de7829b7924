"""A bundle is packed with all its packages, and installed where no package index can be reached.

It fetches and installs about 500 MB, so it has a command of its own: `make test-bundle`.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest
from local_remote import commit, copy_course

from course_utils.teaching import student_files
from course_utils.teaching.bundles import bundle


def test_bundle_is_installed_without_a_network(tmp_path, monkeypatch):
    """As its README says, in a fresh environment; seqeval, for one, comes as a source archive."""
    course = copy_course(tmp_path / "course")  # in which nobody works meanwhile, and all is committed
    commit(course)
    monkeypatch.setattr(student_files, "REPOSITORY_FOLDER", course)
    asked = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "packaging"]
    reached = subprocess.run([*asked, "--dest", tmp_path / "asked"], capture_output=True, text=True)
    if reached.returncode:
        pytest.skip(f"no package index to fill the folder of wheels from: {reached.stderr.strip()[-300:]}")
    bundle("quick", tmp_path / "course.zip")
    folder = tmp_path / "class"
    shutil.unpack_archive(tmp_path / "course.zip", folder)
    told = (folder / "README.txt").read_text()
    commands = re.findall(r"^    (.*(?:-m venv|--no-index).*)$", told, re.MULTILINE)
    assert len(commands) == 2
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{own['PATH']}"
    own |= {"PIP_CONFIG_FILE": os.devnull, "PATH": path}
    own |= {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    code = "import seqeval, torch, course_utils; print(course_utils.__path__[0])"
    for command in [*(one.split() for one in commands), [".venv/bin/python", "-W", "ignore", "-c", code]]:
        done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == str(folder / "course_utils")
