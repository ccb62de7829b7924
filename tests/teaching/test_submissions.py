"""Answers come from the student, everything else from the solution, wherever the notebooks lie."""

import copy
import json
import shutil
import stat
import zipfile

import nbformat
import pytest
from small_submissions import (
    RIGHT,
    asking_solution,
    handed_in,
    other_solution,
    small_solution,
    write_submission,
    zipped,
)

from course_teaching.exercises import EXERCISES_FOLDER, SOLUTIONS_FOLDER, nbgrader_of
from course_teaching.grading import submissions
from course_teaching.grading.answers import UnreadableError, fill_in, read_cells, read_solutions
from course_teaching.grading.submissions import exported_as, find_submissions
from course_utils.errors import ConfigError

SOLUTIONS = {"01_small": small_solution(), "02_other": other_solution()}
SMALL, OTHER = (handed_in(*RIGHT, solution=solution) for solution in SOLUTIONS.values())
TEXT = json.dumps(SMALL)


def found(place, solutions=SOLUTIONS):
    """Return what was handed in by student; where a student has several, by student and file."""
    rows = find_submissions(place, solutions)
    names = [one.student for one in rows]
    return {one.student if names.count(one.student) == 1 else (one.student, one.file): one for one in rows}


def restored(notebook, solution):
    """Put a submission into the solution; return the sources of its code cells."""
    filled, _ = fill_in(solution, read_cells(json.dumps(notebook).encode()))
    return [cell.source for cell in filled.cells if cell.cell_type == "code"]


def test_fill_in_takes_answers_from_the_student_and_tests_from_the_solution():
    solution = small_solution()
    set_up, _, first, _, second = (cell.source for cell in solution.cells if cell.cell_type == "code")
    assert restored(handed_in(*RIGHT), solution) == [set_up, RIGHT[0], first, RIGHT[1], second]
    assert "HIDDEN" in first
    notebook = handed_in(*RIGHT)
    notebook.cells = [cell for cell in notebook.cells if not nbgrader_of(cell).get("solution")]
    assert restored(notebook, solution) == [set_up, "", first, "", second]


def test_fill_in_joins_a_split_answer_and_keeps_an_added_cell_in_its_place():
    notebook = handed_in("answer = 6", "def double(x):\n    return helper(x)")
    half, added = (copy.deepcopy(notebook.cells[2]) for _ in range(2))
    half.source, half["id"] = "answer = answer * 7", "half"
    added.source, added.metadata, added["id"] = "def helper(x): return x + x", {}, "added"
    notebook.cells[3:3] = [half]
    notebook.cells.insert(5, added)
    sources = restored(notebook, small_solution())
    assert sources[1] == "answer = 6\nanswer = answer * 7"
    assert sources[3:5] == ["def helper(x): return x + x", "def double(x):\n    return helper(x)"]


def test_fill_in_takes_a_text_without_its_stub():
    for text, kept in (("Mine.", "Mine."), ("YOUR ANSWER HERE", "")):
        notebook = handed_in(*RIGHT, text, solution=asking_solution())
        filled, note = fill_in(asking_solution(), read_cells(json.dumps(notebook).encode()))
        assert (filled.cells[-1].source, note) == (kept, "")


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "\x00", "[" * 100_000, '{"nbformat": 2, "worksheets": 1}'),
        *('{"cells": 3}', '{"cells": []}', '{"cells": [1]}', '{"cells": [{"cell_type": "code"}]}'),
        '{"cells": [{"source": 1, "cell_type": "code"}]}',
    ],
)
def test_read_cells_refuses_a_non_notebook(text):
    with pytest.raises(UnreadableError):
        read_cells(text.encode())


def test_read_cells_replaces_half_a_character():
    text = json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "x = '\ud800'"}]})
    assert read_cells(text.encode())[0]["source"] == "x = '?'"


