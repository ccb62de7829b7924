"""The lessons where a student opens them: in JupyterLab, in a real browser.

Every lesson is opened by hand, run from top to bottom and looked at; the pictures lie in
build/screenshots/jupyterlab.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from student import CUT_OFF, FOLDED, NARROW, PROMPTS, RED, WIDE, Student

from course_utils.teaching.lessons import lesson_notebooks

LESSONS = lesson_notebooks()
EXERCISE = "exercises/03_replace_the_head.ipynb"
DRAWINGS = sorted((Path(__file__).resolve().parents[2] / "data" / "clipart" / "test").glob("*/*.png"))
SECONDS = 900  # for a busy machine: on two free cores the longest lesson takes a minute

# Lessons whose bars stay on the page when training has ended.
TRAINING = {"00", "04", "05", "06", "09"}

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
def student(browser, jupyterlab, screenshots, request):
    """Give a student in front of a window; a test may ask for another size with a parameter."""
    folder = screenshots / "jupyterlab"
    folder.mkdir(exist_ok=True)
    someone = Student(browser, jupyterlab, folder, getattr(request, "param", WIDE))
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
    prompts, folded = page.locator(PROMPTS).all_inner_texts(), page.locator(FOLDED).count()
    if prompts != [f"[{number}]:" for number in range(folded + 1, folded + len(prompts) + 1)]:
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


def looks(student, name, *views):
    """Give what is cut off in each view, a theme and a size, and keep pictures of it."""
    found = []
    for theme, size in views:
        student.resize(WIDE)  # in a narrow window the menus are not in sight
        student.theme(theme)
        student.resize(size)
        student.photograph(f"{name}_{theme.lower()}{'_narrow' if size == NARROW else ''}")
        found += [f"{theme}, {size[0]} pixels: {text}" for text in student.page.evaluate(CUT_OFF)]
    return found


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_a_lesson_runs_and_looks_right(student, path, report):
    student.open(path.name)
    begin = datetime.now(UTC)
    seconds = student.restart_and_run_all(SECONDS)
    seen = student.bars_seen()
    faults = faults_on_the_page(student)
    notebook = student.save()
    faults += faults_in_the_file(notebook, begin)
    bars = student.bars()
    if path.stem[:2] in TRAINING and not (bars and seen):
        faults.append("no progress bar")
    faults += [f"bar: {bar['text']}" for bar in bars if bar["failed"] or bar["share"] < 0.99]
    faults += looks(student, path.stem, ("Light", WIDE), ("Dark", WIDE), ("Light", NARROW), ("Dark", NARROW))
    faults += [f"asked elsewhere: {url}" for url in student.asked_elsewhere]
    faults += [f"script: {error}" for error in student.page_errors]

    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    pictures = student.page.locator(".jp-OutputArea-output img").count()
    report("jupyterlab").append(
        f"{path.stem}: {seconds:.0f} s, {student.restarts} restarts, {cells} cells run, "
        f"{pictures} pictures, {len(bars)} full bars, "
        f"bars drawn while it ran: {', '.join(seen) or 'none'}; {len(faults)} faults"
        + "".join(f"\n    {fault}" for fault in faults)
    )
    assert not faults, "\n".join(faults)


def test_a_picture_is_uploaded_and_named(student, tmp_path, report):
    broken = tmp_path / "broken.png"
    broken.write_bytes(DRAWINGS[0].read_bytes()[:200])
    student.open("09_your_own_images.ipynb")
    student.restart_and_run_all(SECONDS)
    classes = {path.parent.name for path in DRAWINGS}
    views = (("Light", WIDE), ("Dark", WIDE), ("Dark", NARROW))
    for picture, (theme, size) in zip((DRAWINGS[0], broken, DRAWINGS[-1]), views, strict=True):
        student.resize(WIDE)
        student.theme(theme)
        student.resize(size)
        answer = student.upload(picture)
        answer.scroll_into_view_if_needed()
        student.page.screenshot(path=student.screenshots / f"09_upload_{picture.stem}.png")
        said = " ".join(answer.inner_text().split())
        report("jupyterlab").append(f"upload of {picture.parent.name}/{picture.name}: {said}")
        if picture == broken:
            assert said == "A picture could not be read."
            continue
        rows = [row.split("\t") for row in answer.locator("tbody tr").all_inner_texts()]
        shares = [float(share) for _, share in rows]
        assert len(rows) == 3 and {name for name, _ in rows} <= classes
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1.001


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
        assert [(output.ename, output.evalue[:8]) for output in cell.outputs] == [
            ("AssertionError", "Not yet:")
        ]
        cell.outputs.clear()
    assert faults_in_the_file(nbformat.from_dict({"cells": code}), begin) == []
    assert student.page.locator(f'[data-mime-type="{STDERR}"]').count() == len(points)
    assert looks(student, "exercise", ("Light", WIDE), ("Dark", WIDE), ("Dark", NARROW)) == []


@pytest.mark.parametrize(
    ("source", "on_the_page", "in_the_file"),
    [
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("import warnings; warnings.warn('old')", "UserWarning: old", "UserWarning: old"),
        ("print('VBox(children=())')", "no widget", None),
        ("from IPython import get_ipython; get_ipython().execution_count = 7", "in order", "has the count"),
    ],
    ids=["an error", "a warning", "a widget in words", "a cell out of order"],
)
def test_a_planted_fault_is_found(student, source, on_the_page, in_the_file):
    cells = [new_code_cell(text) for text in ("import time; time.sleep(1)", source, "print('end')")]
    nbformat.write(new_notebook(cells=cells, metadata=METADATA), student.jupyterlab.folder / "planted.ipynb")
    student.open("planted.ipynb")
    begin = datetime.now(UTC)
    student.restart_and_run_all(60)
    assert on_the_page in "\n".join(faults_on_the_page(student))
    found = "\n".join(faults_in_the_file(student.save(), begin))
    assert in_the_file in found if in_the_file else found == ""
