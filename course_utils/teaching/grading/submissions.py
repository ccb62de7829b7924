"""What did the students hand in, and which of it do they answer for?

A submission gives its answers, and the cells that the student added. Everything else - tests, set-up, text -
comes from the solution notebook, so that nothing is gained by changing or deleting it. Zip files are read
where they lie: nothing of them is written to a disk.
"""

import copy
import hashlib
import json
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from course_utils.errors import ConfigError
from course_utils.teaching.grading.feedback import FURTHER_TESTS, split_hidden

NOTEBOOK_BYTES, NOTEBOOK_CELLS = 20_000_000, 2_000
ZIP_BYTES, ZIP_NOTEBOOKS = 100_000_000, 50
# What somebody may have taken for a notebook.
OTHER_KINDS = (".7z", ".docx", ".gz", ".html", ".pdf", ".py", ".rar", ".tar", ".tgz", ".txt")
IGNORED_FOLDERS = (".ipynb_checkpoints", "__MACOSX")


class UnreadableError(Exception):
    """A submission is not a notebook that can be graded; the message says why."""


@dataclass
class Submission:
    """One notebook of one student, or the lack of it."""

    student: str
    path: Path | None
    """The notebook, or the zip file that it lies in. None: nothing was handed in."""
    member: str = ""
    """The notebook's name in the zip file."""
    lesson: str = ""
    """The name of the solution, for example 03_replace_the_head; "" if it belongs to none."""
    notebook: NotebookNode | None = None
    """The solution with the student's answers."""
    problem: str = ""
    """Why it cannot be graded."""
    note: str = ""
    """What the teacher should know and need not act on."""
    digest: str = ""
    """SHA-256 of the notebook's bytes, as far as they could be read."""

    @property
    def stem(self) -> str:
        """The notebook's name without folders and .ipynb."""
        return PurePosixPath(self.member or self.path.name).stem


@dataclass
class Placed:
    """Where a student's cells belong in the solution."""

    answers: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """For the number of a solution's cell, what the student has in its place."""
    added: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """For the number of a solution's cell, -1 before all, the cells that the student has added behind it."""
    by_id: int = 0
    """Answers without nbgrader's metadata that were found by their cell id."""
    by_place: int = 0
    """Answers that were found only between the cells that stand around them."""