def test_find_submissions_finds_every_exercise_of_the_course_by_its_cell_ids(tmp_path):
    solutions = read_solutions(SOLUTIONS_FOLDER)
    for lesson in solutions:
        notebook = nbformat.read(EXERCISES_FOLDER / f"{lesson}.ipynb", as_version=4)
        answers = [cell for cell in notebook.cells if nbgrader_of(cell).get("solution")]
        for number, cell in enumerate(answers):
            cell.source = f"answer_{number} = 1"
        for cell in notebook.cells:
            cell.metadata.pop("nbgrader", None)
        write_submission(tmp_path, lesson, notebook, "mine.ipynb")
    rows = found(tmp_path, solutions)
    assert rows.keys() == solutions.keys()
    for name, one in rows.items():
        answers = [cell.source for cell in one.notebook.cells if nbgrader_of(cell).get("solution")]
        assert (one.lesson, answers) == (name, [f"answer_{number} = 1" for number in range(len(answers))])
        assert one.note == f"{len(answers)} of its answers had lost their metadata: found by cell id"


def test_find_submissions_takes_the_lesson_from_the_cells_else_from_the_name(tmp_path):
    write_submission(tmp_path, "anna", OTHER, "01_small.ipynb")
    own = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("answer = 42")])
    write_submission(tmp_path, "ben", own, "01_other_words.ipynb")
    for name in ("carl_01_small.ipynb", "dora.ipynb"):
        (tmp_path / name).write_text(TEXT)
    (tmp_path / "eve.ipynb").write_text('{"cells": [{"cell_type": "code", "source": "1"}]}')
    rows = found(tmp_path)
    assert {name: one.lesson for name, one in rows.items()} == {
        **{"anna": "02_other", "ben": "01_small", "carl": "01_small", "dora": "01_small", "eve": ""}
    }
    assert rows["anna"].note == "it is named 01_small, but has the cells of 02_other: graded as 02_other"
    assert rows["ben"].note == "none of its cells is one of the exercise: they were run before it"
    assert "it belongs to no exercise" in rows["eve"].problem and rows["carl"].note == ""


MUELLER = "Änne Müller_1234567_assignsubmission"
EXPORTS = {
    "Moodle, with folders": (
        {
            f"{MUELLER}_file_/01_small.ipynb": TEXT,
            f"{MUELLER}_onlinetext_/onlinetext.html": "hello",
            "Jo Lee_7_assignsubmission_file/work.zip": b"",  # newer ones end without a line
            "Jo Lee_8_assignsubmission_file_/notes.pdf": "x",
        },
        [
            ("Jo Lee", "7", "Jo Lee_7_assignsubmission_file/work.zip/a/01_small.ipynb", ""),
            ("Jo Lee", "8", "", "no notebook was handed in, but notes.pdf"),
            ("Änne Müller", "1234567", f"{MUELLER}_file_/01_small.ipynb", ""),
        ],
    ),
    "Moodle, without folders": (
        {
            f"{MUELLER}_file_01_small.ipynb": TEXT,
            f"{MUELLER}_file_notes.pdf": "x",
            "Participant_9_assignsubmission_file_notes.txt": "x",
        },
        [
            ("Participant", "9", "", "no notebook was handed in, but notes.txt"),
            ("Änne Müller", "1234567", f"{MUELLER}_file_01_small.ipynb", ""),
        ],
    ),
    "Canvas": (
        {
            "müllernne_LATE_12_345_01_small-1.ipynb": TEXT,
            "müllernne_12_346_data.csv": "x",
            "leejo_13_347_01_small (2).ipynb": TEXT,
        },
        [
            ("leejo", "13", "leejo_13_347_01_small (2).ipynb", ""),
            ("müllernne", "12", "müllernne_LATE_12_345_01_small-1.ipynb", ""),
        ],
    ),
}


