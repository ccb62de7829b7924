"""Submissions: read the notebooks of a class from a folder or a zip file, and find the lesson of each."""

import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nbformat import NotebookNode

from course_teaching.grading.answers import UnreadableError, fill_in, lesson_by_cells, read_cells
from course_utils.errors import ConfigError

NOTEBOOK_BYTES = 20_000_000
# Of the unpacked files of a class, and of one student's zip file.
CLASS_BYTES, ZIP_BYTES = 4_000_000_000, 200_000_000
IGNORED_FOLDERS = (".ipynb_checkpoints", "__MACOSX")
# Full Name_1234567_assignsubmission_file_, followed by the file's name where a student has no folder.
MOODLE = re.compile(r"(?P<name>[^_]*)_(?P<id>\d+)_assignsubmission_[a-z]+(?:_(?P<rest>.*))?", re.DOTALL)
# lastnamefirstname_LATE_userid_attachmentid_name.ipynb, always a file.
CANVAS = re.compile(r"(?P<name>\w+?)(?:_LATE)?_(?P<id>[1-9]\d*)_[1-9]\d*_(?P<rest>.+\.\w+)", re.DOTALL)
# The errors that a damaged, encrypted or unusual zip file raises.
ZIP_ERRORS = (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass
class Submission:
    """One notebook of one student, or a missing one."""

    student: str
    id: str = ""  # of the student, if Moodle or Canvas has put it into the file's name
    file: str = ""  # the notebook's path in the folder or zip file; "" if nothing was handed in
    lesson: str = ""  # the name of the solution, 03_replace_the_head; "" if it belongs to none
    notebook: NotebookNode | None = None  # the solution with the student's answers
    problem: str = ""  # why it cannot be graded
    note: str = ""  # for the teacher, who need not act on it
    doubt: str = ""  # why it may be another student's, or not the one to count


def find_submissions(place: Path, solutions: Mapping[str, NotebookNode]) -> list[Submission]:
    """Return all submissions, in the order of students and files.

    A student is a folder, a notebook or zip file next to the folders, or all files with the same id in an
    export of Moodle or Canvas. Zip files are unpacked into a private folder, which is removed at the end.

    Args:
        place: A folder, or a zip file of one.
        solutions: The solution notebooks by their names.

    Raises:
        ConfigError: If the folder or zip file cannot be read, or there is nothing in it.
    """
    folder, found, students = Path(place).resolve(), [], defaultdict(dict)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            if folder.is_file():
                folder = _unpack(folder, Path(temporary, "class"), CLASS_BYTES)
            for entry in sorted(path for path in folder.iterdir() if not _is_ignored(path.name)):
                student, number, _ = exported_as(entry.name)
                if entry.is_dir() and not entry.is_symlink():
                    students[student or entry.name, number] |= _files_below(entry, entry.name)
                elif number or entry.suffix.lower() in (".ipynb", ".zip"):
                    students[student or _student_of(entry.stem, solutions), number][entry.name] = entry
            if not students:
                raise ValueError("no folder, no .ipynb and no .zip file")
        except ZIP_ERRORS as error:
            raise ConfigError(
                "There are no submissions.",
                where=place,
                expected="a folder or a zip file, up to 4 GB, with a folder or a notebook for each student",
                found=f"{type(error).__name__}: {error}",
                do="Name the folder that holds the students' folders, or the zip file of the whole class.",
            ) from error
        for (student, number), files in sorted(students.items()):
            own = _read_student(files, Path(temporary), solutions)
            for one in own:
                one.student, one.id = student, number
            found += own
    return found


def exported_as(name: str) -> tuple[str, str, str]:
    """Return student, id and the file's own name, of a name that Moodle or Canvas gave; else "", "", name."""
    found = MOODLE.fullmatch(name) or CANVAS.fullmatch(name)
    return (found["name"], found["id"], found["rest"] or "") if found else ("", "", name)


def _unpack(path: Path, folder: Path, most: int) -> Path:
    """Unpack a zip file, which Python keeps within the folder and free of links."""
    with zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > most:
            raise ValueError(f"{total / 1e9:.1f} GB, and {most / 1e9:.1f} GB are the most")
        archive.extractall(folder)
    return folder


def _is_ignored(name: str) -> bool:
    """Return whether a file or folder is not a student's: hidden, or written by Jupyter or macOS."""
    return name.startswith(".") or name in IGNORED_FOLDERS


def _files_below(folder: Path, name: str) -> dict[str, Path]:
    """Return the files anywhere in a folder, by their names below it; links to folders are not followed."""
    files = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not _is_ignored(one))
        paths = [Path(place, one) for one in sorted(names) if not _is_ignored(one)]
        files |= {f"{name}/{path.relative_to(folder).as_posix()}": path for path in paths}
    return files