def read_solutions(folder: Path) -> dict[str, NotebookNode]:
    """Return the solution notebooks of a folder by their names without .ipynb.

    Raises:
        ConfigError: If the folder has no notebook, or one of them has no test that gives points.
    """
    folder = Path(folder).resolve()
    solutions = {path.stem: nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb"))}
    untested = [name for name, notebook in solutions.items() if not any(map(_is_graded, notebook.cells))]
    if untested or not solutions:
        raise ConfigError(
            "There is nothing to grade with.",
            where=folder,
            expected="solution notebooks with test cells that give points",
            found=f"none in {', '.join(untested)}" if untested else "no notebook",
            do="Name the folder of the solutions with --solutions.",
        )
    return solutions


def asked_lessons(names: Iterable[str], solutions: Mapping[str, NotebookNode]) -> list[str]:
    """Return the lessons with these names or numbers, such as 03.

    Raises:
        ConfigError: If there is no such lesson.
    """
    asked = []
    for name in names:
        fitting = [lesson for lesson in solutions if name in (lesson, lesson.split("_")[0])]
        if not fitting:
            raise ConfigError(
                "There is no exercise of that lesson.",
                where="--lesson",
                expected=f"one of {', '.join(solutions)}, or its number",
                found=repr(name),
                do="Leave --lesson out to grade all that was handed in.",
            )
        asked += fitting
    return asked


def find_submissions(
    folder: Path, solutions: Mapping[str, NotebookNode], lessons: Iterable[str] = ()
) -> list[Submission]:
    """Return what was handed in, in the order of the students and lessons.

    A student is a folder, or a notebook or zip file that lies in `folder` itself. Who lacks one of
    `lessons` is listed without a path; if none are named, who lacks a lesson that at least half of the
    students have handed in.

    Args:
        folder: The submissions.
        solutions: What `read_solutions` gave.
        lessons: The lessons that are wanted, by their names in `solutions`; all, if there are none.

    Raises:
        ConfigError: If the folder cannot be read, or nothing lies in it.
    """
    folder = Path(folder).resolve()
    try:
        entries = sorted(entry for entry in folder.iterdir() if not _is_ignored(entry))
    except OSError as error:
        raise _nothing_handed_in(folder, f"{type(error).__name__}: {error}") from error
    found, empty = [], {}
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            paths = _files_below(entry)
            own = [one for path in paths for one in _opened(entry.name, path)]
            # Beside a notebook, a zip file without one is some data.
            found += [one for one in own if not one.problem] or own
            if not own:
                names = [str(path.relative_to(entry)) for path in paths]
                empty[entry.name] = f"no notebook was handed in, but {_listed(names)}" if names else ""
        elif entry.suffix.lower() in (".ipynb", ".zip"):
            found += _opened(_student_of(entry, solutions), entry)
        elif entry.suffix.lower() in OTHER_KINDS:
            problem = f"it is no notebook but a {entry.suffix} file"
            found.append(Submission(_student_of(entry, solutions), entry, problem=problem))
    if not found and not empty:
        raise _nothing_handed_in(folder, "no folder, no .ipynb and no .zip file")
    for submission in found:
        _read(submission, solutions)
    lessons = list(lessons)
    missing = _missing(found, empty, lessons)
    found = [one for one in found if not lessons or one.lesson in ("", *lessons)] + missing
    _note_duplicates(found)
    return sorted(found, key=lambda one: (as_one_name(one.student), one.lesson, str(one.path), one.member))


def _nothing_handed_in(folder: Path, found: str) -> ConfigError:
    return ConfigError(
        "There are no submissions.",
        where=folder,
        expected="a folder with one folder or one notebook for each student",
        found=found,
        do="Name the folder that holds the students' folders; unpack it first if it is a zip file.",
    )


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name in IGNORED_FOLDERS


def _files_below(folder: Path) -> list[Path]:
    """Return the files anywhere in a student's folder; links to folders are not followed."""
    paths = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_ignored(Path(name)))
        paths += [Path(place) / name for name in names]
    return sorted(path for path in paths if not _is_ignored(path))


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
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UnreadableError(f"it is not a zip file that can be read: {error}") from error
    names = [member.filename for member in members]
    notebooks = [name for name in names if name.endswith(".ipynb") and not _is_ignored_member(name)]
    if not notebooks:
        raise UnreadableError(f"the zip file has no notebook in it, but {_listed(names)}")
    if len(set(notebooks)) < len(notebooks) or len(notebooks) > ZIP_NOTEBOOKS:
        raise UnreadableError(
            f"the zip file has {len(notebooks)} notebooks in it, too many or twice the same"
        )
    return sorted(notebooks)


def _is_ignored_member(name: str) -> bool:
    return any(_is_ignored(Path(part)) for part in PurePosixPath(name).parts if part not in ("/", "..", "."))


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
    named = submission.lesson = _lesson_by_name(submission.stem, solutions)
    if submission.problem:
        return
    try:
        content = _content(submission.path, submission.member)
        submission.digest = hashlib.sha256(content).hexdigest()
        cells = _cells_of(content)
        lesson = submission.lesson = _lesson_by_cells(cells, solutions, named)
        if not lesson:
            raise UnreadableError("it belongs to no exercise: neither its name nor its cells are known")
        placed = place_cells(solutions[lesson], cells)
        submission.notebook = _filled(solutions[lesson], placed)
        submission.note = _told(placed, lesson, named)
    except UnreadableError as error:
        submission.problem = str(error)


