"""`make lab`, as README has it: the student's copy opens, and its links lead on."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from local_remote import copy_course
from servers import own_environment, where_it_answers

from course_utils.settings import REPOSITORY_FOLDER


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """Start JupyterLab in a copy of the course by README's command, where the packages are installed."""
    if not shutil.which("make"):
        pytest.skip("`make lab` was not tried: there is no make")
    place = tmp_path_factory.mktemp("lab")
    course = copy_course(place / "course")
    (course / ".venv" / "bin").mkdir(parents=True)
    python = course / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (course / ".venv" / "lessons").touch()
    environment = own_environment(place) | {"PYTHONPATH": str(course)}
    # What a student's machine has and this one may lack: a user who is not root, and a browser to open.
    settings = {"ServerApp": {"allow_root": True, "open_browser": False}}
    (place / "config" / "jupyter_server_config.json").write_text(json.dumps(settings))
    (command,) = re.findall(
        r"^(make lab)\b", (REPOSITORY_FOLDER / "README.md").read_text("utf-8"), re.MULTILINE
    )
    log = place / "log.txt"
    with open(log, "wb") as written:
        outlets = {"stdout": written, "stderr": written, "start_new_session": True}
        process = subprocess.Popen(shlex.split(command), cwd=course, env=environment, **outlets)
    try:
        server = where_it_answers(place / "runtime", process, log)
        yield f"{server['url']}{{}}?token={server['token']}&reset"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_make_lab_opens_lesson_00_without_outputs_and_its_links_lead_on(lab, browser):
    page = browser.new_page()
    page.set_default_timeout(300_000)  # for a busy machine
    page.goto(lab.format(""))
    page.wait_for_url("**/lab/tree/my_course/00_start_here.ipynb*")
    page.locator(".jp-NotebookPanel .jp-MarkdownCell a", has_text="five words of PyTorch").click()
    page.locator(".jp-MarkdownViewer h1", has_text="Five words of PyTorch").wait_for()
    assert page.locator(".jp-OutputArea-output").count() == 0
    page.close()
