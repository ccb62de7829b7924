"""Marks are written as they come, kept when grading goes on, and say which submissions to look at."""

import copy

import pytest
from nbformat.v4 import new_output
from small_rosters import rows_by
from small_submissions import (
    RIGHT,
    handed_in,
    other_solution,
    small_solution,
    write_solution,
    write_submission,
)

from course_teaching.__main__ import main
from course_teaching.grading import grade, grader, make_limits, summary
from course_teaching.grading.engines import Isolation
from course_teaching.grading.results import Graded, marks_table, read_results, write_results
from course_teaching.grading.sandbox import ExecutedNotebook
from course_utils.errors import ConfigError

# A line of a hidden test, with more than one space in it, and so long that a row cuts it.
HIDDEN = "assert double(4) == 8  # and so for whatever other number"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Submissions of three students; each that is run notes itself in `ran`, and passes all of its tests."""
    ran = []

    def run(notebook, *arguments, **named):
        ran.append(notebook.cells[2].source)
        if "interrupt" in ran[-1]:
            raise KeyboardInterrupt
        executed = copy.deepcopy(notebook)
        for cell in executed.cells:
            cell["execution_count"] = 1
        if "tells" in ran[-1]:
            told = f"{'x' * 100} {HIDDEN}"
            executed.cells[4].outputs = [
                new_output("error", ename="ValueError", evalue=told, traceback=[told])
            ]
        status = "failed" if "cannot start" in ran[-1] else "graded"
        return ExecutedNotebook(executed, status, "no room" if status == "failed" else "", 1.0)

    monkeypatch.setattr(grader, "run_in_sandbox", run)
    monkeypatch.setattr(grader, "find_isolation", lambda *named: Isolation("none", separate_user=False))
    write_solution(tmp_path / "solutions")
    for name in ("anna", "ben", "carl"):
        write_submission(tmp_path / "in", name, handed_in(f"answer = 42  # {name}", RIGHT[1]))

    def graded(**options):
        ran.clear()
        options = {"solutions": tmp_path / "solutions", "workers": 1, **options}
        results = grade(tmp_path / "in", tmp_path / "out", **options)
        return results, [source.split("# ")[-1] for source in ran]

    graded.folder = tmp_path
    return graded


def table(place):
    return rows_by("student", place.folder / "out" / "marks.csv")


def test_second_grading_keeps_what_is_the_same_and_grades_what_changed(place):
    first, ran = place()
    assert ran == ["anna", "ben", "carl"]
    before = (place.folder / "out" / "marks.csv").read_bytes()
    again, ran = place()
    assert (ran, again) == ([], first)
    assert (place.folder / "out" / "marks.csv").read_bytes() == before
    write_submission(place.folder / "in", "ben", handed_in("answer = 42  # new", RIGHT[1]))
    write_submission(place.folder / "in", "dora", handed_in("answer = 42  # dora", RIGHT[1]))
    assert place()[1] == ["new", "dora"]
    assert [*table(place)] == ["anna", "ben", "carl", "dora"]
    assert place(limits=make_limits(100, 1))[1] == ["anna", "new", "carl", "dora"]
    solution = small_solution()
    solution.cells[3].metadata.nbgrader["points"] = 7
    write_solution(place.folder / "solutions", solution)
    assert place(limits=make_limits(100, 1))[1] == ["anna", "new", "carl", "dora"]
    assert table(place)["anna"]["of"] == "10"


def test_interrupted_grading_goes_on_where_it_stopped(place):
    write_submission(place.folder / "in", "ben", handed_in("answer = 42  # interrupt", RIGHT[1]))
    with pytest.raises(KeyboardInterrupt):
        place()
    assert [*table(place)] == ["anna"]
    write_submission(place.folder / "in", "ben", handed_in("answer = 42  # ben", RIGHT[1]))
    assert place()[1] == ["ben", "carl"]
    assert [*table(place)] == ["anna", "ben", "carl"]


def test_what_could_not_be_started_or_has_lost_its_page_is_graded_again(place):
    write_submission(place.folder / "in", "ben", handed_in("answer = 42  # cannot start", RIGHT[1]))
    (place.folder / "in" / "eve").mkdir()
    place()
    (place.folder / "out" / table(place)["anna"]["feedback"]).unlink()
    assert place()[1] == ["anna", "cannot start"]
    assert [row["status"] for row in table(place).values()] == ["graded", "failed", "graded", "missing"]


def test_no_part_of_a_hidden_test_is_in_what_happened(place):
    solution = small_solution()
    solution.cells[3].source = solution.cells[3].source.replace("### END", f"{HIDDEN}\n### END")
    write_solution(place.folder / "solutions", solution)
    write_submission(place.folder / "in", "ben", handed_in("answer = 42  # tells", RIGHT[1]))
    (_, ben, _), _ = place()
    assert ben.happened.startswith("error in cell 5: ValueError: xxx")
    page = (place.folder / "out" / ben.feedback).read_text()
    assert "double(4)" not in ben.happened + page and "(a test that is not shown)" in page


def test_marks_that_somebody_changed_are_not_written_over(place):
    place()
    path = place.folder / "out" / "marks.csv"
    path.write_text(path.read_text().replace("100.0", "50.0"))
    with pytest.raises(ConfigError, match="were changed after"):
        place()
    (place.folder / "out" / "grading.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        place()
    assert "50.0" in path.read_text()


def test_grading_that_was_ended_between_its_two_files_goes_on(tmp_path):
    first, second = Graded("anna", "01", "a.ipynb", "graded"), Graded("ben", "01", "b.ipynb", "graded")
    write_results(tmp_path, [first])
    marks = (tmp_path / "marks.csv").read_bytes()
    write_results(tmp_path, [second])
    (tmp_path / "marks.csv").write_bytes(marks)
    assert read_results(tmp_path) == [second]
    (tmp_path / "marks.csv").write_bytes(marks.replace(b"anna", b"mine"))
    with pytest.raises(ConfigError, match="were changed after"):
        read_results(tmp_path)


def test_lesson_that_is_not_asked_for_keeps_its_marks(place):
    write_solution(place.folder / "solutions", other_solution(), "02_other.ipynb")
    notebook = handed_in("answer = 42  # second", RIGHT[1], solution=other_solution())
    write_submission(place.folder / "in", "ben", notebook, "02_other.ipynb")
    assert place(lessons=["01"])[1] == ["anna", "ben", "carl"]
    results, ran = place(lessons=["02_other"])
    assert ran == ["second"]
    assert [(one.student, one.lesson, one.status) for one in results] == [
        ("anna", "01_small", "graded"),
        ("anna", "02_other", "missing"),
        ("ben", "01_small", "graded"),
        ("ben", "02_other", "graded"),
        ("carl", "01_small", "graded"),
        ("carl", "02_other", "missing"),
    ]
    with pytest.raises(ConfigError, match="01_small, 02_other"):
        place(lessons=["3"])


def test_submission_that_touches_what_marks_rest_on_is_named_wherever_somebody_looks(place, capsys):
    write_submission(place.folder / "in", "ben", handed_in(RIGHT[0], "import gc\nfrom unittest import mock"))
    results, _ = place()
    told = "cell 5: gc, unittest.mock"
    assert [row["look at"] for row in table(place).values()] == ["", told, ""]
    pages = [(place.folder / "out" / one.feedback).read_text() for one in results]
    assert [told in page for page in pages] == [False, True, False]
    assert f"ben 01_small: {told}" in summary(results) and "Look at 1," in summary(results)
    assert f"look at this one: {told}" in capsys.readouterr().out


def test_command_hands_over_lessons_and_limits(place, capsys):
    folders = [str(place.folder / name) for name in ("in", "out", "solutions")]
    command = ["grade", folders[0], "--output", folders[1], "--solutions", folders[2]]
    assert main([*command, "--lesson", "01"]) == 0
    assert "3 graded" in capsys.readouterr().out
    assert main([*command, "--lesson", "77"]) == 2


@pytest.mark.parametrize(
    "option, value, most",
    [
        ("--seconds", "0", "from 10 to 86,400"),
        ("--seconds", "inf", "from 10 to 86,400"),
        ("--seconds", "nan", "from 10 to 86,400"),
        ("--memory-gb", "1e-10", "from 0.5 to 10,000"),
        ("--memory-gb", "inf", "from 0.5 to 10,000"),
        ("--workers", "0", "from 1 to 1,000"),
    ],
)
def test_limit_out_of_range_is_an_error_before_anything_runs(place, capsys, option, value, most):
    assert (
        main(["grade", str(place.folder / "in"), "--output", str(place.folder / "out"), option, value]) == 2
    )
    told = capsys.readouterr().err
    assert option in told and f"a number {most}" in told
    assert not (place.folder / "out").exists()


def test_wrong_folders_are_errors_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(grader, "run_in_sandbox", None)
    solutions = write_solution(tmp_path / "solutions")
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "not there"):
        with pytest.raises(ConfigError, match="no submissions"):
            grade(folder, tmp_path / "out", solutions=solutions)
    with pytest.raises(ConfigError, match="nothing to grade with"):
        grade(empty, tmp_path / "out", solutions=empty)
    with pytest.raises(ConfigError, match="cannot be written there"):
        grade(empty, empty / "out", solutions=solutions)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "marks.csv").write_text("mine")
    with pytest.raises(ConfigError, match="cannot be written there"):
        grade(empty, tmp_path / "out", solutions=solutions)
    assert (tmp_path / "out" / "marks.csv").read_text() == "mine"


@pytest.mark.parametrize(
    "happened, told",
    [
        ("cell 6 was interrupted after 75 s", "--seconds 600 gives twice as much"),
        ("300 s were over before cell 7", "--seconds 600 gives twice as much"),
        ("more than 4 GB of memory", ""),
    ],
)
def test_summary_says_how_to_give_more_time(happened, told):
    stopped = Graded("a", "01", "a.ipynb", "stopped", happened)
    text = summary([stopped, Graded("b", "01", "b.ipynb", "graded")])
    assert text == ("1 graded, 1 stopped" + f"\n1 met a limit of time: a 01. {told}." * bool(told))


def test_lessons_have_columns_of_their_own():
    rows = [
        Graded("b", "02", "b.ipynb", "graded", points={"two": (1, 2)}),
        Graded("a", "01", "a.ipynb", "stopped", "cell 3", points={"one": (0.5, 1)}),
    ]
    head, first, second = marks_table(rows).decode().splitlines()
    assert head.startswith("student,lesson,one,two,total,of,percent,status,seconds,happened")
    assert first.startswith("a,01,0.5,,0.5,1,50.0,stopped,")
    assert second.startswith("b,02,,1,1,2,50.0,graded,")
    assert summary(rows) == "1 graded, 1 stopped"