def _read_student(
    files: Mapping[str, Path], temporary: Path, solutions: Mapping[str, NotebookNode]
) -> list[Submission]:
    """Return a student's notebooks, including those in zip files; without any, a submission that says why."""
    files, broken = dict(files), []
    for name, path in [*files.items()]:
        if path.suffix.lower() == ".zip":
            try:
                _check_file(path, ZIP_BYTES)
                inside = _unpack(path, Path(tempfile.mkdtemp(dir=temporary)), ZIP_BYTES)
                files |= _files_below(inside, name)
            except (UnreadableError, *ZIP_ERRORS) as error:
                problem = f"it is not a zip file that can be read: {str(error)[:120]}"
                broken.append(Submission("", file=name, problem=problem))
    found = [_read(name, path, solutions) for name, path in files.items() if path.suffix.lower() == ".ipynb"]
    names = [exported_as(name)[2] if "/" not in name else name.partition("/")[2] for name in files]
    names = ", ".join(name[:60] for name in names[:4]) + f" and {len(names) - 4} more" * (len(names) > 4)
    problem = f"no notebook was handed in, but {names}" if names else "nothing was handed in"
    return found or broken or [Submission("", problem=problem)]


def _student_of(stem: str, solutions: Mapping[str, NotebookNode]) -> str:
    """Return the student's name in a file name such as anna_03_replace_the_head.ipynb."""
    lesson = next((lesson for lesson in solutions if stem.endswith(lesson)), "")
    return stem.removesuffix(lesson).strip(" _-") or stem


def _check_file(path: Path, most: int) -> None:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):  # a link could lead anywhere, and a pipe never ends
        raise UnreadableError("it is not a file but a link or a device")
    if status.st_size > most:
        size = f"{status.st_size / 1e6:.0f} MB, and {most / 1e6:.0f} MB are the most"
        raise UnreadableError(f"it is too large: {size}")


def _read(name: str, path: Path, solutions: Mapping[str, NotebookNode]) -> Submission:
    """Find the lesson that a notebook belongs to, and put its answers into that lesson's solution."""
    own_name = PurePosixPath(name).name if "/" in name else exported_as(name)[2]
    # Remove the number of a second attempt or download.
    named = _lesson_by_name(re.sub(r"(-\d+| ?\(\d+\))$", "", PurePosixPath(own_name).stem), solutions)
    one = Submission("", file=name, lesson=named)
    try:
        _check_file(path, NOTEBOOK_BYTES)
        cells = read_cells(path.read_bytes())
        one.lesson = lesson_by_cells(cells, solutions, named)
        if not one.lesson:
            raise UnreadableError("it belongs to no exercise: neither its name nor its cells are known")
        one.notebook, one.note = fill_in(solutions[one.lesson], cells)
        if named and named != one.lesson:
            one.note = f"it is named {named}, but has the cells of {one.lesson}: graded as {one.lesson}"
    except UnreadableError as error:
        one.problem = str(error)
    except OSError as error:
        one.problem = f"it cannot be read: {error.strerror or error}"
    return one


def _lesson_by_name(stem: str, solutions: Mapping[str, NotebookNode]) -> str:
    exact = [lesson for lesson in solutions if stem.endswith(lesson)]
    number = re.match(r"\d\d_", stem)
    names = exact or [lesson for lesson in solutions if number and lesson.startswith(number[0])]
    return names[0] if len(names) == 1 else ""
