"""nbgrader's own commands take exercises in the course's format, and give the same marks."""

import copy
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
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


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Give out the exercise, hand in the notebooks of a class of two, and grade them, all by nbgrader."""
    folder = tmp_path_factory.mktemp("course")
    prepare(folder)
    nbgrader(folder, "generate_assignment", LESSON, "--create")
    released = nbformat.read(folder / "release" / LESSON / EXERCISE, as_version=4)
    for student, answers in CLASS.items():
        path = folder / "submitted" / student / LESSON / EXERCISE
        path.parent.mkdir(parents=True)
        nbformat.write(handed_in(released, answers), path)
    nbgrader(folder, "autograde", LESSON, "--create")
    nbgrader(folder, "export", "--to", "marks.csv")
    return folder


def test_nbgrader_releases_the_exercise_that_ships_and_gives_its_marks(course):
    released = nbformat.read(course / "release" / LESSON / EXERCISE, as_version=4)
    ours = nbformat.read(EXERCISES_FOLDER / EXERCISE, as_version=4)
    assert [cell.source for cell in released.cells] == [cell.source for cell in ours.cells]
    rows = rows_by("student_id", course / "marks.csv").items()
    assert {student: (float(row["score"]), float(row["max_score"])) for student, row in rows} == {
        **{"ada": (6, 6), "ben": (3, 6)}
    }


def test_the_course_s_own_command_grades_what_was_collected(course, bubblewrap, tmp_path):
    command = [sys.executable, "-m", "course_teaching", "grade", str(course / "submitted")]
    command += ["--lesson", "03", "--output", str(tmp_path / "marks"), "--engine", "bwrap"]
    done = subprocess.run(command, cwd=REPOSITORY_FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_by("student", tmp_path / "marks" / "marks.csv")
    assert {student: float(row["total"]) for student, row in rows.items()} == {"ada": 6, "ben": 3}