def _told(placed: Placed, lesson: str, named: str) -> str:
    """Return what a teacher should know about a notebook that is not as it was handed out."""
    told = []
    if named and named != lesson:
        told.append(f"it is named {named}, but has the cells of {lesson}: graded as {lesson}")
    if not placed.answers:
        told.append("none of its cells is one of the exercise: they were run before it")
    for number, by in ((placed.by_id, "cell id"), (placed.by_place, "place between other cells")):
        if number:
            told.append(f"{number} of its answers had lost their metadata: found by {by}")
    return "; ".join(told)


def _lesson_by_name(stem: str, solutions: Mapping[str, NotebookNode]) -> str:
    exact = [lesson for lesson in solutions if stem.endswith(lesson)]
    number = re.match(r"\d\d(?=_)", stem)
    same_number = [lesson for lesson in solutions if number and lesson.startswith(number[0] + "_")]
    names = exact or same_number
    return names[0] if len(names) == 1 else ""


def _lesson_by_cells(cells: list[dict], solutions: Mapping[str, NotebookNode], named: str) -> str:
    """Return the lesson that most of the cells are known from; the one of the file's name if none is."""
    keys = {lesson: _known_keys(notebook).keys() for lesson, notebook in solutions.items()}
    times = Counter(key for known in keys.values() for key in known)
    own = {key for cell in cells for key in _keys(cell) if times[key] == 1}
    shared = {lesson: len(own & known) for lesson, known in keys.items()}
    best = max(shared, key=lambda lesson: (shared[lesson], lesson == named))
    return best if shared[best] else named


def _keys(cell: Mapping) -> list[tuple[str, str]]:
    """Return what a cell can be known by, the surest first."""
    keys = [(kind, cell[kind]) for kind in ("grade_id", "id", "text")]
    return [(kind, value) for kind, value in keys if value]


def _known_keys(solution: NotebookNode) -> dict[tuple[str, str], int]:
    """Return the cells of a solution by what a student's version of them can be known by."""
    known = {}
    for number, cell in enumerate(solution.cells):
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        text = "" if _is_answer(cell) else split_hidden(cell.source)[0].replace(FURTHER_TESTS, "").strip()
        for key in _keys({"grade_id": grade_id, "id": cell.get("id"), "text": text}):
            known.setdefault(key, number)
    return known


def _check_file(path: Path, most: int) -> None:
    # Neither a link, which could lead anywhere, nor a pipe, which never ends.
    try:
        status = path.lstat()
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("it is not a file but a link or a device")
    if status.st_size > most:
        raise UnreadableError(
            f"it is too large: {status.st_size / 1e6:.0f} MB, and {most / 1e6:.0f} MB are the most"
        )


def _content(path: Path, member: str = "") -> bytes:
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


def read_cells(path: Path) -> list[dict]:
    """Read what is needed of a notebook that may be anything: type, source, grade_id and id of its cells.

    Raises:
        UnreadableError: If it is not a notebook, or too large.
    """
    return _cells_of(_content(path))


def _cells_of(content: bytes) -> list[dict]:
    try:
        content = json.loads(content.decode("utf-8-sig"))
        if isinstance(content, dict) and content.get("nbformat", 4) < 4:
            content = nbformat.convert(nbformat.from_dict(content), 4)
        cells = [_read_cell(cell) for cell in content["cells"]]
    except (ValueError, RecursionError) as error:
        told = " ".join(str(error).split())[:120]
        raise UnreadableError(f"it is not a notebook: {type(error).__name__}: {told}") from error
    except Exception as error:  # JSON, and yet no notebook
        raise UnreadableError(
            "it is not a notebook: it has no cells, or not such as a notebook has"
        ) from error
    if not cells or len(cells) > NOTEBOOK_CELLS:
        raise UnreadableError(f"it has {len(cells)} cells")
    return cells


