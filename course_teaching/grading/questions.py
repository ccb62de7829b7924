"""Questions that a person marks: answers go out in a table, and the levels that come back in it count."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from nbformat import NotebookNode

from course_teaching.exercises import human_cells, title_above
from course_teaching.grading.results import Graded, Question, csv_bytes, no_formula
from course_teaching.grading.roster import read_table
from course_utils.errors import ConfigError

ANSWER = 20_000  # characters, which a spreadsheet can hold


def questions_of(
    notebook: NotebookNode, student: tuple[str, str, str], *, answered: bool
) -> dict[str, Question]:
    """Return the questions of a notebook for a person, by name, with the answers if it is a student's.

    Args:
        notebook: The solution, with the student's answers in the place of its own.
        student: Name, id and lesson, which tell answers apart that read the same.
        answered: Whether the answers are a student's.
    """
    questions = {}
    for number, cell in human_cells(notebook):
        name = cell.metadata.nbgrader["grade_id"]
        title, points = title_above(notebook, number), float(cell.metadata.nbgrader["points"])
        one = questions[name] = Question(title, points)
        if answered:
            one.answer = cell.source.strip()
            key = json.dumps([*student, name, one.answer]).encode()
            one.key = f"k{hashlib.sha256(key).hexdigest()[:12]}"
    return questions


def to_mark_table(rows: Iterable[Graded], without: Iterable[str] = ()) -> bytes:
    """Return to_mark.csv, in UTF-8 with a BOM for spreadsheets: one row for each answer without a level."""
    without = set(without)
    lines = [["student", "id", "lesson", "question", "answer", "level", "comment", "key"]]
    for row in sorted(rows, key=lambda row: row.sort_key):
        for one in row.unmarked:
            if one.key not in without:
                answer = one.answer[:ANSWER] + " ..." * (len(one.answer) > ANSWER)
                values = [row.name, row.roster[1] if row.roster else row.id]
                values = values if row.roster else map(no_formula, values)
                question = f"{one.title}: 0 to {one.of:g}"
                lines.append([*values, row.lesson, question, no_formula(answer), "", "", one.key])
    return csv_bytes(lines, bom=True)


def read_marked(paths: Iterable[Path]) -> dict[str, tuple[int | None, str]]:
    """Return level and comment by key, from tables that somebody has filled in; an empty level is None.

    Raise a ConfigError if a level is no whole number from 0, or one answer has two.
    """
    marked, wrong = {}, []
    for path in paths:
        table = read_table(path, ("key", "level"), "The marked questions")
        places = [table.column(name) for name in ("key", "level", "comment")]
        for number, row in enumerate(table.rows, 2):
            key, level, comment = ("" if place is None else row[place].strip() for place in places)
            whole = level.removesuffix(".0")  # as some programs write a whole number
            entry = (int(whole) if whole.isdecimal() and whole.isascii() else None, comment)
            if level and entry[0] is None:
                wrong.append(f"{level!r} in row {number} of {table.path.name}")
            elif level and marked.get(key, (None, ""))[0] not in (None, entry[0]):
                wrong.append(f"a second level, {level}, in row {number} of {table.path.name}")
            elif level or key not in marked:
                marked[key] = entry
    if wrong:
        raise _wrong_level(", ".join(wrong[:5]), "a whole number from 0 on, one for each answer, or nothing")
    return marked


def apply_levels(rows: Iterable[Graded], marked: dict[str, tuple[int | None, str]]) -> list[str]:
    """Give the answers their levels; return the keys that no answer has.

    Raise a ConfigError, and change nothing, if a level is higher than the question's highest.
    """
    answers = [(row, one) for row in rows for one in row.questions.values() if one.key in marked]
    for row, one in answers:
        if (marked[one.key][0] or 0) > one.of:
            found = f"{marked[one.key][0]} for {row.name}, {row.lesson}, {one.title}"
            raise _wrong_level(found, f"a level from 0 to {one.of:g}")
    for _, one in answers:
        one.level, one.comment = marked[one.key]
    return sorted(marked.keys() - {one.key for _, one in answers})


def _wrong_level(found: str, expected: str) -> ConfigError:
    do = "Correct it in that file, and give the same command again: nothing was changed."
    return ConfigError("A level is not valid.", where="--marked", expected=expected, found=found, do=do)
