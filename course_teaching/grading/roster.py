"""Rosters: read the students of a class from a platform's export, and assign submissions to them."""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from course_teaching.grading.submissions import Submission
from course_utils.errors import ConfigError

# Names of these columns in Moodle's grading worksheet (in English), Canvas's gradebook and other tables.
IDS, NAMES = ("Identifier", "ID"), ("Full name", "Student", "Name")


def as_one_name(name: str) -> str:
    """Return a name in one normal form, so that spellings that look the same are equal."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def read_table(path: Path, what: str, *columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a CSV file in UTF-8 with any delimiter; return its rows by their columns in lower case.

    Raise a ConfigError if it cannot be read, or lacks one of the columns, each given by its possible names.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="", strict=True)
        table.fieldnames = [name.strip().casefold() for name in table.fieldnames or ()]
        if not all(any(name.casefold() in table.fieldnames for name in names) for names in columns):
            raise ValueError(f"a file that begins with {text[:100]!r}")
        rows = [row for row in table if any(row.values())]
        if wrong := [number for number, row in enumerate(rows, 2) if None in row]:
            raise ValueError(f"row {wrong[0]} has more cells than the header: no quotes?")
        return rows
    except (OSError, ValueError, csv.Error) as error:
        wanted = " and ".join(" or ".join(names) for names in columns)
        raise ConfigError(
            f"{what} cannot be read.",
            where=path,
            expected=f"a CSV file in UTF-8 with the columns {wanted}",
            found=f"{type(error).__name__}: {error}",
            do='Export it again. A spreadsheet keeps names whole if it saves as "CSV UTF-8".',
        ) from error


def read_roster(path: Path) -> dict[str, str]:
    """Return the names of a class by their ids.

    Raise a ConfigError if it is not such a table, or if its ids are not unique.
    """
    people, twice = {}, []
    for row in read_table(path, "The roster", IDS, (*NAMES, "First name")):
        own = next(row[name.casefold()] for name in IDS if name.casefold() in row).strip()
        own = re.search(r"\d*$", own)[0] if "identifier" in row else own  # Participant 1234567
        parts = [row[name] for name in ("first name", "last name") if name in row]
        name = next((row[name.casefold()] for name in NAMES if name.casefold() in row), " ".join(parts))
        if not own and "sis user id" in row:
            continue  # Canvas has rows without an id above the students
        twice += [own] if own in people or not own else []
        people[own] = name
    if twice or not people:
        raise ConfigError(
            "The roster needs a unique id for each person.",
            where=path,
            expected="an id of its own for each person",
            found=f"twice or empty: {', '.join(map(repr, twice[:5]))}" if people else "nobody",
            do="Export it again, in the platform's own format, or with the columns name and id.",
        )
    return people


def assign(found: list[Submission], lessons: list[str], roster: Path | None) -> list[Submission]:
    """Give submissions the names of a roster, and add one for each of `lessons` that a person lacks.

    A submission belongs to the one person with its id, or else with its exact name. If it matches no person
    or several, its `doubt` says so and it keeps its name; two submissions of one person for one lesson are
    also in doubt. Without `lessons`, only a person who handed in nothing at all gets an added one.
    """
    people = read_roster(roster) if roster else {}
    # If the roster has the platform's ids, an id that is not in it belongs to another person.
    has_ids = any(one.id in people for one in found)
    for one in found if roster else []:
        key, names = as_one_name(one.student), {} if one.id and has_ids else people
        ids = [own for own, name in names.items() if key in (as_one_name(name), own.casefold())]
        ids = [one.id] if one.id in people else ids
        if len(ids) == 1:
            one.student, one.id = people[ids[0]], ids[0]
        else:
            one.doubt = f"it matches {len(ids) or 'no'} people in {Path(roster).name}"
    nothing = [Submission(name, own, problem="nothing was handed in") for own, name in people.items()]
    known = {_person(one): one for one in [*nothing, *found] if not one.doubt}
    rows = [one for one in found if one.file]
    times = Counter((_person(one), one.lesson) for one in rows if one.lesson and not one.doubt)
    for one in rows:
        if not one.doubt and (number := times[_person(one), one.lesson]) > 1:
            one.doubt = f"{number} notebooks of {one.student} for this lesson"
    for person, one in known.items():
        for lesson in lessons or ([] if one.file else [""]):
            if not times[person, lesson]:
                problem = "nothing was handed in" if one.file else one.problem
                rows.append(Submission(one.student, one.id, lesson=lesson, problem=problem))
    return rows


def _person(one: Submission) -> tuple[str, str]:
    return as_one_name(one.student), one.id
