"""Questions to mark by hand: to_mark.csv has the answers, and the levels that a teacher enters.

The table is read before a grading and rewritten after it, so it always has every answer, and keeps every
level.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from nbformat import NotebookNode

from course_teaching.exercises import human_cells, title_above
from course_teaching.grading.results import Graded, Question, csv_bytes, no_formula
from course_teaching.grading.roster import read_table
from course_teaching.lessons import write_file
from course_utils.errors import ConfigError

TO_MARK = "to_mark.csv"
HEADER = ["student", "id", "lesson", "question", "answer", "level", "comment", "key"]
ANSWER = 20_000  # characters, which fit into a cell of a spreadsheet


def read_levels(output: Path) -> dict[str, dict[str, str]]:
    """Return the rows of to_mark.csv by their keys; raise a ConfigError if a level is wrong."""
    path, wrong = output / TO_MARK, []
    rows = read_table(path, "The table of levels", *([name] for name in HEADER)) if path.exists() else []
    for number, row in enumerate(rows, 2):
        row["level"] = row["level"].strip().removesuffix(".0")  # as some programs write a whole number
        most = re.search(r"0 to (\d+)$", row["question"])
        is_level = most and re.fullmatch(r"[0-9]{1,4}", row["level"]) and int(row["level"]) <= int(most[1])
        wrong += [f"{row['level']!r} in row {number}"] if row["level"] and not is_level else []
    if wrong:
        raise ConfigError(
            "A level is not valid.",
            where=path,
            expected="whole numbers from 0 to the highest level that the question names, or nothing",
            found=", ".join(wrong[:5]),
            do="Correct it in that file, and give the same command again: nothing was changed.",
        )
    return {row["key"]: row for row in rows}


def questions_of(
    notebook: NotebookNode, file: str = "", levels: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Question]:
    """Return the questions of a notebook by their names.

    If it is a student's `file`, they have the answers, and the levels that `read_levels` has found for them.
    """
    questions = {}
    for number, cell in human_cells(notebook):
        name = cell.metadata.nbgrader["grade_id"]
        one = Question(title_above(notebook, number), float(cell.metadata.nbgrader["points"]))
        if file:
            one.answer = cell.source.strip()
            key = json.dumps([file, name, one.answer]).encode()
            one.key = f"k{hashlib.sha256(key).hexdigest()[:12]}"
            row = (levels or {}).get(one.key, {"level": "", "comment": ""})
            one.level, one.comment = int(row["level"]) if row["level"] else None, row["comment"]
        questions[name] = one
    return questions


def write_to_mark(output: Path, rows: Iterable[Graded], levels: Mapping[str, Mapping[str, str]]) -> int:
    """Write to_mark.csv with all answers and their levels.

    Return how many levels belong to none of these answers; they stay at the end of the table.
    """
    lines, left = [], dict(levels)
    for row in rows:
        for one in (one for one in row.questions.values() if one.key):
            left.pop(one.key, None)
            answer = one.answer[:ANSWER] + " ..." * (len(one.answer) > ANSWER)
            values = [row.student, row.id, row.lesson, f"{one.title}: 0 to {one.of:g}", answer]
            level = "" if one.level is None else str(one.level)
            lines.append([*map(no_formula, values), level, one.comment, one.key])
    others = [[row[name] for name in HEADER] for row in left.values() if row["level"] or row["comment"]]
    if lines or others:
        write_file(output / TO_MARK, csv_bytes([HEADER, *lines, *others]), ConfigError)
    return len(others)
