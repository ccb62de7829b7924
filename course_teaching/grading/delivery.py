"""What a teacher gets of a grading: marks for the roster and the platform, and answers to mark by hand."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from course_teaching.grading.feedback import with_marks
from course_teaching.grading.platforms import canvas_table, feedback_zip, final_mark, moodle_table
from course_teaching.grading.questions import apply_levels, read_marked, to_mark_table
from course_teaching.grading.results import Graded, digest, read_results, write_results
from course_teaching.grading.roster import FORMATS, Roster, assign, read_roster, read_table
from course_teaching.lessons import write_file
from course_utils.errors import ConfigError

OWN = "delivered.json"  # SHA-256 of what was written, so that it is known from what a teacher has changed


@dataclass(frozen=True)
class Delivery:
    """What was read before anything runs."""

    format: str
    roster: Roster | None
    marked: dict[str, tuple[int | None, str]]  # level and comment of each answer, by its key
    files: set[Path]  # where they came from


def read_delivery(
    output: Path, platform: str = "csv", roster: Path | None = None, marked: Iterable[Path] = ()
) -> Delivery:
    """Read the roster and what a person has marked, for `write_marks`.

    Args:
        output: The folder of the grading.
        platform: "moodle", "canvas" or "csv".
        roster: The CSV file of the class, as the platform exports it; for csv, with the columns name and id.
        marked: Tables such as to_mark.csv, with levels.

    Raises:
        ConfigError: If one of them cannot be used, or a file that would be written is somebody else's.
    """
    if platform not in FORMATS or (platform != "csv" and roster is None):
        raise ConfigError(
            "The marks cannot be written for that platform.",
            where=f"--format {platform}",
            expected=f"{', '.join(FORMATS)}; for Moodle and Canvas with --roster, the file that they export",
            found="no roster" if platform in FORMATS else repr(platform),
            do="Download the roster, and name it with --roster.",
        )
    files = {Path(path).resolve() for path in marked}
    found = read_roster(roster, platform) if roster is not None else None
    delivery = Delivery(platform, found, read_marked(sorted(files)), files)
    apply_levels(read_results(output), delivery.marked)
    for name in _names(platform):
        if not _is_own(output, name):
            raise ConfigError(
                "The marks cannot be written there.",
                where=output / name,
                expected="no such file, or one that this command has written",
                found="one that was changed since",
                do="Move it elsewhere, or choose another folder with --output.",
            )
    return delivery


def write_marks(output: Path, delivery: Delivery) -> tuple[list[Graded], list[str]]:
    """Write what belongs to a grading, and return its rows and what the teacher should know.

    `marks.csv` and the pages get the people of the roster and the levels; `to_mark.csv` the answers that wait
    for one; for Moodle and Canvas, there are a table and a zip file to upload.
    """
    output, rows, told = Path(output).resolve(), read_results(output), []
    unknown = apply_levels(rows, delivery.marked)
    if unknown:
        told.append(
            f"{len(unknown)} marked answers are none of these; a changed answer has to be marked again"
        )
    if delivery.roster:
        rows = assign(rows, delivery.roster)
    for row in rows:
        if row.feedback and row.questions:
            page = (output / row.feedback).read_text(encoding="utf-8")
            if (new := with_marks(page, row)) != page:
                write_file(output / row.feedback, new, ConfigError)
    write_results(output, rows)
    told += _write_to_mark(output, rows, delivery)
    if delivery.format != "csv":
        names = _names(delivery.format)
        table = moodle_table if delivery.format == "moodle" else canvas_table
        content, more = table(rows, delivery.roster)
        pages, left = feedback_zip(rows, output, delivery.format)
        told += [*more, *left]
        for name, data in zip(names, (content, pages), strict=True):
            _write_own(output, name, data)
        without = [f"{row.name} {row.lesson}" for row in rows if row.file and final_mark(row) is None]
        if without:
            told.append(f"no mark yet in {names[0]}: {', '.join(without)}")
    return rows, told


def _names(platform: str) -> list[str]:
    return [f"marks_{platform}.csv", f"feedback_{platform}.zip"] if platform != "csv" else []


def _write_to_mark(output: Path, rows: list[Graded], delivery: Delivery) -> list[str]:
    """Write the answers that wait, beside tables that somebody has begun to fill in, and say what is left."""
    told, number, listed = [], 1, set()
    while not _is_own(output, name := f"to_mark{f'-{number}' * (number > 1)}.csv"):
        path, number = output / name, number + 1
        with suppress(ConfigError):  # what cannot be read there is listed once more
            table = read_table(path, ("key",), "The marked questions")
            listed |= {row[table.column("key")] for row in table.rows}
        if path.resolve() not in delivery.files:
            told.append(f"{name} was changed, and does not count: name it with --marked")
    open_keys = {one.key for row in rows for one in row.unmarked}
    if open_keys - listed or (output / name).exists():
        _write_own(output, name, to_mark_table(rows, without=listed))
    return told


def _is_own(output: Path, name: str) -> bool:
    """Return whether a file is not there, or is as `_write_own` has written it."""
    path = output / name
    return not path.exists() or digest(path.read_bytes()) in _written(output).get(name, [])


def _write_own(output: Path, name: str, content: bytes) -> None:
    """Write a file, and before that what it will be known by."""
    written = _written(output)
    written[name] = sorted({*written.get(name, []), digest(content)})
    write_file(output / OWN, json.dumps(written), ConfigError)
    write_file(output / name, content, ConfigError)


def _written(output: Path) -> dict[str, list[str]]:
    try:
        return json.loads((output / OWN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
