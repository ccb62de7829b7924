"""A stand-in for GitHub: a copy of this course in a git repository on this machine."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from course_teaching.address import HOST, set_repository
from course_utils.settings import REPOSITORY_FOLDER


def local_remote(folder, name):
    """Commit the course as it is here, with an address, and return the environment in which git finds it.

    https://github.com/NAME leads to the copy in the empty folder, and anything else there leads nowhere.
    """
    copy = copy_course(folder / "github" / name)
    set_repository(name, copy)
    commit(copy)
    return where_git_finds_it(folder / "github")


def where_git_finds_it(folder):
    """Return the environment in which https://github.com/NAME leads to the folder NAME in a folder."""
    key = f"url.file://{folder}/.insteadOf"
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": f"{HOST}/"}


def remote_folder(environment):
    """Return the folder in which a course lies by its name, from what `local_remote` gave."""
    return Path(environment["GIT_CONFIG_KEY_0"].removeprefix("url.file://").removesuffix("/.insteadOf"))


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
