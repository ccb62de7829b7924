"""The guides for instructors and contributors are followed to the letter, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from local_remote import commit
from table_answers import tables_of

from course_teaching.exercises import SOLUTIONS_FOLDER, human_cells, marks
from course_teaching.lessons import lesson_notebooks
from course_utils.settings import REPOSITORY_FOLDER

GUIDE, CONTRIBUTING, CLASSROOM = (
    (REPOSITORY_FOLDER / "docs" / name).read_text(encoding="utf-8")
    for name in ("instructors.md", "contributing.md", "classroom.md")
)
TEXTS = GUIDE + CONTRIBUTING + CLASSROOM
BLOCKS = re.findall(r"^```(\w+) tested\n(.*?)^```$", TEXTS, flags=re.MULTILINE | re.DOTALL)
TESTS = REPOSITORY_FOLDER / "tests"
TRIED = [*TESTS.glob("helpers/wrong_answers*.py"), *TESTS.glob("checks/*.py")]
LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"),
    *("build", "runs", "downloads"),
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository."""
    folder = tmp_path_factory.mktemp("copy") / "course"
    shutil.copytree(REPOSITORY_FOLDER, folder, ignore=LEFT_OUT)
    if shutil.which("git"):
        commit(folder)  # the students' repository is made of what is committed
    return folder


@pytest.fixture
def translated(copy):
    """A translation of lesson 04 as it is now: commands of the guide change the copy's first cells."""
    lesson = nbformat.read(copy / "notebooks" / "04_freeze_and_train.ipynb", as_version=4)
    for cell in lesson.cells:
        if cell.cell_type == "markdown":
            cell.source = "Übersetzt."
    nbformat.write(lesson, copy / "translated.ipynb")
    return copy / "translated.ipynb"


def run(command, folder, **options):
    """Run a command in the copy with the copy's package; its outputs are in the error if it fails."""
    own = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
        **{f"GIT_{role}_NAME": "Jane" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "jane@example.org" for role in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_there_are_blocks_to_follow():
    kinds = [kind for kind, _ in BLOCKS]
    assert {kind: kinds.count(kind) for kind in kinds} == {"sh": 7, "python": 2, "diff": 1}


@pytest.mark.kernels
@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "sh"])
@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("git")), reason="bash or git is not here")
def test_commands_of_the_guide(copy, text):
    run(["bash", "-e", "-c", text], copy)


@pytest.mark.kernels
@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_python_of_the_guide(copy, translated, text):
    run([sys.executable, "-W", "ignore", "-c", text], copy)


@pytest.mark.kernels
@pytest.mark.skipif(not shutil.which("git"), reason="there is no git here to apply a change with")
def test_the_new_dataset_of_the_guide_is_known(copy):
    (text,) = [text for kind, text in BLOCKS if kind == "diff"]
    if shutil.which("patch"):
        run(["patch", "-p1", "--dry-run"], copy, input=text)
    run(["git", "apply", "-"], copy, input=text)
    for line in text.splitlines():
        assert len(line) <= 111, "ruff refuses what the guide tells to write"
    code = (
        "from course_utils.settings import Settings; from course_utils.data.splits import DOWNLOADED;"
        "from course_utils.data.archives import dataset_archives;"
        "print(Settings(dataset='cifar100').dataset, *dataset_archives(DOWNLOADED['cifar100']))"
    )
    output = run([sys.executable, "-W", "ignore", "-c", code], copy)
    assert output.startswith("cifar100 ")
    assert "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz" in output


def test_every_mistake_of_the_guide_gets_the_hint_that_it_names():
    rows = re.findall(r"^\| (\d\d) \| .* \| `(\w+)` \| “(.+)” \|$", GUIDE, flags=re.MULTILINE)
    assert {lesson for lesson, *_ in rows} == {path.stem[:2] for path in lesson_notebooks()}
    tried = "".join(path.read_text(encoding="utf-8") for path in TRIED)
    for _, check, hint in rows:
        in_tables = [words for table in tables_of(check) for words in table.wrong]
        assert any(hint in words for words in in_tables) or f'"{hint}"' in tried, hint


def test_every_exercise_has_a_row_among_the_objectives_with_its_points():
    table = GUIDE.split("## Objectives")[1].split("## Times")[0]
    points, by_person, lesson = {}, {}, ""
    for number, shown in re.findall(r"^\| (\d\d)? ?\| .* \| (.*\)) \|$", table, flags=re.MULTILINE):
        lesson = number or lesson
        points |= {f"lesson{lesson}-test-{n}": float(of) for n, of in re.findall(r"(\d) \((\d)\)", shown)}
        found = re.findall(r"(\d) \((\d) by hand\)", shown)
        by_person |= {f"lesson{lesson}-answer-{n}": int(of) for n, of in found}
    solutions = [nbformat.read(path, as_version=4) for path in sorted(SOLUTIONS_FOLDER.glob("*.ipynb"))]
    assert points == {name: of for solution in solutions for name, (_, of) in marks(solution).items()}
    cells = [cell.metadata.nbgrader for solution in solutions for _, cell in human_cells(solution)]
    assert by_person == {cell["grade_id"]: cell["points"] for cell in cells}
