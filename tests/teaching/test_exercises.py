"""The exercises as students get them: in step with their solutions, solvable, and kind to a blank."""

import copy
import os
import re

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_teaching.exercises import (
    EXERCISES_FOLDER,
    SOLUTIONS_FOLDER,
    TEXT_STUB,
    generate_exercises,
    graded_cells,
    human_cells,
    marks,
    students_version,
)
from course_teaching.lessons import lesson_notebooks

SOLUTIONS = sorted(SOLUTIONS_FOLDER.glob("*.ipynb"))
each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=[path.stem for path in SOLUTIONS])
POINTS = {"recall": 1, "try": 2, "investigate": 3}


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def totals(notebook):
    """Return the points that an executed notebook says it has so far."""
    found = (re.search(r"(\d+) of \d+ points so far", printed(c)) for c in notebook.cells if "outputs" in c)
    return [int(one[1]) for one in found if one]


def test_every_lesson_has_exercises():
    assert [path.name for path in SOLUTIONS] == [path.name for path in lesson_notebooks()]


def test_the_student_s_notebooks_are_those_that_the_solutions_give(tmp_path):
    generated = generate_exercises(output=tmp_path)
    stored = sorted(EXERCISES_FOLDER.glob("*.ipynb"))
    assert [path.name for path in generated] == [path.name for path in stored]
    for new, old in zip(generated, stored, strict=True):
        assert new.read_bytes() == old.read_bytes(), f"call generate_exercises(): {old} is out of step"


@each_solution
def test_nbgrader_reads_both_versions(path):
    from nbgrader import nbgraderformat, utils

    for notebook in (path, EXERCISES_FOLDER / path.name):
        read = nbgraderformat.read(notebook, as_version=4)  # which validates the metadata
        ids = [cell.metadata.nbgrader.grade_id for cell in read.cells if "nbgrader" in cell.metadata]
        assert len(ids) == len(set(ids))
        assert not [cell for cell in read.cells if cell.get("outputs") or cell.get("execution_count")]
    for cell in read.cells:
        if "nbgrader" in cell.metadata:
            assert cell.metadata.nbgrader.checksum == utils.compute_checksum(cell)


@each_solution
def test_every_exercise_has_its_five_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    heads = [n for n, cell in enumerate(cells) if cell.source.startswith("## Exercise ")]
    assert 2 <= len(heads) <= 4
    tests = graded_cells(nbformat.read(path, as_version=4))
    for number, start in enumerate(heads, start=1):
        question, answer, check, test = cells[start : start + 4]
        found = re.match(rf"## Exercise {number} – .+ \((recall|try|investigate)\)\n", question.source)
        assert found and re.search(r"\*\*Predict:\*\*|What do you expect", question.source)
        lesson = f"lesson{path.name[:2]}"
        assert answer.metadata.nbgrader.grade_id == f"{lesson}-exercise-{number}"
        assert answer.metadata.nbgrader.solution and "### BEGIN SOLUTION" in answer.source
        assert check.metadata.nbgrader.locked and "check." in check.source
        assert test.metadata.nbgrader.grade_id == f"{lesson}-test-{number}"
        assert test.metadata.nbgrader.points == POINTS[found[1]]
        visible, _, hidden = test.source.partition("### BEGIN HIDDEN TESTS")
        assert visible.startswith("check.points(") and f"exercise={number}" in visible and "assert" in hidden
        assert f"of={test.metadata.nbgrader.points}" in visible
    assert cells[start + 4].source == f"check.total({sum(int(c.metadata.nbgrader.points) for c in tests)})"


@each_solution
def test_a_question_for_a_person_has_a_rubric_and_an_answer_that_students_do_not_see(path):
    notebook = nbformat.read(path, as_version=4)
    student = nbformat.read(EXERCISES_FOLDER / path.name, as_version=4)
    assert len(human_cells(notebook)) == (path.name[:2] in ("05", "07", "09", "11"))
    for place, cell in human_cells(notebook):
        question = notebook.cells[place - 1].source
        assert question.startswith("## Question 5 – ") and re.search(
            r"\((marked by a person|graded by hand)\)\n", question
        )
        assert re.findall(r"^\| (\d) \| ", question, re.MULTILINE) == ["3", "2", "1", "0"]
        assert cell.cell_type == "markdown" and cell.metadata.nbgrader.points == 3
        assert len(cell.source.split()) > 80
        assert student.cells[place - 1].source == question and student.cells[place].source == TEXT_STUB
        assert cell.source not in "".join(one.source for one in student.cells)


