"""Marks are written as they come and kept when grading goes on; a person's levels complete them."""

import copy
import json
import re
import zipfile

import pytest
from nbformat.v4 import new_output
from small_rosters import gradebook, rows_by, table, worksheet, write
from small_submissions import RIGHT, TITLE, asking_solution, handed_in, other_solution, write_solution, zipped

from course_teaching.__main__ import main
from course_teaching.grading import Limits, grade, grader, summary
from course_teaching.grading.engines import Isolation
from course_teaching.grading.sandbox import ExecutedNotebook
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

# A line of a hidden test, with more than one space in it, and so long that a row cuts it.
HIDDEN = "assert double(4) == 8  # and so for whatever other number"


def notebook(text="Because.", first=RIGHT[0], solution=None):
    return json.dumps(handed_in(first, RIGHT[1], text, solution=solution or asking_solution()))


def moodle_class():
    return {
        "Änne Müller_1001_assignsubmission_file_/01_small.ipynb": notebook("=WEBSERVICE(1) is *why*"),
        "Zoë_1002_assignsubmission_file_/01_small.ipynb": notebook(first="'wrong'"),
        "José_1004_assignsubmission_file_/01_small.ipynb": notebook("YOUR ANSWER HERE"),
        "Nobody_1009_assignsubmission_file_/01_small.ipynb": notebook("Me, too."),
    }


class Class:
    """A class that hands in, and its grading by a kernel that fails the first test of a `wrong` answer."""

    def __init__(self, folder):
        self.folder, self.out, self.ran = folder, folder / "out", []
        write_solution(folder / "solutions", asking_solution())
        self.hand_in({f"{name}/01_small.ipynb": notebook(name) for name in ("anna", "ben", "carl")})

    def hand_in(self, members):
        self.members = members
        zipped(self.folder / "class.zip", members)

    def run(self, notebook, *arguments, **named):
        first, text = notebook.cells[2].source, notebook.cells[-1].source
        self.ran.append(text)
        if "interrupt" in first:
            raise KeyboardInterrupt
        executed = copy.deepcopy(notebook)
        for cell in executed.cells:
            if cell.cell_type == "code":
                cell["execution_count"] = 1
        said = f"{'x' * 100} {HIDDEN}" if "says" in first else "no"
        if "wrong" in first or "says" in first:
            number = 3 if "wrong" in first else 4
            error = new_output("error", ename="ValueError", evalue=said, traceback=[said])
            executed.cells[number].outputs = [error]
        status = "failed" if "cannot start" in first else "graded"
        return ExecutedNotebook(executed, status, "no room" if status == "failed" else "", 1.0)

    def grade(self, **options):
        self.ran.clear()
        options = {"solutions": self.folder / "solutions", "limits": Limits(workers=1), **options}
        return grade(self.folder / "class.zip", self.out, **options)

    def mark(self, levels):
        """Write levels and comments into to_mark.csv by name or id, as a spreadsheet saves it."""
        head, *lines = table((self.out / "to_mark.csv").read_bytes())
        for line in lines:
            for name in (line[0], line[1]):
                if name in levels:
                    line[head.index("level")], line[head.index("comment")] = levels[name]
        write(self.out / "to_mark.csv", [head, *lines], delimiter=";", bom=True)

    def rows(self, column="student", name="marks.csv"):
        return rows_by(column, self.out / name)

    def page(self, row):
        return (self.out / row.feedback).read_text(encoding="utf-8")

    def command(self, *options):
        solutions = ["--solutions", str(self.folder / "solutions")]
        return ["grade", str(self.folder / "class.zip"), "--output", str(self.out), *solutions, *options]


@pytest.fixture
def course(tmp_path, monkeypatch):
    own = Class(tmp_path)
    monkeypatch.setattr(grader, "run_in_sandbox", own.run)
    monkeypatch.setattr(grader, "find_isolation", lambda *named: Isolation("none"))
    return own


