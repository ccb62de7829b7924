"""The lessons where a student opens them: in JupyterLab, in a real browser.

Every lesson is opened by hand and looked at as it is stored. Those that draw widgets of their own kind are
run from top to bottom first; with the environment variable COURSE_EVERY_LESSON all of them are. nbval runs
and compares every lesson without a browser. The pictures lie in build/screenshots/jupyterlab.
"""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from student import CUT_OFF, FOLDED, NARROW, PROMPTS, RED, WIDE, Student

from course_teaching.lessons import lesson_notebooks

LESSONS = lesson_notebooks()
EXERCISE = "exercises/03_replace_the_head.ipynb"
DRAWINGS = sorted((Path(__file__).resolve().parents[2] / "data" / "clipart" / "test").glob("*/*.png"))
SECONDS = 900  # for a busy machine: on two free cores the longest lesson takes a minute

# Lessons that draw widgets which stay on the page: bars, and the upload buttons of lessons 00 and 09.
WITH_WIDGETS = {"00", "04", "05", "06", "07", "09", "10", "11"}
# Lessons 05, 07 and 10 draw the same bars as 00 and 04.
TO_RUN = (
    [path.stem[:2] for path in LESSONS]
    if os.environ.get("COURSE_EVERY_LESSON")
    else WITH_WIDGETS - {"05", "07", "10"}
)

# What JupyterLab calls the type of warnings, and of errors, too.
STDERR = "application/vnd.jupyter.stderr"
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

# What a notebook says in place of a widget that it cannot show.
NO_WIDGET = re.compile(
    r"Error displaying widget|Failed to load model|IProgress not found|Loading widget|"
    r"could not be displayed|^(HBox|VBox|FloatProgress|FileUpload|HTML)\(",
    re.MULTILINE,
)


@pytest.fixture
def student(browser, jupyterlab, screenshots):
    """Give a student in front of a window."""
    folder = screenshots / "jupyterlab"
    folder.mkdir(exist_ok=True)
    someone = Student(browser, jupyterlab, folder)
    yield someone
    someone.leave()


def faults_on_the_page(student):
    """Give what is wrong in the outputs that the page shows, each with a few words of it."""
    page, found = student.page, []
    outputs = page.locator(f'[data-mime-type="{STDERR}"]').all_inner_texts()
    found += [f"error or warning: {text[:300]}" for text in outputs]
    found += [f"red: {text}" for text in page.evaluate(RED)]
    for text in page.locator(".jp-OutputArea-output").all_inner_texts():
        if NO_WIDGET.search(text):
            found.append(f"no widget: {text[:300]}")
    found += [f"bar: {bar['text']}" for bar in student.bars() if bar["failed"] or bar["share"] < 0.99]
    # A cell that is folded up shows no number.
    prompts = page.locator(f"{PROMPTS}, {FOLDED}").all_inner_texts()
    if [text for number, text in enumerate(prompts, 1) if text.strip() not in ("", f"[{number}]:")]:
        found.append(f"not all cells were run in order: {prompts}")
    return found


def faults_in_the_file(notebook, begin):
    """Give what is wrong in a notebook that was saved after a run from top to bottom."""
    code, found = [cell for cell in notebook.cells if cell.cell_type == "code"], []
    for number, cell in enumerate(code, start=1):
        if cell.execution_count != number:
            found.append(f"cell {number} has the count {cell.execution_count}")
        ended = cell.metadata.get("execution", {}).get("shell.execute_reply", "2000-01-01T00:00:00Z")
        if datetime.fromisoformat(ended) < begin:
            found.append(f"cell {number} was not run")
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"cell {number}: {output.get('evalue') or output.get('text')}")
    return found


