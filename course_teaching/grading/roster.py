"""Rosters: who is in a class, from the file that the platform exports, and whose each submission is."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from course_teaching.grading.results import Graded, Question
from course_teaching.grading.submissions import as_one_name
from course_utils.errors import ConfigError

# What the platform needs to import it again, so that it tells the right file from a wrong one.
FORMATS = {
    "moodle": ("Identifier", "Grade", "Last modified (grade)"),
    "canvas": ("ID", "Section"),
    "csv": ("name", "id"),
}
EXPORTED = {
    "moodle": "the grading worksheet of the assignment, downloaded with Moodle's language set to English",
    "canvas": "the export of the gradebook",
    "csv": "a CSV file with the columns name and id",
}


@dataclass(frozen=True)
class Table:
    """A CSV file as it was found; all rows are as long as the header."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    bom: bool

    def column(self, *names: str) -> int | None:
        """Return the place of the first column with one of these names, however they are capitalised."""
        lower = [name.strip().casefold() for name in self.header]
        return next((lower.index(name.casefold()) for name in names if name.casefold() in lower), None)


@dataclass(frozen=True)
class Roster:
    """The people of a class, by the number of their row in the table: name and id."""

    format: str
    table: Table
    people: dict[int, tuple[str, str]]

    def find(self, row: Graded) -> list[tuple[str, str]]:
        """Return whom a submission may belong to: by its id, or by its exact name where it has none."""
        found = [person for person in self.people.values() if row.id and person[1] == row.id]
        if found or (row.id and self.format != "csv"):
            return found
        key = as_one_name(row.student)
        return [person for person in self.people.values() if key in map(as_one_name, person)]


def read_table(path: Path, columns: Iterable[str], what: str) -> Table:
    """Read a CSV file in UTF-8 with commas, semicolons or tabs; raise a ConfigError if a column lacks."""
    path, columns, problem = Path(path).resolve(), list(columns), ""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
        for delimiter in ",;\t":
            header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
            table = Table(path, header, [], content.startswith(b"\xef\xbb\xbf"))
            missing = [name for name in columns if table.column(name) is None]
            if not missing:
                break
            problem = problem or f"no column {', '.join(missing)}, but {', '.join(header)[:200] or 'nothing'}"
        else:
            raise ValueError(problem)
        for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            if len(line) > len(header):
                raise ValueError(f"row {len(table.rows) + 1} has more cells than the header: no quotes?")
            if any(cell.strip() for cell in line):
                table.rows.append(line + [""] * (len(header) - len(line)))
        del table.rows[0]
        return table
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"{what} cannot be read.",
            where=path,
            expected=f"a CSV file in UTF-8 with the columns {', '.join(columns)}",
            found=f"{type(error).__name__}: {error}",
            do='Export it again. A spreadsheet keeps names whole with "CSV UTF-8" when it saves.',
        ) from error


def read_roster(path: Path, platform: str) -> Roster:
    """Read the roster of a class; names and ids stay as they are. Raise a ConfigError if it is none."""
    try:
        table = read_table(path, FORMATS[platform], "The roster")
    except ConfigError as error:
        raise error.advising(f"With --format {platform} it is {EXPORTED[platform]}.") from error
    people = {}
    for number, row in enumerate(table.rows):
        if platform == "moodle":
            identifier = row[table.column("Identifier")]
            own = identifier[len(identifier.rstrip("0123456789")) :]
            name = _name(table, row, "Full name", "First name", "Last name") or identifier
        elif platform == "canvas":
            own = row[table.column("ID")].strip()  # the rows above the students have none
            name = _name(table, row, "Student", "FirstName", "LastName")
            if not own:
                continue
        else:
            name, own = (row[table.column(column)] for column in ("name", "id"))
        people[number] = (name, own)
    twice = [own for own, times in Counter(own for _, own in people.values()).items() if times > 1 or not own]
    if twice or not people:
        raise ConfigError(
            "The roster does not tell people apart.",
            where=table.path,
            expected="an id of its own for each person",
            found=f"twice or empty: {', '.join(map(repr, twice[:5]))}" if people else "nobody",
            do=f"Use {EXPORTED[platform]}.",
        )
    return Roster(platform, table, people)


def _name(table: Table, row: list[str], whole: str, *parts: str) -> str:
    """Return a name from one column, or from several where there is none."""
    places = [table.column(whole)] if table.column(whole) is not None else map(table.column, parts)
    return " ".join(row[place] for place in places if place is not None)


def assign(rows: Iterable[Graded], roster: Roster) -> list[Graded]:
    """Return the rows with the person that each belongs to, and a row for each who has handed in nothing.

    A submission that matches nobody, or several, keeps its row and says so; so do two of one person for one
    lesson. A lesson is missing if it was asked for, or if at least half of those who have handed in have it.
    """
    rows = [row for row in rows if row.file or row.feedback]  # not those that another roster has made
    for row in rows:
        found = roster.find(row)
        row.roster = found[0] if len(found) == 1 else None
        people = f"{len(found)} people" if found else "nobody"
        row.roster_problem = "" if row.roster else f"it matches {people} in {roster.table.path.name}"
    told = {(row.roster, row.lesson): row for row in rows if row.roster and not row.file}
    kept = [row for row in rows if row.file or not row.roster]
    times = Counter((row.roster, row.lesson) for row in kept if row.roster and row.lesson)
    for row in kept:
        if (number := times[row.roster, row.lesson]) > 1:
            row.roster_problem = f"{number} notebooks of {row.name} for this lesson"
    have = {row.roster for row in kept if row.roster}
    lessons = Counter(lesson for _, lesson in times)
    wanted = {lesson for lesson, number in lessons.items() if 2 * number >= len(have)}
    wanted |= {row.lesson for row in rows if not row.file and row.lesson}
    like = {row.lesson: row for row in rows}
    for person in roster.people.values():
        lacking = [lesson for lesson in sorted(wanted) if not times[person, lesson]]
        if not lacking and person not in have:
            lacking = [""]
        kept += [told.get((person, lesson)) or _missing(person, lesson, like) for lesson in lacking]
    return sorted(kept, key=lambda row: row.sort_key)


def _missing(person: tuple[str, str], lesson: str, like: Mapping[str, Graded]) -> Graded:
    """Return the row of somebody who has handed in nothing."""
    row = Graded(person[0], lesson, "", "missing", "nothing was handed in", id=person[1], roster=person)
    if lesson in like:
        row.points = {name: (0.0, of) for name, (_, of) in like[lesson].points.items()}
        row.questions = {name: Question(one.title, one.of) for name, one in like[lesson].questions.items()}
    return row
