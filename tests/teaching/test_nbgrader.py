"""nbgrader's own commands take exercises in the course's format, and give the same marks."""

import copy
import csv
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from course_utils.settings import REPOSITORY_FOLDER
from course_utils.teaching.exercises import EXERCISES_FOLDER, SOLUTIONS_FOLDER

pytestmark = pytest.mark.kernels

EXERCISE = "03_replace_the_head.ipynb"
# How many of the three answers each of them gives: for one point, for two and for three.
ANSWERED = {"right": 3, "half": 2}


def nbgrader(folder, *arguments):
    """Call one of nbgrader's commands in a course folder, with nothing of the user's configuration."""
    own = {name: str(folder / "home") for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    environment = {**os.environ, **own, "JUPYTER_PLATFORM_DIRS": "1", "OMP_NUM_THREADS": "1"}
    # It calls alembic by name, which is beside Python where no environment was activated.
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def handed_in(released, answers):
    """Return a released notebook with the solution's first answers; the others are left blank."""
    notebook, left = copy.deepcopy(released), answers
    solution = nbformat.read(SOLUTIONS_FOLDER / EXERCISE, as_version=4)
    solved = {
        cell.metadata.nbgrader.grade_id: cell.source for cell in solution.cells if "nbgrader" in cell.metadata
    }
    for cell in notebook.cells:
        if left and cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source, left = solved[cell.metadata.nbgrader.grade_id], left - 1
    return notebook


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Release an exercise of the course, hand it in twice, and grade it, all with nbgrader."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "home").mkdir()
    guide = (REPOSITORY_FOLDER / "docs" / "instructors.md").read_text(encoding="utf-8")
    (setting,) = re.findall(r"^c\.ClearSolutions.*$", guide, flags=re.MULTILINE)
    (folder / "nbgrader_config.py").write_text(f"c = get_config()\n{setting}\n", encoding="utf-8")
    source = folder / "source" / "lesson03"
    source.mkdir(parents=True)
    shutil.copyfile(SOLUTIONS_FOLDER / EXERCISE, source / EXERCISE)
    nbgrader(folder, "generate_assignment", "lesson03", "--create")
    released = nbformat.read(folder / "release" / "lesson03" / EXERCISE, as_version=4)
    for student, answers in ANSWERED.items():
        place = folder / "submitted" / student / "lesson03"
        place.mkdir(parents=True)
        nbformat.write(handed_in(released, answers), place / EXERCISE)
    nbgrader(folder, "autograde", "lesson03", "--create")
    nbgrader(folder, "generate_feedback", "lesson03")
    nbgrader(folder, "export", "--to", "marks.csv")
    return folder, released


def test_released_exercise_is_the_one_that_ships(course):
    ours = nbformat.read(EXERCISES_FOLDER / EXERCISE, as_version=4)
    assert [cell.source for cell in course[1].cells] == [cell.source for cell in ours.cells]
    text = nbformat.writes(course[1])
    assert "SOLUTION" not in text and "HIDDEN" not in text


@pytest.mark.parametrize("student, score", [("right", 6), ("half", 3)])
def test_nbgrader_gives_full_and_half_the_marks_and_writes_feedback(course, student, score):
    with open(course[0] / "marks.csv", newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert (float(rows[student]["score"]), float(rows[student]["max_score"])) == (score, 6)
    page = course[0] / "feedback" / student / "lesson03" / EXERCISE.replace("ipynb", "html")
    assert "lesson03-test-2" in page.read_text(encoding="utf-8")
