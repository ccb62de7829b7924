"""Answers come from the student, everything else from the solution."""

import copy
import json

import pytest
from small_submissions import RIGHT, handed_in, small_solution, write_solution, write_submission

from course_utils.grading.submissions import (
    UnreadableError,
    find_submissions,
    read_cells,
    read_solutions,
    restore,
)


def restored(tmp_path, notebook):
    """Write a submission, read it and put it into the solution; return the sources of its code cells."""
    write_submission(tmp_path, "one", notebook)
    cells = read_cells(tmp_path / "one" / "01_small.ipynb")
    return [cell.source for cell in restore(small_solution(), cells).cells if cell.cell_type == "code"]


@pytest.fixture
def solution_sources():
    return [cell.source for cell in small_solution().cells if cell.cell_type == "code"]


def test_answers_are_the_students_and_tests_the_solutions(tmp_path, solution_sources):
    sources = restored(tmp_path, handed_in(*RIGHT))
    assert sources[1::2][:1] == [RIGHT[0]] and sources[3] == RIGHT[1]
    assert [sources[n] for n in (0, 2, 4)] == [solution_sources[n] for n in (0, 2, 4)]
    assert "HIDDEN" in sources[2]


def test_solution_is_never_graded_in_the_place_of_an_answer(tmp_path):
    notebook = handed_in(*RIGHT)
    notebook.cells = [c for c in notebook.cells if not c.metadata.get("nbgrader", {}).get("solution")]
    sources = restored(tmp_path, notebook)
    assert sources[1] == sources[3] == ""


def test_split_answer_is_joined_and_an_added_cell_stays_where_it_was(tmp_path):
    notebook = handed_in("answer = 6", "def double(x):\n    return helper(x)")
    half = copy.deepcopy(notebook.cells[2])
    half.source, half["id"] = "answer = answer * 7", "half"
    added = copy.deepcopy(notebook.cells[2])
    added.source, added.metadata, added["id"] = "def helper(x): return x + x", {}, "added"
    notebook.cells[3:3] = [half]
    notebook.cells.insert(5, added)
    sources = restored(tmp_path, notebook)
    assert sources[1] == "answer = 6\nanswer = answer * 7"
    assert sources[3:5] == ["def helper(x): return x + x", "def double(x):\n    return helper(x)"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"cells": 3}',
        '{"cells": []}',
        '{"cells": [1]}',
        '{"cells": [{"source": 1, "cell_type": "code"}]}',
        '{"cells": [{"cell_type": "code"}]}',
        "[" * 100_000,
        '{"nbformat": 2, "worksheets": 1}',
        "\x00",
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path, text):
    path = tmp_path / "01_small.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableError):
        read_cells(path)


def test_half_a_character_is_replaced(tmp_path):
    text = json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "x = '\ud800'"}]})
    (tmp_path / "a.ipynb").write_text(text)
    (cell,) = read_cells(tmp_path / "a.ipynb")
    assert cell["source"] == "x = '?'"


def test_students_are_folders_or_notebooks_and_lessons_are_found_by_name_or_cells(tmp_path):
    solutions = read_solutions(write_solution(tmp_path / "solutions"))
    folder = tmp_path / "submissions"
    write_submission(folder, "anna", handed_in(*RIGHT))
    write_submission(folder, "ben/week 1", handed_in(*RIGHT), "01_other_name.ipynb")
    write_submission(folder, "ben/.ipynb_checkpoints", handed_in(*RIGHT))
    for name in ("carl_01_small.ipynb", "dora.ipynb"):
        (folder / name).write_text(json.dumps(handed_in(*RIGHT)))
    (folder / "eve.ipynb").write_text('{"cells": [{"cell_type": "code", "source": "1"}]}')
    (folder / "fred").mkdir()
    found = [(one.student, one.lesson, bool(one.notebook)) for one in find_submissions(folder, solutions)]
    assert found == [
        ("anna", "01_small", True),
        ("ben", "01_small", True),
        ("carl", "01_small", True),
        ("dora", "01_small", True),
        ("eve", "", False),
        ("eve", "01_small", False),
        ("fred", "01_small", False),
    ]
