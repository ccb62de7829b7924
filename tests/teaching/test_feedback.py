"""The page of feedback: escaped, and without a line of a hidden test."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small_submissions import RIGHT, small_solution

from course_teaching.grading.answers import split_hidden
from course_teaching.grading.feedback import exercises_of, feedback_page
from course_teaching.grading.results import Graded, Question

GOLDEN = Path(__file__).parent / "golden"
HIDDEN = 'assert answer == 42, "answer is another number"'
TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "p", "strong", "table", "tr", "th", "td"}
TAGS |= {"small", "pre", "hr", "img"}


def error(text, traceback=(), name="ValueError"):
    return new_output("error", ename=name, evalue=text, traceback=list(traceback))


def page(*outputs, answer=RIGHT[0], happened="", test_outputs=()):
    """Return the page of a notebook whose first answer has shown these outputs."""
    notebook = small_solution()
    notebook.cells[2].source, notebook.cells[2].outputs = answer, list(outputs)
    notebook.cells[3].outputs = list(test_outputs)
    points = {"lesson01-test-1": (0, 2), "lesson01-test-2": (3, 3)}
    row = Graded("anna", "7", "01_small", "a", "graded", happened, points=points)
    row.exercises = exercises_of(notebook)
    row.questions = {"why": Question("Question 5", 3, "text", "k", 2, "Näher ran.")}
    return feedback_page(row, notebook, "nothing")


def test_feedback_page_is_as_before():
    outputs = [new_output("stream", text="a < b\n"), new_output("display_data", data={"image/png": "iVBO"})]
    made = page(*outputs, test_outputs=[error("answer is a whole number", name="AssertionError")])
    assert made == (GOLDEN / "feedback.html").read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src='https://x.org/a.png' onerror='alert(1)'>",
        "[link](javascript:alert(1)) <svg onload='alert(1)'/>",
        "</pre></body>{}",
    ],
)
def test_feedback_page_runs_nothing_and_loads_nothing(text):
    data = {"text/html": text, "image/svg+xml": text, "application/javascript": text}
    shown = [new_output("stream", text=text), new_output("display_data", data=data), error(text)]
    shown.append(new_output("display_data", data={"image/png": "'\"><b>"}))
    made = page(*shown, answer=f"# {text}", happened=text)
    assert {name.strip("/") for name in re.findall(r"<(/?\w+)", made)} <= TAGS
    assert not re.search(r"<[^>]*(?:src=\"(?!data:)|href|onerror|onload)", made)
    assert "default-src 'none'" in made


@pytest.mark.parametrize(
    "shown",
    [
        new_output("stream", text=small_solution().cells[3].source),
        new_output("stream", text=repr([small_solution().cells[n].source for n in (3, 5)])),
        new_output("stream", text="\x00".join(HIDDEN)),
        new_output("stream", text="x" * 19_950 + HIDDEN),
        new_output("execute_result", data={"text/plain": repr(small_solution().cells[3].source)}),
        error(small_solution().cells[3].source),
        error("no", ["Traceback", f"\x1b[1m----> 3 {HIDDEN[:6]}\x1b[0m{HIDDEN[6:]}"]),
    ],
)
def test_feedback_page_shows_no_line_of_a_hidden_test_that_a_cell_printed(shown):
    made = page(shown)
    assert "answer is another number" not in made and "assert answer == 42" not in made
    assert "(a test that is not shown)" in made
    assert "answer is a whole number" in made  # the test that is no secret


def test_feedback_page_shows_no_line_of_a_hidden_test_that_failed():
    line = 'assert all(double(x) == x + x for x in (-1, 0, 2.5)), "double fails on other numbers"'
    made = page(happened=f"error in cell 3: ValueError: {line}", test_outputs=[error(line)])
    assert "x + x" not in made and made.count("(a test that is not shown)") >= 3
    assert HIDDEN[:20] in page(answer=f"answer = 41\n{HIDDEN[:20]} 42  # my own")


def test_feedback_page_of_a_million_blanks_is_made_in_linear_time():
    # A hang guard, not a measurement: a quadratic search takes an hour for this.
    code = (
        "from nbformat.v4 import new_code_cell, new_notebook\n"
        "from course_teaching.grading.feedback import Graded, feedback_page\n"
        "from course_teaching.grading.review import cells_to_review\n"
        "nbgrader = {'grade': True, 'grade_id': 'a', 'points': 1}\n"
        "cells = [new_code_cell(' ' * 1_000_000, metadata=m) for m in ({}, {'nbgrader': nbgrader})]\n"
        "feedback_page(Graded('a', '', '', '', ''), new_notebook(cells=cells), '')\n"
        "for text in (' ', '\\n', '\\n ', '#', 'a.', '_i ', 'F.b', 'setattr( ', 'torch.a = '):\n"
        "    cells_to_review(new_notebook(cells=[new_code_cell(text * (20_000 // len(text)))] * 10))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=1800)


def test_split_hidden_splits_whatever_the_white_space():
    source = "assert a\n  ### BEGIN HIDDEN TESTS\nassert b\n\n### END HIDDEN TESTS (1)\nassert c"
    shown, hidden = split_hidden(source)
    assert shown.splitlines() == ["assert a", "# (further tests, which are not shown)", "assert c"]
    assert hidden == ["assert b", ""]
    assert split_hidden("a\n### BEGIN HIDDEN TESTS\nb\nc")[1] == ["b", "c"]


def exercise(said, *outputs, ran=True):
    """Return title and hint of an exercise whose check has said something, with what its test has shown."""

    def cell(grade_id, outputs, **kinds):
        kinds = {"grade": False, "solution": False, "locked": True, "grade_id": grade_id, **kinds}
        return new_code_cell(
            "", metadata={"nbgrader": kinds}, outputs=outputs, execution_count=1 if ran else None
        )

    own = cell("own", [new_output("stream", text="→ You are right.")], locked=False, solution=True)
    check = cell("check", [new_output("stream", text=said)])
    title = new_markdown_cell("## Exercise 2 – One class by hand (try)\n\nText.")
    cells = [title, own, check, cell("test", list(outputs), grade=True, points=2)]
    return exercises_of(new_notebook(cells=cells))["test"]


def test_exercises_of_gives_titles_and_hints():
    title, hidden = "Exercise 2 – One class by hand", error("", name="AssertionError")
    assert exercise("✓ Good.\n→ The two are <b>swapped</b>.", error("see above")) == (
        title,
        "The two are <b>swapped</b>.",
    )
    assert exercise("✓ Good.") == (title, "")
    assert exercise("✓ Good.", hidden) == (title, "A test that is not shown failed.")
    assert exercise("", error("no")) == (title, "ValueError: no")
    assert exercise("", ran=False) == (title, "not reached")


def test_feedback_page_says_what_is_not_marked_yet():
    row = Graded("anna", "7", "01", "a", "graded", points={"t": (2, 2)})
    row.questions = {"q": Question("Question 5", 3, "text", "k")}
    made = feedback_page(row, None, "nothing")
    assert "2 to 5 of 5 points: your teacher has not marked Question 5 yet" in made