@each_solution
def test_nothing_of_a_solution_is_left_in_the_student_s_version(path):
    solution = nbformat.read(path, as_version=4)
    student = nbformat.read(EXERCISES_FOLDER / path.name, as_version=4)
    text = "\n".join(cell.source for cell in student.cells)
    assert "SOLUTION" not in text and "HIDDEN" not in text
    assert text.count("# YOUR CODE HERE") >= len(graded_cells(student))
    for cell in solution.cells:
        for kind in ("SOLUTION", "HIDDEN TESTS"):
            for hidden in re.findall(f"### BEGIN {kind}\n(.*?)### END {kind}", cell.source, re.DOTALL):
                assert hidden.strip() not in text


@pytest.fixture(scope="module", params=SOLUTIONS, ids=[path.stem for path in SOLUTIONS])
def executed(request, tmp_path_factory):
    """Run an exercise as students get it, and then its solution in the same kernel; give both.

    An error ends it, but not one in a cell that may raise one. A kernel of its own for each would import all
    that the course needs twice, which takes longer than most exercises.
    """
    folder = tmp_path_factory.mktemp("solution")
    paths = EXERCISES_FOLDER / request.param.name, request.param
    blank, solution = (nbformat.read(path, as_version=4) for path in paths)
    both = new_notebook(metadata=solution.metadata)
    # A solution leaves its files elsewhere, and finds none of the names that the blank has left.
    both.cells = [*blank.cells, new_code_cell(f"%reset -f -s\n%cd -q {folder}"), *solution.cells]
    # One thread, so that two notebooks at once do not take each other's cores; no bars in the outputs.
    own = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    resources = {"metadata": {"path": str(EXERCISES_FOLDER)}}
    client = NotebookClient(both, timeout=1800, kernel_name="python3", resources=resources)
    client.shutdown_kernel = "immediate"  # a second less than asking it to end
    client.execute(env={**os.environ, **own})
    return blank, solution


@pytest.mark.kernels
def test_the_solution_gets_full_marks(executed):
    _, solution = executed
    found = marks(solution)
    assert found and all(got == of for got, of in found.values())
    assert totals(solution) == [sum(of for _, of in found.values())]
    for cell in solution.cells:
        assert not [output for output in cell.get("outputs", []) if output.get("name") == "stderr"]
        if "-check-" in cell.metadata.get("nbgrader", {}).get("grade_id", ""):
            assert "✓" in printed(cell) and "→" not in printed(cell)


@pytest.mark.kernels
def test_a_blank_runs_to_its_end_with_hints_and_without_marks(executed):
    blank, _ = executed
    assert {got for got, _ in marks(blank).values()} == {0.0}
    checks = [c for c in blank.cells if "-check-" in c.metadata.get("nbgrader", {}).get("grade_id", "")]
    assert len(checks) == len(graded_cells(blank))
    for cell in checks:
        assert "Nothing here yet: " in printed(cell)
    for cell in graded_cells(blank):
        (output,) = cell.outputs
        of = int(cell.metadata.nbgrader.points)
        line = f"Not answered yet: 0 of {of} points. See the check above."
        assert (output.ename, output.traceback) == ("NotYet", [line])  # and no traceback in red
    assert totals(blank) == [0]


def test_marks_count_tests_that_ran_without_an_error():
    def test_cell(name, points, outputs, ran=True):
        cell = new_code_cell("assert True", execution_count=1 if ran else None, outputs=outputs)
        cell.metadata["nbgrader"] = {"grade": True, "grade_id": name, "points": points}
        return cell

    error = new_output("error", ename="AssertionError", evalue="", traceback=[])
    text = new_output("stream", name="stdout", text="3")
    cells = [test_cell("right", 2, [text]), test_cell("wrong", 3, [text, error]), new_code_cell("1 / 0")]
    cells += [test_cell("not run", 1, [], ran=False)]
    found = marks(new_notebook(cells=cells))
    assert found == {"right": (2.0, 2.0), "wrong": (0.0, 3.0), "not run": (0.0, 1.0)}


def test_making_the_student_s_version_leaves_the_solution_alone():
    notebook = nbformat.read(SOLUTIONS[0], as_version=4)
    before = copy.deepcopy(notebook)
    student = students_version(notebook)
    assert notebook == before
    assert all("raises-exception" in cell.metadata.tags for cell in graded_cells(student))
    assert marks(student).keys() == marks(notebook).keys()