def looks(student, name):
    """Give what is cut off in each width, and keep pictures of both, each in another theme."""
    found = []
    for theme, size in (("Light", WIDE), ("Dark", NARROW)):
        student.resize(WIDE)  # in a narrow window the menus are not in sight
        student.theme(theme)
        student.resize(size)
        student.photograph(f"{name}_{theme.lower()}{'_narrow' if size == NARROW else ''}")
        found += [f"{size[0]} pixels: {text}" for text in student.page.evaluate(CUT_OFF)]
    return found


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_a_lesson_looks_right_and_its_widgets_run(student, path, report):
    student.open(path.name)
    if path.stem[:2] in TO_RUN:
        begin = datetime.now(UTC)
        seconds = student.restart_and_run_all(SECONDS)
        seen, bars = student.bars_seen(), student.bars()
        faults = faults_on_the_page(student) + faults_in_the_file(student.save(), begin)
        if path.stem[:2] in WITH_WIDGETS and not (bars and seen):
            faults.append("no progress bar")
        told = f"run in {seconds:.0f} s, {student.restarts} restarts, {len(bars)} full bars; drawn: {seen}"
    else:
        told, faults = "as it is stored", faults_on_the_page(student)
    faults += looks(student, path.stem)
    if path.stem.startswith("09"):
        faults += faults_of_an_upload(student)
    faults += [f"asked elsewhere: {url}" for url in student.asked_elsewhere]
    faults += [f"script: {error}" for error in student.page_errors]
    pictures = student.page.locator(".jp-OutputArea-output img").count()
    told = f"{path.stem}: {told}, {pictures} pictures, {len(faults)} faults"
    report("jupyterlab", "\n    ".join([told, *faults]))
    assert not faults, "\n".join(faults)


def faults_of_an_upload(student):
    """Give what is wrong with the answers of lesson 09 to two drawings, and to half of one."""
    broken = student.jupyterlab.folder / "broken.png"
    broken.write_bytes(DRAWINGS[0].read_bytes()[:200])
    classes, found = {path.parent.name for path in DRAWINGS}, []
    student.resize(WIDE)
    for picture in (DRAWINGS[0], broken, DRAWINGS[-1]):
        answer = student.upload(picture)
        answer.scroll_into_view_if_needed()
        student.page.screenshot(path=student.screenshots / f"09_upload_{picture.stem}.png")
        said = " ".join(answer.inner_text().split())
        if picture == broken:
            found += [said] if said != "A picture could not be read." else []
            continue
        rows = [row.split("\t") for row in answer.locator("tbody tr").all_inner_texts()]
        shares = [float(share) for _, share in rows]
        right = len(rows) == 3 and {name for name, _ in rows} <= classes
        right = right and shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1.001
        found += [] if right else [f"upload of {picture.name}: {said}"]
    return found


def test_a_blank_exercise_gives_hints_and_does_not_crash(student):
    student.open(EXERCISE)
    begin = datetime.now(UTC)
    student.restart_and_run_all(SECONDS)
    code = [cell for cell in student.save().cells if cell.cell_type == "code"]
    hints = [c for c in code if "-check-" in c.metadata.get("nbgrader", {}).get("grade_id", "")]
    points = [cell for cell in code if "raises-exception" in cell.metadata.get("tags", [])]
    assert len(hints) == len(points) >= 2
    shown = student.page.locator(".jp-OutputArea-output")
    for cell in hints:
        assert "Nothing here yet: " in cell.outputs[0].text
        assert shown.filter(has_text=cell.outputs[0].text.splitlines()[0]).first.is_visible()
    # Red is one thing only: the cells that count points say that there are none yet.
    for cell in points:
        assert [(output.ename, output.evalue[:8]) for output in cell.outputs] == [("NotYet", "Not answ")]
        cell.outputs.clear()
    assert faults_in_the_file(nbformat.from_dict({"cells": code}), begin) == []
    assert student.page.locator(f'[data-mime-type="{STDERR}"]').count() == len(points)
    assert looks(student, "exercise") == []


HALF_A_BAR = "from tqdm.auto import tqdm; bar = tqdm(total=2); bar.update(); bar.close()"


@pytest.mark.parametrize(
    ("sources", "on_the_page", "in_the_file"),
    [
        (["1 / 0"], ["ZeroDivisionError"], ["division by zero"]),
        (
            ["import warnings; warnings.warn('old')", "print('VBox(children=())')", HALF_A_BAR],
            ["UserWarning: old", "no widget", "bar: 50%"],
            ["UserWarning: old"],
        ),
        (
            ["from IPython import get_ipython; get_ipython().execution_count = 7"],
            ["in order"],
            ["has the count"],
        ),
    ],
    ids=["an error", "what a page shows", "a cell out of order"],
)
def test_a_planted_fault_is_found(student, sources, on_the_page, in_the_file):
    cells = [new_code_cell(text) for text in ("import time; time.sleep(1)", *sources, "print('end')")]
    nbformat.write(new_notebook(cells=cells, metadata=METADATA), student.jupyterlab.folder / "planted.ipynb")
    student.open("planted.ipynb")
    begin = datetime.now(UTC)
    student.restart_and_run_all(60)
    shown = faults_on_the_page(student)
    for found, faults in ((shown, on_the_page), (faults_in_the_file(student.save(), begin), in_the_file)):
        assert [fault for fault in faults if fault not in "\n".join(found)] == []
