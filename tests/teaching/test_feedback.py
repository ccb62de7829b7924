"""The page of feedback: made in linear time, and without a line of a hidden test."""

import re
import subprocess
import sys

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small_submissions import RIGHT, small_solution

from course_teaching.grading.answers import split_hidden
from course_teaching.grading.feedback import MARKS_END, TAGS, exercises_of, feedback_page, with_marks
from course_teaching.grading.results import Graded, Question

HIDDEN = 'assert answer == 42, "answer is another number"'


def page(*outputs, answer=RIGHT[0], happened="", test_outputs=()):
    """Return the page of a notebook whose first answer has shown these outputs."""
    notebook = small_solution()
    notebook.cells[2].source, notebook.cells[2].outputs = answer, list(outputs)
    notebook.cells[3].outputs = list(test_outputs)
    points = {"lesson01-test-1": (0, 2), "lesson01-test-2": (0, 3)}
    row = Graded("anna", "01", "", "graded", happened, points, exercises=exercises_of(notebook))
    return feedback_page(row, notebook, "nothing")


def test_white_space_and_markdown_are_read_in_linear_time():
    # A hang guard, not a measurement: the quadratic search takes an hour for this.
    code = (
        "from nbformat.v4 import new_code_cell, new_notebook\n"
        "from course_teaching.grading.feedback import Graded, _markdown, feedback_page\n"
        "nbgrader = {'grade': True, 'grade_id': 'a', 'points': 1}\n"
        "cells = [new_code_cell(' ' * 1_000_000, metadata=m) for m in ({}, {'nbgrader': nbgrader})]\n"
        "feedback_page(Graded('a', '', '', ''), new_notebook(cells=cells), '')\n"
        "for text in ('[', '<', '>', '<div>', '*a', '![', '<i><a>', '<!--', '- a\\n ', '$a'):\n"
        "    _markdown(text * (20_000 // len(text)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=1800)


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


HARM = [
    "<script>alert(1)</script>",
    "<img src='https://x.org/a.png' onerror='alert(1)'>",
    "![picture](https://x.org/a.png)",
    "[link](javascript:alert(1))",
    "<a href='data:text/html,<script>1</script>'>a</a>",
    "<svg onload='alert(1)'/>",
    "<p style='background:url(https://x.org/a.png)' onclick='alert(1)'>a</p>",
    "<iframe src='https://x.org'></iframe><meta http-equiv='refresh' content='0'><link href='//x.org/a.css'>",
    "<form action='https://x.org'><input></form><style>@import '//x.org/a.css'</style>",
    "<!-- end of marks --><!-- marks -->",
]


@pytest.mark.parametrize("text", HARM)
def test_markdown_runs_nothing_and_loads_nothing(text):
    row = Graded("anna", "01", "", "graded")
    answer = new_markdown_cell(f"A **word**.\n\n{text}\n\n| a |\n|---|\n| *b* |")
    made = feedback_page(row, new_notebook(cells=[answer]), "nothing")
    body = made.split(MARKS_END, 1)[1]
    assert "<strong>word</strong>" in body and "<em>b</em></td>" in body
    tags = re.findall(r"<(/?\w+)([^>]*)>", body)
    assert {name.strip("/") for name, _ in tags} <= {"div", "body", "html", *TAGS}
    assert {attributes for _, attributes in tags} <= {""}
    assert made.count(MARKS_END) == 1


def exercise(said, *outputs, ran=True):
    """Return an exercise whose check has said something, with what its test has shown."""

    def cell(grade_id, outputs, **kinds):
        kinds = {"grade": False, "solution": False, "locked": True, "grade_id": grade_id, **kinds}
        count = 1 if ran else None
        return new_code_cell("", metadata={"nbgrader": kinds}, outputs=outputs, execution_count=count)

    own = cell("own", [new_output("stream", text="→ You are right.")], locked=False, solution=True)
    check = cell("check", [new_output("stream", text=said)])
    title = new_markdown_cell("## Exercise 2 – One class by hand (try)\n\nText.")
    return [title, own, check, cell("test", list(outputs), grade=True, points=2)]


def test_each_exercise_has_its_title_and_the_hint_of_its_check():
    failed = new_output("error", ename="AssertionError", evalue="Not yet: see above.", traceback=[])
    hidden = new_output("error", ename="AssertionError", evalue="", traceback=[])

    def told(*arguments, **named):
        return exercises_of(new_notebook(cells=exercise(*arguments, **named)))["test"]

    title = "Exercise 2 – One class by hand"
    assert told("✓ Good.\n→ The two are <b>swapped</b>.", failed) == (title, "The two are <b>swapped</b>.")
    assert told("✓ Good.") == (title, "")
    assert told("✓ Good.", hidden) == (title, "A test that is not shown failed.")
    assert told("", error("no")) == (title, "ValueError: no")
    assert told("", ran=False) == (title, "not reached")
    exercises = {"test": told("→ <b>", failed)}
    row = Graded("anna", "01", "", "graded", points={"test": (0, 2)}, exercises=exercises)
    made = feedback_page(row, None, "nothing")
    assert f"<td>{title}</td><td>0 of 2</td><td>&lt;b&gt;</td>" in made
    assert with_marks(made, row) == made
    row.questions = {"q": Question("Question 5", 3, "text", "k", 2, "Näher ran.")}
    again = with_marks(made, row)
    assert "2 of 5 points" in again and "<td>Question 5</td><td>2 of 3</td><td>Näher ran.</td>" in again