@pytest.mark.parametrize("members, rows", EXPORTS.values(), ids=EXPORTS)
def test_find_submissions_reads_a_platforms_export_packed_and_unpacked(tmp_path, members, rows):
    inner = zipped(tmp_path / "inner.zip", {"a/01_small.ipynb": TEXT}).read_bytes()
    path = zipped(tmp_path / "class.zip", {name: content or inner for name, content in members.items()})
    shutil.unpack_archive(path, tmp_path / "unpacked")
    (tmp_path / "unpacked" / ".DS_Store").touch()
    for place in (path, tmp_path / "unpacked"):
        read = find_submissions(place, SOLUTIONS)
        assert [(one.student, one.id, one.file, one.problem) for one in read] == rows
        assert [one.lesson for one in read if one.file] == ["01_small"] * sum(bool(row[2]) for row in rows)


@pytest.mark.parametrize(
    "name", ["anna_03_replace_the_head.ipynb", "anna.ipynb", "anna_2024_03_x.ipynb", "a"]
)
def test_exported_as_knows_other_names_from_a_platforms(name):
    assert exported_as(name) == ("", "", name)


def test_find_submissions_keeps_a_zip_file_inside_its_folder_and_free_of_links(tmp_path):
    link = zipfile.ZipInfo("eve/02.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members = {"../../escaped/01_small.ipynb": TEXT, "/etc/01_small.ipynb": TEXT, link: "/etc/passwd"}
    members |= {"eve/.hidden/a.ipynb": "x", "__MACOSX/eve/._a.ipynb": "x", "anna/b/01_small.ipynb": TEXT}
    path = zipped(tmp_path / "class.zip", members)
    before = sorted(tmp_path.parent.rglob("*"))
    rows = found(path)
    assert {name: bool(one.notebook) for name, one in rows.items()} == {
        **{"anna": True, "escaped": True, "etc": True, "eve": False}
    }
    assert "not a notebook" in rows["eve"].problem
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_find_submissions_says_what_is_wrong_with_a_file(tmp_path):
    zipped(tmp_path / "bomb.zip", {"01_small.ipynb": b" " * 21_000_000})
    zipped(tmp_path / "data.zip", {"a.csv": "", "b.py": ""})
    (tmp_path / "text.zip").write_text("no zip")
    broken = zipped(tmp_path / "broken.zip", {"01_small.ipynb": "12345"}, zipfile.ZIP_STORED)
    broken.write_bytes(broken.read_bytes().replace(b"12345", b"54321"))
    (tmp_path / "link.zip").symlink_to(tmp_path / "bomb.zip")
    (tmp_path / "linked.ipynb").symlink_to(tmp_path / "bomb.zip")
    write_submission(tmp_path, "py", "print(1)", "01_small.py")
    zipped(tmp_path / "two" / "data.zip", {"a.csv": ""})
    write_submission(tmp_path, "two", SMALL)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "marks-of-last-year.csv").write_text("")
    words = {
        "bomb": "20 MB are the most",
        "data": "no notebook was handed in, but data.zip, a.csv, b.py",
        "text": "not a zip file",
        "broken": "Bad CRC",
        "link": "a link",
        "linked": "a link",
        "py": "no notebook was handed in, but 01_small.py",
        "two": "",
        "nothing": "nothing was handed in",
    }
    problems = {name: one.problem for name, one in found(tmp_path).items()}
    assert problems.keys() == words.keys()
    assert [problems[name] for name in words if words[name] not in problems[name]] == []


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: path.write_bytes(b"no zip"), "BadZipFile"),
        (lambda path: zipped(path, {"a.ipynb": "x" * 2000}), "0.0 GB"),
        (lambda path: path.mkdir(), "no folder, no .ipynb"),
        (lambda path: None, "FileNotFoundError"),
    ],
)
def test_find_submissions_raises_if_a_class_cannot_be_read(tmp_path, monkeypatch, make, words):
    monkeypatch.setattr(submissions, "CLASS_BYTES", 1000)
    make(tmp_path / "class.zip")
    with pytest.raises(ConfigError, match="There are no submissions") as caught:
        find_submissions(tmp_path / "class.zip", SOLUTIONS)
    assert words in caught.value.found
