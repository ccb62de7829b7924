"""Answers come from the student, everything else from the solution."""

import copy
import json
import zipfile

import nbformat
import pytest
from small_submissions import (
    RIGHT,
    asking_solution,
    handed_in,
    other_solution,
    small_solution,
    write_solution,
    write_submission,
    zipped,
)

from course_teaching.exercises import EXERCISES_FOLDER, SOLUTIONS_FOLDER, nbgrader_of
from course_teaching.grading.answers import (
    UnreadableError,
    fill_in,
    place_cells,
    read_cells,
    read_solutions,
)
from course_teaching.grading.submissions import find_submissions


def restored(notebook, solution):
    """Put a submission into the solution; return the sources of its code cells."""
    placed = place_cells(solution, read_cells(json.dumps(notebook).encode()))
    return [cell.source for cell in fill_in(solution, placed).cells if cell.cell_type == "code"]


def test_answers_are_the_students_and_tests_the_solutions():
    solution = small_solution()
    set_up, _, first, _, second = (cell.source for cell in solution.cells if cell.cell_type == "code")
    assert restored(handed_in(*RIGHT), solution) == [set_up, RIGHT[0], first, RIGHT[1], second]
    assert "HIDDEN" in first
    without_answers = handed_in(*RIGHT)
    without_answers.cells = [cell for cell in without_answers.cells if not nbgrader_of(cell).get("solution")]
    assert restored(without_answers, solution) == [set_up, "", first, "", second]


def test_split_answer_is_joined_and_an_added_cell_stays_where_it_was():
    notebook = handed_in("answer = 6", "def double(x):\n    return helper(x)")
    half = copy.deepcopy(notebook.cells[2])
    half.source, half["id"] = "answer = answer * 7", "half"
    added = copy.deepcopy(notebook.cells[2])
    added.source, added.metadata, added["id"] = "def helper(x): return x + x", {}, "added"
    notebook.cells[3:3] = [half]
    notebook.cells.insert(5, added)
    sources = restored(notebook, small_solution())
    assert sources[1] == "answer = 6\nanswer = answer * 7"
    assert sources[3:5] == ["def helper(x): return x + x", "def double(x):\n    return helper(x)"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "\x00", "[" * 100_000, '{"nbformat": 2, "worksheets": 1}'),
        *('{"cells": 3}', '{"cells": []}', '{"cells": [1]}', '{"cells": [{"cell_type": "code"}]}'),
        '{"cells": [{"source": 1, "cell_type": "code"}]}',
    ],
)
def test_what_is_no_notebook_is_refused(text):
    with pytest.raises(UnreadableError):
        read_cells(text.encode())


def test_half_a_character_is_replaced():
    text = json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "x = '\ud800'"}]})
    (cell,) = read_cells(text.encode())
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


SOLUTIONS = {"01_small": small_solution(), "02_other": other_solution()}
SMALL, OTHER = (handed_in(*RIGHT, solution=solution) for solution in SOLUTIONS.values())


def found(folder, *lessons, solutions=SOLUTIONS):
    return find_submissions(folder, solutions, lessons)


