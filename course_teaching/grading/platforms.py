"""Files to upload: the platform's own table with the marks in it, and a zip file with pages of feedback."""

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from statistics import mode

from course_teaching.grading.exports import CANVAS, MOODLE
from course_teaching.grading.results import Graded, csv_bytes
from course_teaching.grading.roster import Roster

# What stands before a lesson's name in the name of an assignment.
KINDS = {"lesson", "exercise", "exercises"}


def final_mark(row: Graded) -> str | None:
    """Return the points of a row; None for what is not to be uploaded: provisional, in doubt, not graded."""
    sure = row.status in ("graded", "stopped", "died") and not row.unmarked and not row.roster_problem
    return f"{row.total:g}" if sure else None


def moodle_table(rows: Iterable[Graded], roster: Roster) -> tuple[bytes, list[str]]:
    """Return the grading worksheet with the grades filled in, and what the teacher should know about it.

    A grade is the sum of a person's lessons. Where there is none, the cell stays as it was.
    """
    by_person = defaultdict(list)
    for row in rows:
        if row.roster:
            by_person[row.roster].append(row)
    lines = [list(line) for line in roster.table.rows]
    grade, most = roster.table.column("Grade"), roster.table.column("Maximum Grade")
    for number, person in roster.people.items():
        marks = [final_mark(row) for row in by_person[person] if row.file]
        if marks and None not in marks:
            lines[number][grade] = f"{sum(map(float, marks)):g}"
    # What most could get: one may have handed in another lesson besides.
    of = mode(sum(row.max_points for row in own) for own in by_person.values())
    found = set() if most is None else {line[most].replace(",", ".") for line in lines}
    content = csv_bytes([roster.table.header, *lines], bom=roster.table.bom)
    return content, _other_most("this assignment", found, of)


def canvas_table(rows: Iterable[Graded], roster: Roster) -> tuple[bytes, list[str]]:
    """Return a gradebook with one column for each lesson, and what the teacher should know about it.

    A lesson has the column of the roster that is named for it, else one with its own name. Where there is no
    mark, the cell stays as it was.
    """
    rows, told, table = list(rows), [], roster.table
    info = table.header[: table.column("Section") + 1]
    header, lines = list(info), [line[: len(info)] for line in table.rows]
    above = [number for number in range(len(lines)) if number not in roster.people]
    for lesson in sorted({row.lesson for row in rows if row.lesson and row.roster and row.file}):
        own = [row for row in rows if row.lesson == lesson]
        marks = {row.roster: final_mark(row) for row in own if row.roster and row.file}
        places = [n for n in range(len(info), len(table.header)) if _is_named(table.header[n], lesson)]
        column = table.header[places[0]] if len(places) == 1 else lesson
        points = [line[places[0]] if len(places) == 1 else "" for line in table.rows]
        for number, person in roster.people.items():
            if points[number].strip() != "EX":  # who is excused stays so
                points[number] = marks.get(person) or points[number]
        for number in above:
            if "points possible" in table.rows[number][0].casefold():
                found = {points[number].replace(",", ".")} if len(places) == 1 else set()
                told += _other_most(column, found, own[0].max_points)
                points[number] = points[number] or f"{own[0].max_points:g}"
        if len(places) != 1:
            many = "several columns" if places else "no column"
            told.append(f"{many} of the roster for {lesson}: Canvas will ask which assignment that is")
        header.append(column)
        lines = [[*line, value] for line, value in zip(lines, points, strict=True)]
    return csv_bytes([header, *lines], bom=table.bom), told


def _is_named(column: str, lesson: str) -> bool:
    """Return whether a column, such as "Lesson 03 (4711)", has a lesson's number, its title or both."""
    words = re.findall(r"\w+", re.sub(r"\(\d+\)\s*$", "", column).casefold())
    words = [word.zfill(2) if word.isdecimal() else word for word in words if word not in KINDS]
    number, *title = lesson.casefold().split("_")
    return bool(words) and words in ([number], title, [number, *title])


def _other_most(name: str, found: Iterable[str], of: float) -> list[str]:
    """Return what to do where the platform has another highest mark than tests and questions give."""
    other = sorted(text for text in found if re.fullmatch(r"\d+(\.\d+)?", text) and float(text) != of)
    return [f"the highest mark of {name} is {text}: set it to {of:g} before you upload" for text in other]


def feedback_zip(rows: Iterable[Graded], output: Path, platform: str) -> tuple[bytes, list[str]]:
    """Return the pages of feedback under the names that the platform gave, and whom there was none for.

    Moodle wants a folder for each student, named as in its export; Canvas a file named as the submission.
    """
    packed, names, left = io.BytesIO(), set(), []
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            first = PurePosixPath(row.file.split(": ")[0]).parts[:1]
            found = (MOODLE if platform == "moodle" else CANVAS).fullmatch(first[0]) if first else None
            if not row.file or not row.roster or row.status == "failed":
                continue
            if not found:
                left.append(f"{row.name} {row.lesson}")
                continue
            if platform == "moodle":
                folder = first[0].removesuffix(found["rest"] or "")
                stem = f"{folder}/{row.lesson or 'feedback'}"
            else:
                stem = str(PurePosixPath(first[0]).with_suffix(""))
            name, number = f"{stem}.html", 2
            while name in names:
                name, number = f"{stem}-{number}.html", number + 1
            names.add(name)
            member = zipfile.ZipInfo(name)  # with no time of its own: the same pages are the same file
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, (output / row.feedback).read_bytes())
    told = [f"no name of {platform} to return feedback under: {', '.join(left)}"] if left else []
    return packed.getvalue(), told