def _read_cell(cell: Mapping) -> dict:
    source = cell["source"]
    text = source if isinstance(source, str) else "".join(source)
    # Half of a pair of surrogates is a text to JSON, but nothing that can be written to a file.
    text = text.encode("utf-8", "replace").decode("utf-8")
    names = {
        "grade_id": cell.get("metadata", {}).get("nbgrader", {}).get("grade_id"),
        "id": cell.get("id"),
    }
    known = {name: value if isinstance(value, str) else None for name, value in names.items()}
    return {"type": str(cell["cell_type"]), "source": text, "text": text.strip(), **known}


def place_cells(solution: NotebookNode, cells: list[dict]) -> Placed:
    """Find out which cell of the solution each of a student's cells stands for, and where the others stand.

    A cell is known by its nbgrader metadata; if that is lost, by its id; and a question or a test by its
    text. An answer that is known by none of them is what stands between the cells around it.

    Args:
        solution: The notebook with all tests.
        cells: What `read_cells` gave.
    """
    known, placed, last = _known_keys(solution), Placed(), -1
    found = [[key for key in _keys(cell) if key in known] for cell in cells]
    sure = {known[keys[0]] for keys in found if keys and keys[0][0] != "text"}
    for cell, keys in zip(cells, found, strict=True):
        if keys and (keys[0][0] != "text" or known[keys[0]] not in sure):
            last = known[keys[0]]
            placed.answers[last].append(cell["source"])
            placed.by_id += keys[0][0] == "id" and _is_answer(solution.cells[last])
        elif not keys and cell["type"] == "code" and cell["text"]:
            placed.added[last].append(cell["source"])
    for number, cell in enumerate(solution.cells):
        before = max((place for place in placed.answers if place < number), default=-1)
        if placed.answers and _is_answer(cell) and number not in placed.answers and before in placed.added:
            placed.answers[number] = placed.added.pop(before)
            placed.by_place += 1
    return placed


def restore(solution: NotebookNode, cells: list[dict]) -> NotebookNode:
    """Return a solution with a student's answers in the place of its own, ready to be executed.

    Cells that the student added stay behind the cell that they stood behind. An answer that was split into
    several cells is joined; one that was deleted is empty.

    Args:
        solution: The notebook with all tests; it is not changed.
        cells: What `read_cells` gave.
    """
    return _filled(solution, place_cells(solution, cells))


def _filled(solution: NotebookNode, placed: Placed) -> NotebookNode:
    notebook = copy.deepcopy(solution)
    restored = [new_code_cell(source) for source in placed.added.get(-1, [])]
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if _is_answer(cell):
            cell.source = "\n".join(placed.answers.get(number, []))
        restored += [cell, *(new_code_cell(source) for source in placed.added.get(number, []))]
    notebook.cells = restored
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _is_graded(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def _is_answer(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def as_one_name(name: str) -> str:
    """Return a student's name such that spellings that look the same are the same."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _missing(found: list[Submission], empty: Mapping[str, str], lessons: list[str]) -> list[Submission]:
    """Return a row for each lesson that a student lacks, of those wanted; if none are, of the usual ones."""
    students = {as_one_name(one.student): one.student for one in found}
    students.update({as_one_name(name): name for name in empty})
    there = {(as_one_name(one.student), one.lesson) for one in found}
    handed_in = Counter(lesson for _, lesson in there if lesson)
    usual = sorted(lesson for lesson, times in handed_in.items() if 2 * times >= len(students))
    missing = []
    for key, student in students.items():
        lacking = [lesson for lesson in lessons or usual if (key, lesson) not in there]
        if not lacking and not lessons and student in empty:
            lacking = [""]
        told = empty.get(student) or "nothing was handed in"
        missing += [Submission(student, None, lesson=lesson, problem=told) for lesson in lacking]
    return missing


def _note_duplicates(found: list[Submission]) -> None:
    """Say where one student seems to have handed in a lesson twice, or where two have the same name."""
    counted = Counter((as_one_name(one.student), one.lesson) for one in found if one.lesson)
    for one in found:
        times = counted[as_one_name(one.student), one.lesson]
        if times > 1:
            told = f"duplicate: {times} notebooks of this name for this lesson"
            one.note = f"{one.note}; {told}" if one.note else told
