"""nbgrader's own commands take exercises in the course's format, and give the same marks."""

import copy
import os
import re
import shutil
import stat
import subprocess
import sys

import nbformat
import pytest
from bs4 import BeautifulSoup
from small_rosters import rows_by

from course_teaching.exercises import EXERCISES_FOLDER, SOLUTIONS_FOLDER
from course_utils.settings import REPOSITORY_FOLDER

pytestmark = pytest.mark.kernels

EXERCISE, LESSON = "03_replace_the_head.ipynb", "lesson03"
# How many of the three answers each of them gives: for one point, for two and for three.
CLASS = {"ada": 3, "ben": 2}


def nbgrader(folder, *arguments):
    """Call one of nbgrader's commands in a course folder, with nothing of the user's configuration."""
    own = {name: str(folder / "home") for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    environment = {**os.environ, **own, "JUPYTER_PLATFORM_DIRS": "1", "OMP_NUM_THREADS": "1"}
    # It calls alembic by name, which is beside Python where no environment was activated.
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]


def handed_in(released, answers):
    """Return a released notebook with the solution's first answers; the others are left blank."""
    notebook, left = copy.deepcopy(released), answers
    solution = nbformat.read(SOLUTIONS_FOLDER / EXERCISE, as_version=4)
    cells = [cell for cell in solution.cells if "nbgrader" in cell.metadata]
    solved = {cell.metadata.nbgrader.grade_id: cell.source for cell in cells}
    for cell in notebook.cells:
        if left and cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source, left = solved[cell.metadata.nbgrader.grade_id], left - 1
    return notebook


def prepare(folder):
    """Lay the exercise and the settings of the guide where nbgrader looks for them."""
    (folder / "home").mkdir(exist_ok=True)
    guide = (REPOSITORY_FOLDER / "docs" / "instructors.md").read_text(encoding="utf-8")
    (settings,) = re.findall(r"^```python\n(c\..*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)
    (folder / "nbgrader_config.py").write_text(f"c = get_config()\n{settings}", encoding="utf-8")
    source = folder / "source" / LESSON
    source.mkdir(parents=True)
    shutil.copyfile(SOLUTIONS_FOLDER / EXERCISE, source / EXERCISE)


def marks_of(folder):
    """Return each student's points, and how many there are."""
    rows = rows_by("student_id", folder / "marks.csv").items()
    return {student: (float(row["score"]), float(row["max_score"])) for student, row in rows}


def member(course, student=None):
    """Return the folder of the teacher or a student, and a function that calls nbgrader there."""
    folder = course / (student or "teacher")
    (folder / "home").mkdir(parents=True, exist_ok=True)
    options = ["--course=transfer", f"--Exchange.root={course / 'exchange'}"]
    options += [f"--student={student}"] if student else []
    return folder, lambda command, *more: nbgrader(folder, command, LESSON, *options, *more)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Let a class of two get an exercise, hand it in and get it back, all by nbgrader's local exchange."""
    if sys.platform == "win32":
        pytest.skip("nbgrader has no exchange on Windows")
    course = tmp_path_factory.mktemp("class")
    (course / "exchange").mkdir()
    (course / "exchange").chmod(0o777)
    teacher, as_teacher = member(course)
    prepare(teacher)
    as_teacher("generate_assignment", "--create")
    as_teacher("release_assignment")
    for student, answers in CLASS.items():
        folder, as_student = member(course, student)
        as_student("fetch_assignment")
        path = folder / LESSON / EXERCISE
        nbformat.write(handed_in(nbformat.read(path, as_version=4), answers), path)
        as_student("submit")
    as_teacher("collect")
    as_teacher("autograde", "--create")
    as_teacher("generate_feedback")
    as_teacher("release_feedback")
    for student in CLASS:
        member(course, student)[1]("fetch_feedback")
    nbgrader(teacher, "export", "--to", "marks.csv")
    return course


def test_released_exercise_is_the_one_that_ships(shared):
    released = nbformat.read(shared / "teacher" / "release" / LESSON / EXERCISE, as_version=4)
    ours = nbformat.read(EXERCISES_FOLDER / EXERCISE, as_version=4)
    assert [cell.source for cell in released.cells] == [cell.source for cell in ours.cells]
    text = nbformat.writes(released)
    assert "SOLUTION" not in text and "HIDDEN" not in text


def test_each_student_of_an_exchange_gets_their_own_marks_and_no_page_of_another(shared):
    assert marks_of(shared / "teacher") == {"ada": (6, 6), "ben": (3, 6)}
    pages = {}
    for student in CLASS:
        (page,) = (shared / student).rglob("*.html")
        pages[student] = page.read_text("utf-8")
        theirs = shared / "teacher" / "feedback" / student / LESSON / page.name
        assert pages[student] == theirs.read_text("utf-8")
        assert "lesson03-test-2" in pages[student]
    answers = [BeautifulSoup(pages[student], "html.parser").get_text() for student in CLASS]
    assert ["held = {id(parameter)" in answer for answer in answers] == [True, False]


def test_the_exchange_lets_no_other_user_list_what_was_handed_in_or_given_back(shared):
    """A page of feedback is found by a secret that only its student and the teacher have."""
    folder = shared / "exchange" / "transfer"
    assert {path.name.split("+")[0] for path in (folder / "inbound").iterdir()} == set(CLASS)
    assert len(list((folder / "feedback").iterdir())) == len(CLASS)
    for part in ("inbound", "feedback"):
        assert not (folder / part).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)


def test_the_course_s_own_command_grades_what_was_collected(shared, bubblewrap, tmp_path):
    command = [sys.executable, "-m", "course_teaching", "grade", str(shared / "teacher" / "submitted")]
    command += ["--lesson", "03", "--output", str(tmp_path / "marks"), "--engine", "bwrap"]
    done = subprocess.run(command, cwd=REPOSITORY_FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_by("student", tmp_path / "marks" / "marks.csv")
    assert {student: float(row["total"]) for student, row in rows.items()} == {"ada": 6, "ben": 3}