def without(notebook, *, ids=False):
    """Return a notebook as some editors save it: without nbgrader's metadata, and without ids."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)
        if ids:
            del cell["id"]
    return notebook


@pytest.mark.parametrize("ids, told", [(False, "found by cell id"), (True, "found by place")])
def test_answers_without_metadata_are_found_and_it_is_told(tmp_path, ids, told):
    notebook = without(SMALL, ids=ids)
    write_submission(tmp_path, "anna", notebook)
    (one,) = found(tmp_path)
    sources = [cell.source for cell in one.notebook.cells if cell.cell_type == "code"]
    assert (sources[1], sources[3], len(sources)) == (*RIGHT, 5)
    assert one.note == f"2 of its answers had lost their metadata: {told}" + " between other cells" * ids


def test_answer_in_markdown_is_found_where_it_was_written(tmp_path):
    solutions = {"01_small": asking_solution()}
    own = [nbformat.v4.new_markdown_cell(text) for text in ("Before.", "Behind.")]
    for name, text in (("anna", "Mine."), ("ben", "YOUR ANSWER HERE")):
        one = handed_in(*RIGHT, text, solution=asking_solution())
        one.cells[-1:] = [own[0], one.cells[-1], own[1]]
        write_submission(tmp_path, name, one)
    lost = without(handed_in(*RIGHT, "Mine.", solution=asking_solution()), ids=True)
    write_submission(tmp_path, "carl", lost)
    turned = handed_in(*RIGHT, "Mine.", solution=asking_solution())
    turned.cells[-1] = nbformat.v4.new_code_cell("Mine.", metadata=turned.cells[-1].metadata)
    write_submission(tmp_path, "dora", turned)
    rows = found(tmp_path, solutions=solutions)
    answers = {one.student: one.notebook.cells[-1] for one in rows}
    told = "3 of its answers had lost their metadata: found by place between other cells"
    assert [one.note for one in rows] == ["", "", told, ""]
    assert {name: cell.source for name, cell in answers.items()} == {
        "anna": "Before.\n\nMine.\n\nBehind.",
        "ben": "Before.\n\nBehind.",
        "carl": "Mine.",
        "dora": "Mine.",
    }
    assert {cell.cell_type for cell in answers.values()} == {"markdown"}


@pytest.mark.parametrize("ids", [False, True])
def test_every_exercise_of_the_course_survives_the_loss_of_its_metadata(tmp_path, ids):
    solutions = read_solutions(SOLUTIONS_FOLDER)
    for lesson in solutions:
        notebook = nbformat.read(EXERCISES_FOLDER / f"{lesson}.ipynb", as_version=4)
        answers = [cell for cell in notebook.cells if nbgrader_of(cell).get("solution")]
        for number, cell in enumerate(answers):
            cell.source = f"answer_{number} = 1"
        write_submission(tmp_path, lesson, without(notebook, ids=ids), "mine.ipynb")
    for one in find_submissions(tmp_path, solutions):
        if one.path is not None:
            assert one.lesson == one.student
            answers = [cell.source for cell in one.notebook.cells if nbgrader_of(cell).get("solution")]
            assert answers == [f"answer_{number} = 1" for number in range(len(answers))]
            assert len(one.notebook.cells) == len(solutions[one.lesson].cells)


def test_cells_say_which_lesson_it_is_and_the_name_only_if_they_do_not(tmp_path):
    write_submission(tmp_path, "anna", OTHER, "01_small.ipynb")
    own = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("answer = 42")])
    write_submission(tmp_path, "ben", own, "01_small.ipynb")
    write_submission(tmp_path, "carl", SMALL, "01_small.ipynb")
    anna, ben, carl = (one for one in found(tmp_path, "01_small", "02_other") if one.path)
    assert (anna.lesson, ben.lesson, carl.lesson) == ("02_other", "01_small", "01_small")
    assert carl.note == ""
    assert anna.note == "it is named 01_small, but has the cells of 02_other: graded as 02_other"
    assert ben.note == "none of its cells is one of the exercise: they were run before it"


def test_notebooks_in_zip_files_are_found_without_unpacking_them(tmp_path):
    text, other = json.dumps(SMALL), json.dumps(OTHER)
    members = {"../../01_small.ipynb": text, "w/02_other.ipynb": other, "x.csv": ""}
    zipped(tmp_path / "anna" / "work.zip", members)
    zipped(tmp_path / "ben.zip", {"__MACOSX/01_small.ipynb": "", "/01_small.ipynb": text})
    before = sorted(tmp_path.rglob("*"))
    rows = [(one.student, one.lesson, one.member, bool(one.notebook)) for one in found(tmp_path, "01_small")]
    assert rows == [
        ("anna", "01_small", "../../01_small.ipynb", True),
        ("ben", "01_small", "/01_small.ipynb", True),
    ]
    assert sorted(tmp_path.rglob("*")) == before and not (tmp_path.parent / "01_small.ipynb").exists()


def test_zip_files_that_are_no_submission_say_what_they_are(tmp_path):
    zipped(tmp_path / "data.zip", {"a.csv": "", "b.py": ""})
    zipped(tmp_path / "bomb.zip", {"01_small.ipynb": b" " * 21_000_000})
    zipped(tmp_path / "many.zip", {f"{number}.ipynb": "{}" for number in range(51)})
    zipped(tmp_path / "odd.zip", {"01_small.ipynb": "{}"}, zipfile.ZIP_LZMA)
    (tmp_path / "text.zip").write_text("no zip")
    broken = zipped(tmp_path / "broken.zip", {"01_small.ipynb": "{}"}, zipfile.ZIP_STORED)
    broken.write_bytes(broken.read_bytes().replace(b"{}", b"[]"))
    (tmp_path / "link.zip").symlink_to(tmp_path / "bomb.zip")
    told = {one.student: one.problem for one in found(tmp_path) if one.path}
    words = {
        "data": "no notebook in it, but a.csv, b.py",
        "bomb": "20 MB are the most",
        "many": "51 notebooks",
        "odd": "uncommon way",
        "text": "not a zip file",
        "broken": "cannot be read from the zip file",
        "link": "a link",
    }
    assert told.keys() == words.keys()
    assert [name for name in words if words[name] not in told[name]] == []


def test_what_was_handed_in_instead_of_a_notebook_is_named(tmp_path):
    write_submission(tmp_path, "anna", "print(1)", "01_small.py")
    (tmp_path / "ben_01_small.py").write_text("print(1)")
    (tmp_path / "carl").mkdir()
    (tmp_path / "marks-of-last-year.csv").write_text("")
    told = {one.student: one.problem for one in found(tmp_path, "01_small") if one.problem}
    assert told["anna"] == "no notebook was handed in, but 01_small.py"
    assert told["carl"] == "nothing was handed in"
    (ben,) = [one for one in found(tmp_path) if one.student == "ben"]
    assert (ben.lesson, ben.problem) == ("01_small", "it is not a notebook but a .py file")


def test_lesson_of_one_student_is_not_missing_for_the_others(tmp_path):
    for name in ("anna", "ben", "carl"):
        write_submission(tmp_path, name, SMALL)
    write_submission(tmp_path, "anna", OTHER, "02_other.ipynb")
    (tmp_path / "dora").mkdir()
    others = ("ben", "carl", "dora")
    rows = [(one.student, one.lesson) for one in found(tmp_path)]
    assert rows == [("anna", "01_small"), ("anna", "02_other"), *((name, "01_small") for name in others)]
    asked = [(one.student, one.lesson, bool(one.path)) for one in found(tmp_path, "02_other")]
    assert asked == [("anna", "02_other", True), *((name, "02_other", False) for name in others)]