def test_grade_keeps_what_is_the_same_and_grades_what_changed(course):
    first = course.grade()
    assert course.ran == ["anna", "ben", "carl"]
    before = (course.out / "marks.csv").read_bytes()
    assert (course.grade(), course.ran) == (first, [])
    assert (course.out / "marks.csv").read_bytes() == before
    changed = {"ben/01_small.ipynb": notebook("new"), "dora/01_small.ipynb": notebook("dora")}
    course.hand_in({**course.members, **changed})
    course.grade()
    assert course.ran == ["new", "dora"] and [*course.rows()] == ["anna", "ben", "carl", "dora"]
    assert len(course.grade(limits=Limits(seconds=100, workers=1))) == len(course.ran) == 4
    solution = asking_solution()
    solution.cells[3].metadata.nbgrader["points"] = 7
    write_solution(course.folder / "solutions", solution)
    course.grade(limits=Limits(seconds=100, workers=1))
    assert len(course.ran) == 4 and course.rows()["anna"]["of"] == "13"


def test_grade_goes_on_where_it_was_interrupted(course):
    names = {"anna": RIGHT[0], "ben": "interrupt", "carl": RIGHT[0]}
    members = {f"{name}/01_small.ipynb": notebook(name, first) for name, first in names.items()}
    course.hand_in(members)
    with pytest.raises(KeyboardInterrupt):
        course.grade()
    course.hand_in({**members, "ben/01_small.ipynb": notebook("ben")})
    course.grade()
    assert "anna" not in course.ran and "ben" in course.ran
    assert [*course.rows()] == ["anna", "ben", "carl"]


def test_grade_repeats_what_could_not_start(course):
    names = {"anna": RIGHT[0], "ben": "cannot start", "carl": RIGHT[0]}
    course.hand_in({f"{name}/01_small.ipynb": notebook(name, first) for name, first in names.items()})
    course.grade()
    course.grade()
    assert course.ran == ["ben"]
    assert [row["status"] for row in course.rows().values()] == ["graded", "failed", "graded"]


def test_grade_shows_no_part_of_a_hidden_test_in_what_happened(course):
    solution = asking_solution()
    solution.cells[3].source = solution.cells[3].source.replace("### END", f"{HIDDEN}\n### END")
    write_solution(course.folder / "solutions", solution)
    course.hand_in({"ben/01_small.ipynb": notebook(first="says")})
    (ben,) = course.grade()
    assert ben.happened.startswith("error in cell 5: ValueError: xxx")
    shown = ben.happened + course.page(ben)
    assert "double(4)" not in shown and "(a test that is not shown)" in course.page(ben)


def test_grade_keeps_marks_that_somebody_changed_under_another_name(course):
    course.grade()
    path = course.out / "marks.csv"
    changed = path.read_bytes().replace(b"5 to 8", b"8")
    path.write_bytes(changed)
    course.grade()
    (before,) = course.out.glob("marks_before_*.csv")
    assert before.read_bytes() == changed and b"5 to 8" in path.read_bytes()


def test_grade_has_a_row_for_the_lessons_that_are_asked_for(course):
    write_solution(course.folder / "solutions", other_solution(), "02_other.ipynb")
    other = notebook(solution=other_solution())
    course.hand_in({"anna/01_small.ipynb": notebook("anna"), "ben/02_other.ipynb": other})
    assert [(one.student, one.status) for one in course.grade(lessons=["01"])] == [
        ("anna", "graded"),
        ("ben", "missing"),
    ]
    assert [(one.student, one.lesson) for one in course.grade()] == [
        ("anna", "01_small"),
        ("ben", "02_other"),
    ]
    assert len(course.ran) == 1
    with pytest.raises(ConfigError, match="01_small, 02_other"):
        course.grade(lessons=["3"])


