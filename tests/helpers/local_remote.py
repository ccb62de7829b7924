"""Copies of this course in git repositories on this machine, which can stand in for GitHub."""

import os
import shutil
import subprocess

import pytest

from course_teaching.address import HOST
from course_utils.settings import REPOSITORY_FOLDER


def where_git_finds_it(folder):
    """Return the environment in which https://github.com/NAME leads to the folder NAME in a folder."""
    key = f"url.file://{folder}/.insteadOf"
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": f"{HOST}/"}


def copy_course(copy, *only):
    """Copy the course as it is here, or only some paths of it, without what git ignores; return the copy."""
    listed = git(["ls-files", "-co", "--exclude-standard", *only], REPOSITORY_FOLDER, check=False)
    if listed.returncode:
        pytest.skip("there is no git repository here to make a copy of")
    for path in listed.stdout.splitlines():
        if (REPOSITORY_FOLDER / path).is_file():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY_FOLDER / path, copy / path)
    return copy


def commit(folder):
    """Make a git repository of a folder, with one commit of all that is in it."""
    git(["init", "--quiet"], folder)
    git(["add", "--all", "--force"], folder)
    git(["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "the course"], folder)


def git(arguments, folder, check=True):
    own = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=check)
