"""Submissions: folders, notebooks and zip files, and the lesson that each notebook belongs to.

Zip files are read where they lie: nothing of them is written to a disk.
"""

import hashlib
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nbformat import NotebookNode

from course_teaching.grading.answers import (
    PlacedCells,
    UnreadableError,
    fill_in,
    lesson_by_cells,
    place_cells,
    read_cells,
)
from course_teaching.grading.exports import NOTEBOOK_BYTES, ZIP_BYTES, exported_as, is_ignored
from course_utils.errors import ConfigError

ZIP_NOTEBOOKS = 50
# What somebody may have taken for a notebook.
OTHER_KINDS = (".7z", ".docx", ".gz", ".html", ".pdf", ".py", ".rar", ".tar", ".tgz", ".txt")


@dataclass
class Submission:
    """One notebook of one student, or the lack of it."""

    student: str
    path: Path | None  # the notebook, or the zip file that it lies in; None: nothing was handed in
    member: str = ""  # the notebook's name in the zip file
    lesson: str = ""  # the name of the solution, 03_replace_the_head; "" if it belongs to none
    notebook: NotebookNode | None = None  # the solution with the student's answers
    problem: str = ""  # why it cannot be graded
    note: str = ""  # what the teacher should know and need not act on
    digest: str = ""  # SHA-256 of the notebook's bytes, as far as they could be read
    file: str = ""  # its name below the folder, with that of the zip file that it lies in
    id: str = ""  # of the student, where Moodle or Canvas has put it into the file's name

    @property
    def person(self) -> tuple[str, str]:
        """What tells students apart."""
        return as_one_name(self.student), self.id


def find_submissions(
    folder: Path, solutions: Mapping[str, NotebookNode], lessons: Iterable[str] = ()
) -> list[Submission]:
    """Return what was handed in, in the order of the students and lessons.

    A student is a folder, or a notebook or zip file that lies in `folder` itself, or all that an export of
    Moodle or Canvas gives the same id. Whoever lacks one of `lessons` is listed without a path; if none are
    named, whoever lacks a lesson that at least half of the students have handed in. Raise a ConfigError if
    the folder cannot be read, or nothing lies in it.
    """
    folder, lessons, problem = Path(folder).resolve(), list(lessons), "no folder, no .ipynb and no .zip file"
    try:
        entries = sorted(entry for entry in folder.iterdir() if not is_ignored(entry.name))
    except OSError as error:
        entries, problem = [], f"{type(error).__name__}: {error}"
    found, empty, students = [], {}, defaultdict(list)
    for entry in entries:
        student, number, _ = exported_as(entry.name)
        if entry.is_dir() and not entry.is_symlink():
            students[student or entry.name, number] += _files_below(entry)
        elif number:
            students[student, number].append(entry)
        else:
            found += _opened(_student_of(entry, solutions), entry)
            if entry.suffix.lower() in OTHER_KINDS:
                other = f"it is not a notebook but a {entry.suffix} file"
                found.append(Submission(_student_of(entry, solutions), entry, problem=other))
    for (student, number), paths in students.items():
        own = [one for path in paths for one in _opened(student, path)]
        for one in own:
            one.id = number
        # Beside a notebook, a zip file without one is some data.
        found += [one for one in own if not one.problem] or own
        if not own:
            names = [exported_as(path.name)[2] for path in paths]
            problem = f"no notebook was handed in, but {_listed(names)}" if names else ""
            empty[student, number] = problem or "nothing was handed in"
    if not found and not empty:
        raise ConfigError(
            "There are no submissions.",
            where=folder,
            expected="a folder with one folder or one notebook for each student",
            found=problem,
            do="Name the folder that holds the students' folders, or the zip file of the whole class.",
        )
    for submission in found:
        _read(submission, solutions)
        name = submission.path.relative_to(folder).as_posix()
        submission.file = f"{name}: {submission.member}" if submission.member else name
    missing = _missing(found, empty, lessons)
    found = [one for one in found if not lessons or one.lesson in ("", *lessons)] + missing
    counted = Counter((one.person, one.lesson) for one in found if one.lesson)
    for one in found:
        if (times := counted[one.person, one.lesson]) > 1:
            note = f"duplicate: {times} notebooks of this name for this lesson"
            one.note = f"{one.note}; {note}" if one.note else note
    return sorted(found, key=lambda one: (one.person, one.lesson, one.file))


def _files_below(folder: Path) -> list[Path]:
    """Return the files anywhere in a student's folder; links to folders are not followed."""
    paths = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_ignored(name)]
        paths += [Path(place) / name for name in names if not is_ignored(name)]
    return sorted(paths)


def _opened(student: str, path: Path) -> list[Submission]:
    """Return the submission that a file is, or those in a zip file; none if it is neither."""
    if path.suffix.lower() == ".ipynb":
        return [Submission(student, path)]
    if path.suffix.lower() != ".zip":
        return []
    try:
        return [Submission(student, path, member) for member in _notebooks_in(path)]
    except UnreadableError as error:
        return [Submission(student, path, problem=str(error))]