def test_grade_names_a_suspicious_submission_wherever_a_teacher_looks(course, capsys):
    course.hand_in({"ben/01_small.ipynb": notebook(first="import gc\nanswer = 42")})
    (ben,) = course.grade()
    assert course.rows()["ben"]["look at"] == "cell 3: gc"
    assert "cell 3: gc" in course.page(ben) and "Look at 1, with suspicious cells" in summary([ben])
    assert "look at this one: cell 3: gc" in capsys.readouterr().out


def test_command_rejects_wrong_folders_and_files_before_anything_runs(course, capsys, monkeypatch):
    monkeypatch.setattr(grader, "run_in_sandbox", None)
    empty = course.folder / "empty"
    empty.mkdir()
    for options, words in (
        (["--solutions", str(empty)], "cannot be used for grading"),
        (["--roster", str(course.folder / "none.csv")], "The roster cannot be read"),
        (["--lesson", "77"], "77"),
    ):
        assert main(course.command(*options)) == 2
        assert words in capsys.readouterr().err
    assert not course.out.exists()


def test_command_grades_with_a_roster_and_says_who_is_none_of_it(course, capsys):
    course.hand_in(moodle_class())
    roster = worksheet(course.folder / "class.csv")
    assert main(course.command("--roster", str(roster), "--lesson", "01")) == 1  # one has no notebook
    printed = capsys.readouterr().out
    assert (
        "4 graded, 1 missing" in printed and "Nobody 01_small: it matches no people in class.csv" in printed
    )
    names = {"marks.csv", "executed", "feedback", "to_mark.csv"}
    assert {path.name for path in course.out.iterdir()} == names


def test_levels_complete_a_mark_that_was_provisional(course):
    course.hand_in(moodle_class())
    roster = worksheet(course.folder / "class.csv")
    results = course.grade(roster=roster, lessons=["01"])
    shown = ["not marked yet", "total", "of"]
    assert [course.rows("id")["1001"][name] for name in shown] == [TITLE, "5 to 8", "8"]
    assert [course.rows("id")["1003"][name] for name in shown] == ["", "", "8"]
    assert "4 answers are not marked yet" in summary(results)
    waiting = course.rows("id", "to_mark.csv")
    answers = [waiting[number]["answer"] for number in ("1001", "1002", "1004", "1009")]
    assert answers == ["'=WEBSERVICE(1) is *why*", "Because.", "", "Me, too."]
    assert {row["question"] for row in waiting.values()} == {f"{TITLE}: 0 to 3"}
    course.mark({"1001": ("2", "Näher ran <b>"), "1002": ("3.0", ""), "1004": ("0", "")})
    for _ in range(2):  # given once, a level stays
        results = course.grade(roster=roster, lessons=["01"])
        totals = [course.rows("id")[number]["total"] for number in ("1001", "1002", "1004", "1009")]
        assert (totals, course.ran) == (["7", "6", "5", "5 to 8"], [])
        assert (course.out / "to_mark.csv").read_bytes().startswith(b"\xef\xbb\xbfstudent,id,")
    page = course.page(next(row for row in results if row.id == "1001"))
    assert "7 of 8 points" in page and "Näher ran &lt;b&gt;" in page and "not marked yet" not in page


def test_level_of_a_changed_answer_waits_at_the_end_of_the_table(course, capsys):
    course.grade()
    course.mark({"anna": ("2", "good"), "ben": ("1", "")})
    members = {f"{name}/01_small.ipynb": notebook(name) for name in ("ben", "dora")}
    course.hand_in({"anna/01_small.ipynb": notebook("Another answer."), **members})
    course.grade()
    assert "1 answers in to_mark.csv have changed or are gone" in capsys.readouterr().out
    totals = {name: row["total"] for name, row in course.rows().items()}
    assert totals == {"anna": "5 to 8", "ben": "6", "dora": "5 to 8"}
    _, *lines = table((course.out / "to_mark.csv").read_bytes())
    assert [line[0] for line in lines] == ["anna", "ben", "dora", "anna"] and "good" in lines[-1]
    course.hand_in({f"{name}/01_small.ipynb": notebook(name) for name in ("anna", "ben")})
    course.grade()
    assert course.rows()["anna"]["total"] == "7"


