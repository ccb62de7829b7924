"""`make lab`, as README has it: a lesson opens and runs, its links lead on, large photographs get in."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from local_remote import copy_course
from PIL import Image
from servers import own_environment, where_it_answers
from small_notebooks import write_notebook
from visitor import watch

from course_utils.settings import REPOSITORY_FOLDER

UPLOAD = """\
from course_utils.data import load_rgb
from course_utils.figures import image_grid
from course_utils.notebook import upload_button

upload_button(lambda file: image_grid([load_rgb(file).resize((64, 64))], [""], "a photograph"))"""


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
        yield course, f"{server['url']}{{}}?token={server['token']}&reset"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


# The cells' numbers and the kernel say whether all cells have run; a cell that is folded up shows no number.
ALL_HAVE_RUN = """() => {
  const numbers = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
  const kernel = document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status;
  return kernel === 'idle' && numbers.some(n => /[0-9]/.test(n)) && !numbers.some(n => /[*]|\\[ \\]/.test(n));
}"""
BARS = """() => [...document.querySelectorAll('.jp-OutputArea .widget-hprogress')].map(bar =>
  bar.querySelector('.progress-bar').getBoundingClientRect().width
  / bar.querySelector('.progress').getBoundingClientRect().width)"""


def test_make_lab_opens_lesson_00_which_runs_without_a_word_in_red(lab, browser):
    _, address = lab
    page = browser.new_page()
    faults = watch(page)
    page.set_default_timeout(300_000)  # for a busy machine
    page.goto(address.format(""))
    page.wait_for_url("**/lab/tree/my_course/00_start_here.ipynb*")
    page.get_by_text("(ipykernel) | Idle").wait_for()
    assert page.locator(".jp-OutputArea-output").count() == 0
    page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    page.wait_for_function(ALL_HAVE_RUN)
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").all_inner_texts() == []
    bars = page.evaluate(BARS)
    assert bars and min(bars) > 0.99
    page.locator(".jp-NotebookPanel .jp-MarkdownCell a", has_text="Its model card").click()
    page.locator(".jp-MarkdownViewer h1").first.wait_for()
    assert faults == []
    page.close()


def test_make_lab_takes_a_photograph_of_16_mb(lab, browser, tmp_path):
    course, address = lab
    write_notebook(course / "my_course" / "upload.ipynb", UPLOAD, parameters=None)
    pixels = np.random.default_rng(0).integers(0, 256, (2400, 2300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photograph.png")  # noise: it cannot be compressed
    assert (tmp_path / "photograph.png").stat().st_size > 16_000_000
    page = browser.new_page()
    page.set_default_timeout(300_000)  # for a busy machine
    page.goto(address.format("lab/tree/my_course/upload.ipynb"))
    # The sign beside the kernel's name says "idle" before there is a kernel, and a cell run then is lost.
    page.get_by_text("(ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell .cm-content").click()
    page.keyboard.press("Shift+Enter")
    button = page.locator(".jp-OutputArea button.widget-upload", has_text="up to 256 MB")
    with page.expect_file_chooser() as chooser:
        button.click()
    chooser.value.set_files(tmp_path / "photograph.png")
    page.get_by_alt_text("a photograph").wait_for()
    page.close()