def _notebooks_in(path: Path) -> list[str]:
    """Return the names of the notebooks in a zip file, which is not unpacked."""
    _check_file(path, ZIP_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UnreadableError(f"it is not a zip file that can be read: {error}") from error
    parts = {name: [part for part in name.split("/") if part.strip(".")] for name in names}
    notebooks = [name for name in names if name.endswith(".ipynb") and not any(map(is_ignored, parts[name]))]
    if not notebooks:
        raise UnreadableError(f"the zip file has no notebook in it, but {_listed(names)}")
    if len(set(notebooks)) < len(notebooks) or len(notebooks) > ZIP_NOTEBOOKS:
        problem = f"the zip file has {len(notebooks)} notebooks in it, too many or twice the same"
        raise UnreadableError(problem)
    return sorted(notebooks)


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:60] for name in names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown or "nothing"


def _student_of(path: Path, solutions: Mapping[str, NotebookNode]) -> str:
    """Return the student's name in a file name such as anna_03_replace_the_head.ipynb."""
    for lesson in solutions:
        if path.stem.endswith(lesson):
            return path.stem.removesuffix(lesson).strip(" _-") or path.stem
    return path.stem


def _read(submission: Submission, solutions: Mapping[str, NotebookNode]) -> None:
    """Find out which lesson a notebook belongs to, and put its answers into that lesson's solution."""
    name = PurePosixPath(submission.member or exported_as(submission.path.name)[2])
    stem = re.sub(r"(-\d+| ?\(\d+\))$", "", name.stem)  # of a second attempt, or a second download
    named = submission.lesson = _lesson_by_name(stem, solutions)
    if submission.problem:
        return
    try:
        content = _content(submission.path, submission.member)
        submission.digest = hashlib.sha256(content).hexdigest()
        cells = read_cells(content)
        lesson = submission.lesson = lesson_by_cells(cells, solutions, named)
        if not lesson:
            raise UnreadableError("it belongs to no exercise: neither its name nor its cells are known")
        placed = place_cells(solutions[lesson], cells)
        submission.notebook = fill_in(solutions[lesson], placed)
        submission.note = _note(placed, lesson, named)
    except UnreadableError as error:
        submission.problem = str(error)


def _note(placed: PlacedCells, lesson: str, named: str) -> str:
    """Return what a teacher should know about a notebook that is not as it was handed out."""
    notes = []
    if named and named != lesson:
        notes.append(f"it is named {named}, but has the cells of {lesson}: graded as {lesson}")
    if not placed.answers:
        notes.append("none of its cells is one of the exercise: they were run before it")
    for number, by in ((placed.by_id, "cell id"), (placed.by_place, "place between other cells")):
        if number:
            notes.append(f"{number} of its answers had lost their metadata: found by {by}")
    return "; ".join(notes)


def _lesson_by_name(stem: str, solutions: Mapping[str, NotebookNode]) -> str:
    exact = [lesson for lesson in solutions if stem.endswith(lesson)]
    number = re.match(r"\d\d_", stem)
    names = exact or [lesson for lesson in solutions if number and lesson.startswith(number[0])]
    return names[0] if len(names) == 1 else ""


def _check_file(path: Path, most: int) -> None:
    # Neither a link, which could lead anywhere, nor a pipe, which never ends.
    try:
        status = path.lstat()
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("it is not a file but a link or a device")
    if status.st_size > most:
        size = f"{status.st_size / 1e6:.0f} MB, and {most / 1e6:.0f} MB are the most"
        raise UnreadableError(f"it is too large: {size}")


def _content(path: Path, member: str) -> bytes:
    """Return the bytes of a notebook, or of a notebook in a zip file, which are never more than allowed."""
    _check_file(path, ZIP_BYTES if member else NOTEBOOK_BYTES)
    try:
        if not member:
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            # Other ways to pack may ask for memory without end.
            if archive.getinfo(member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UnreadableError("the zip file is packed in an uncommon way")
            with archive.open(member) as file:
                content = file.read(NOTEBOOK_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        # A RuntimeError is a password that is wanted.
        raise UnreadableError(f"it cannot be read from the zip file: {str(error)[:120]}") from error
    if len(content) > NOTEBOOK_BYTES:
        raise UnreadableError(f"it is too large: {NOTEBOOK_BYTES / 1e6:.0f} MB are the most")
    return content


def as_one_name(name: str) -> str:
    """Return a student's name such that spellings that look the same are the same."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _missing(
    found: list[Submission], empty: Mapping[tuple[str, str], str], lessons: list[str]
) -> list[Submission]:
    """Return a row for each lesson that a student lacks, of those wanted; if none are, of the usual ones."""
    students = {one.person: (one.student, "") for one in found}
    students.update({(as_one_name(name), number): (name, empty[name, number]) for name, number in empty})
    there = {(one.person, one.lesson) for one in found}
    handed_in = Counter(lesson for _, lesson in there if lesson)
    usual = sorted(lesson for lesson, times in handed_in.items() if 2 * times >= len(students))
    missing = []
    for person, (student, problem) in students.items():
        lacking = [lesson for lesson in lessons or usual if (person, lesson) not in there]
        if not lacking and not lessons and problem:
            lacking = [""]
        problem = problem or "nothing was handed in"
        missing += [
            Submission(student, None, "", lesson, problem=problem, id=person[1]) for lesson in lacking
        ]
    return missing