@pytest.mark.parametrize("level", ["4", "-1", "1.5", "two", "²", "nan", "1e0", "9" * 400])
def test_wrong_level_is_an_error_that_changes_nothing(course, level):
    course.grade()
    course.mark({"anna": (level, ""), "ben": ("1", "")})
    before = {path: path.read_bytes() for path in course.out.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="A level is not valid"):
        course.grade()
    assert {path: path.read_bytes() for path in course.out.rglob("*") if path.is_file()} == before


def recipe(file, course, monkeypatch):
    """Run the guide's recipe for a platform's file in the folder of the marks."""
    monkeypatch.chdir(course.out)
    text = (REPOSITORY_FOLDER / "docs" / "grading.md").read_text(encoding="utf-8")
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if file in code]
    code = code.replace("05_evaluate", "01_small").replace("Lesson 05 (4711)", "Lesson 01 (77)")
    exec(compile(code, file, "exec"), {})


def test_recipe_of_the_guide_writes_what_moodle_takes(course, monkeypatch):
    course.hand_in(moodle_class())
    course.out.mkdir()
    roster = worksheet(course.out / "worksheet.csv")
    course.grade(roster=roster)
    course.mark(dict.fromkeys(("1001", "1002", "1009"), ("1", "")))
    course.grade(roster=roster)
    recipe("worksheet.csv", course, monkeypatch)
    before, after = (table((course.out / name).read_bytes()) for name in ("worksheet.csv", "upload.csv"))
    assert [line[4] for line in after] == ["Grade", "6", "4", "", "5.00"]  # what is not sure stays as it was
    assert [line[:4] + line[5:] for line in after] == [line[:4] + line[5:] for line in before]
    with zipfile.ZipFile(course.out / "feedback.zip") as archive:
        # A folder is a name, the participant's number and the name of the plugin, with _ between them.
        found = sorted(name.split("_", 1)[1] for name in archive.namelist())
        (anna,) = [name for name in archive.namelist() if "_1001_" in name]
        assert "6 of 8 points" in archive.read(anna).decode()
    assert found == [f"{n}_assignsubmission_file_/01_small.html" for n in ("1001", "1002", "1004")]


def test_recipe_of_the_guide_writes_what_canvas_takes(course, monkeypatch):
    members = {"müllernne_LATE_1001_51_01_small-1.ipynb": notebook("a")}
    course.hand_in(
        {**members, "oneil_1002_52_01_small.ipynb": notebook("b"), "s_9_54_01_small.ipynb": notebook()}
    )
    course.out.mkdir()
    roster = gradebook(course.out / "gradebook.csv", ("Lesson 01 (77)", "8"), ("Other (78)", "5"))
    lines = table(roster.read_bytes())
    lines[4][5] = "EX"
    write(roster, lines)
    course.grade(roster=roster)
    course.mark(dict.fromkeys(("1001", "1002", "9"), ("3", "")))
    course.grade(roster=roster)
    recipe("gradebook.csv", course, monkeypatch)
    head, muted, points, *lines = table((course.out / "upload.csv").read_bytes())
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lesson 01 (77)"]
    assert (muted[5], points[5]) == ("Manual Posting", "8")
    assert [line[5] for line in lines] == ["8", "EX", "", ""]
    with zipfile.ZipFile(course.out / "feedback.zip") as archive:
        # Canvas looks for two numbers between lines: the user's and the submitted file's.
        names = ["müllernne_LATE_1001_51_01_small-1.html", "oneil_1002_52_01_small.html"]
        assert sorted(archive.namelist()) == names
