"""The page of feedback: made in linear time, and without a line of a hidden test."""

import subprocess
import sys

import pytest
from nbformat.v4 import new_output
from small_submissions import RIGHT, small_solution

from course_utils.teaching.grading.answers import split_hidden
from course_utils.teaching.grading.feedback import exercises_of, feedback_page
from course_utils.teaching.grading.results import Graded

HIDDEN = 'assert answer == 42, "answer is another number"'


def page(*outputs, answer=RIGHT[0], happened="", test_outputs=()):
    """Return the page of a notebook whose first answer has shown these outputs."""
    notebook = small_solution()
    notebook.cells[2].source, notebook.cells[2].outputs = answer, list(outputs)
    notebook.cells[3].outputs = list(test_outputs)
    points = {"lesson01-test-1": (0, 2), "lesson01-test-2": (0, 3)}
    row = Graded("anna", "01", "", "graded", happened, points, exercises=exercises_of(notebook))
    return feedback_page(row, notebook, "nothing")


def test_white_space_is_read_in_linear_time():
    # A hang guard, not a measurement: the quadratic search takes an hour for this.
    code = (
        "from nbformat.v4 import new_code_cell, new_notebook\n"
        "from course_utils.teaching.grading.feedback import Graded, feedback_page\n"
        "nbgrader = {'grade': True, 'grade_id': 'a', 'points': 1}\n"
        "cells = [new_code_cell(' ' * 1_000_000, metadata=m) for m in ({}, {'nbgrader': nbgrader})]\n"
        "feedback_page(Graded('a', '', '', ''), new_notebook(cells=cells), '')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_hidden_lines_are_split_off_whatever_the_white_space():
    source = "assert a\n  ### BEGIN HIDDEN TESTS\nassert b\n\n### END HIDDEN TESTS (1)\nassert c"
    shown, hidden = split_hidden(source)
    assert shown.splitlines() == ["assert a", "# (further tests, which are not shown)", "assert c"]
    assert hidden == ["assert b", ""]
    assert split_hidden("a\n### BEGIN HIDDEN TESTS\nb\nc")[1] == ["b", "c"]


def error(text, traceback=()):
    return new_output("error", ename="ValueError", evalue=text, traceback=list(traceback))


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
def test_no_line_of_a_hidden_test_is_shown_in_what_a_cell_printed(shown):
    made = page(shown)
    assert "answer is another number" not in made and "assert answer == 42" not in made
    assert "(a test that is not shown)" in made
    assert "answer is a whole number" in made  # the test that is no secret


def test_no_line_of_a_hidden_test_is_shown_in_what_went_wrong():
    line = 'assert all(double(x) == x + x for x in (-1, 0, 2.5)), "double fails on other numbers"'
    made = page(happened=f"error in cell 3: ValueError: {line}", test_outputs=[error(line)])
    assert "x + x" not in made and made.count("(a test that is not shown)") >= 3


def test_what_a_student_wrote_is_shown():
    made = page(answer="answer = 41\nassert answer == 42  # my own", happened="")
    assert "assert answer == 42  # my own" in made
