"""What a teacher gets: files that Moodle and Canvas take, and marks that a person gives; nothing is lost."""

import copy
import json
import re
import zipfile

import pytest
from nbformat.v4 import new_output
from small_rosters import gradebook, rows_by, table, worksheet, write
from small_submissions import RIGHT, TITLE, asking_solution, handed_in, write_solution, zipped

from course_teaching.__main__ import main
from course_teaching.grading import grade, grader, read_delivery, summary, write_marks
from course_teaching.grading.engines import Isolation
from course_teaching.grading.sandbox import ExecutedNotebook
from course_utils.errors import ConfigError


def notebook(text, first=RIGHT[0]):
    return json.dumps(handed_in(first, RIGHT[1], text, solution=asking_solution()))


class Class:
    """A class that hands in, and its grading by a kernel that passes all but those who say `wrong`."""

    def __init__(self, folder):
        self.folder, self.out = folder, folder / "out"
        write_solution(folder / "solutions", asking_solution())

    def hand_in(self, members):
        zipped(self.folder / "class.zip", members)

    def grade(self, *marked, platform="csv", roster=None):
        delivery = read_delivery(self.out, platform, roster, marked)
        grade(self.folder / "class.zip", self.out, solutions=self.folder / "solutions", workers=1)
        return write_marks(self.out, delivery)

    def mark(self, levels, name="to_mark.csv", to=None):
        """Write levels by the student's id, as a spreadsheet saves them."""
        head, *lines = table((self.out / name).read_bytes())
        for line in lines:
            line[head.index("level")], line[head.index("comment")] = levels.get(line[1], ("", ""))
        return write(to or self.out / name, [head, *lines], delimiter=";", bom=True)

    def rows(self, name="marks.csv"):
        return rows_by("id", self.out / name)

    def grades(self, column="Grade"):
        """Return what the worksheet for Moodle has in a column."""
        head, *lines = table((self.out / "marks_moodle.csv").read_bytes())
        return [line[head.index(column)] for line in lines]

    def command(self, *options):
        solutions = ["--solutions", str(self.folder / "solutions")]
        return ["grade", str(self.folder / "class.zip"), "--output", str(self.out), *solutions, *options]


@pytest.fixture
def course(tmp_path, monkeypatch):
    def run(notebook, *arguments, **named):
        executed = copy.deepcopy(notebook)
        for number, cell in enumerate(executed.cells):
            if cell.cell_type == "code":
                cell["execution_count"] = number
                if cell.metadata.nbgrader.get("grade") and "wrong" in executed.cells[2].source:
                    cell.outputs = [new_output("error", ename="AssertionError", evalue="no", traceback=[])]
        return ExecutedNotebook(executed, "graded", "", 1.0)

    monkeypatch.setattr(grader, "run_in_sandbox", run)
    monkeypatch.setattr(grader, "find_isolation", lambda *named: Isolation("none", separate_user=False))
    return Class(tmp_path)


def moodle_class():
    return {
        "Änne Müller_1001_assignsubmission_file_/01_small.ipynb": notebook("=WEBSERVICE(1) is *why*"),
        "Zoë_1002_assignsubmission_file_/01_small.ipynb": notebook("Because.", "wrong"),
        "José_1004_assignsubmission_file_/01_small.ipynb": notebook("YOUR ANSWER HERE"),
        "Nobody_1009_assignsubmission_file_/01_small.ipynb": notebook("Me, too."),
    }


def test_an_unmarked_answer_leaves_a_mark_provisional_and_levels_complete_it(course):
    course.hand_in(moodle_class())
    roster = worksheet(course.folder / "class.csv", most="8")
    results, told = course.grade(platform="moodle", roster=roster)
    rows = course.rows()
    shown = ["automatic", "by a person", "not marked yet", "total", "of", "percent"]
    assert [rows["1001"][name] for name in shown] == ["5", "0", TITLE, "5 to 8", "8", ""]
    assert [rows["1003"][name] for name in shown] == ["", "", "", "", "8", ""]
    assert "4 answers wait for a person" in summary(results)
    assert course.grades() == ["", "", "", "5.00"]
    assert any(text.startswith("no mark yet in marks_moodle.csv: ") for text in told)

    waiting = course.rows("to_mark.csv")
    answers = [waiting[number]["answer"] for number in ("1001", "1002", "1004", "1009")]
    assert answers == ["'=WEBSERVICE(1) is *why*", "Because.", "", "Me, too."]
    assert {row["level"] + row["comment"] for row in waiting.values()} == {""}
    assert {row["question"] for row in waiting.values()} == {f"{TITLE}: 0 to 3"}

    marked = course.mark({"1001": ("2", "Näher ran <b>"), "1002": ("3.0", ""), "1004": ("0", "")})
    results, _ = course.grade(marked, platform="moodle", roster=roster)
    rows = course.rows()
    assert [rows["1001"][name] for name in shown] == ["5", "2", "", "7", "8", "87.5"]
    assert [rows["1004"][name] for name in shown] == ["5", "0", "", "5", "8", "62.5"]
    assert [rows["1009"][name] for name in shown] == ["5", "0", TITLE, "5 to 8", "8", ""]
    assert course.grades() == ["7", "3", "", "5"]
    page = (course.out / rows["1001"]["feedback"]).read_text("utf-8")
    assert "7 of 8 points" in page and "Näher ran &lt;b&gt;" in page and page.count("<!-- marks -->") == 1
    assert "not marked yet" not in page and "<em>why</em>" in page
    # Without the table, they stay.
    course.grade()
    assert course.rows()["1001"]["total"] == "7"


def test_table_that_a_person_fills_in_is_never_written_over(course):
    course.hand_in(dict([*moodle_class().items()][:2]))
    course.grade()
    marked = course.mark({"1001": ("2", "good")})
    before = marked.read_bytes()
    course.hand_in(moodle_class())
    _, told = course.grade()
    assert told == ["to_mark.csv was changed, and does not count: name it with --marked"]
    assert marked.read_bytes() == before
    assert course.rows("to_mark-2.csv").keys() == {"1004", "1009"}
    second = course.mark({"1004": ("1", "")}, "to_mark-2.csv")
    assert course.grade(marked, second)[1] == []
    assert marked.read_bytes() == before and not (course.out / "to_mark-3.csv").exists()
    assert [course.rows()[number]["by a person"] for number in ("1001", "1002", "1004")] == ["2", "0", "1"]


def test_level_of_an_answer_that_has_changed_is_not_used(course):
    course.hand_in(moodle_class())
    course.grade()
    marked = course.mark({"1001": ("2", ""), "1002": ("1", "")}, to=course.folder / "mine.csv")
    name = next(iter(moodle_class()))
    course.hand_in({**moodle_class(), name: notebook("Another answer.")})
    _, told = course.grade(marked)
    assert told == ["1 marked answers are none of these; a changed answer has to be marked again"]
    assert [course.rows()[number]["total"] for number in ("1001", "1002")] == ["5 to 8", "1"]
    assert course.rows("to_mark.csv")["1001"]["answer"] == "Another answer."


@pytest.mark.parametrize("level", ["4", "-1", "1.5", "two", "²", "nan", "1e0", "9" * 400])
def test_level_that_is_none_is_an_error_and_changes_nothing(course, level):
    course.hand_in(moodle_class())
    course.grade()
    before = {path: path.read_bytes() for path in course.out.rglob("*") if path.is_file()}
    marked = course.mark({"1001": (level, ""), "1002": ("1", "")}, to=course.folder / "mine.csv")
    with pytest.raises(ConfigError, match="A level is not valid"):
        course.grade(marked)
    assert {path: path.read_bytes() for path in course.out.rglob("*") if path.is_file()} == before


def test_files_to_upload_that_somebody_changed_are_not_written_over(course):
    course.hand_in(moodle_class())
    roster = worksheet(course.folder / "class.csv")
    course.grade(platform="moodle", roster=roster)
    course.grade(platform="moodle", roster=roster)
    path = course.out / "marks_moodle.csv"
    path.write_bytes(path.read_bytes().replace(b"kept", b"mine"))
    with pytest.raises(ConfigError, match="cannot be written there"):
        course.grade(platform="moodle", roster=roster)
    assert b"mine" in path.read_bytes()


def as_moodle_reads(name, participants):
    """Return participant, plugin and file name that Moodle takes from a file in a zip of feedback.

    A part of the path is a name, the participant's number, the type and the name of the plugin, with _
    between them; what is behind is the file.
    """
    parts = name.split("/")
    for place, part in enumerate(parts):
        info = part.split("_", 4)
        if len(info) >= 4 and info[1].isdigit() and info[1] in participants:
            return info[1], f"{info[2]}_{info[3]}", "/".join([*info[4:], *parts[place + 1 :]]).strip("/")
    return None


def test_moodle_takes_marks_and_feedback(course):
    files = {name.replace("_/", "_", 1): content for name, content in moodle_class().items()}
    roster = worksheet(course.folder / "class.csv", grades=("", "", "", ""), most="8")
    for members in (moodle_class(), files):
        course.hand_in(members)
        course.grade()
        levels = dict.fromkeys(("1001", "1002", "1004", "1009"), ("1", ""))
        marked = course.mark(levels, to=course.folder / "m.csv")
        course.grade(marked, platform="moodle", roster=roster)
        assert course.grades("Last modified (grade)") == ["-"] * 4  # a column without which Moodle takes none
        people = [re.fullmatch(r"Participant (\d+)", text)[1] for text in course.grades("Identifier")]
        grades = dict(zip(people, course.grades(), strict=True))
        assert grades == {"1001": "6", "1002": "1", "1003": "", "1004": "6"}
        with zipfile.ZipFile(course.out / "feedback_moodle.zip") as archive:
            found = [as_moodle_reads(name, grades) for name in archive.namelist()]
            folders = {name.split("/")[0] for name in archive.namelist()}
            assert folders < {name.split("/")[0] for name in moodle_class()}
            assert "6 of 8 points" in archive.read(archive.namelist()[0]).decode()
        expected = [(number, "assignsubmission_file", "01_small.html") for number in ("1001", "1002", "1004")]
        assert sorted(found) == expected
        course.out = course.folder / "again"


def test_canvas_takes_marks_and_feedback(course):
    members = {
        "müllernne_LATE_1001_51_01_small-1.ipynb": notebook("a"),
        "oneilzo_1002_52_01_small.ipynb": notebook("b", "wrong"),
        "oneilzo_1002_53_data.csv": "x",
        "stranger_1009_54_01_small.ipynb": notebook("c"),
    }
    course.hand_in(members)
    course.grade()
    marked = course.mark({n: ("3", "") for n in ("1001", "1002", "1009")}, to=course.folder / "mine.csv")
    roster = gradebook(course.folder / "class.csv", ("Lesson 01 – small (77)", "8"), ("Other (78)", "5"))
    results, told = course.grade(marked, platform="canvas", roster=roster)
    assert told == ["no mark yet in marks_canvas.csv: stranger 01_small"]
    assert "stranger 01_small: it matches nobody in class.csv" in summary(results)
    head, _, points, *lines = table((course.out / "marks_canvas.csv").read_bytes())
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lesson 01 – small (77)"]
    assert points[0].strip() == "Points Possible" and points[-1] == "8"
    assert [line[-1] for line in lines] == ["8", "3", "", ""]
    with zipfile.ZipFile(course.out / "feedback_canvas.zip") as archive:
        # Canvas looks for two numbers between lines: the user's and the submitted file's.
        found = {re.search(r"_(\d+)_(\d+)_", name).groups(): name for name in archive.namelist()}
    assert found == {
        ("1001", "51"): "müllernne_LATE_1001_51_01_small-1.html",
        ("1002", "52"): "oneilzo_1002_52_01_small.html",
    }


def test_command_says_what_is_missing_before_anything_runs(course, capsys, monkeypatch):
    monkeypatch.setattr(grader, "run_in_sandbox", None)
    course.hand_in(moodle_class())
    assert main(course.command("--format", "moodle")) == 2
    assert "with --roster, the file that they export" in capsys.readouterr().err
    assert main(course.command("--marked", str(course.folder / "none.csv"))) == 2
    assert not course.out.exists()


def test_command_does_all_of_it(course, capsys):
    course.hand_in(moodle_class())
    roster = worksheet(course.folder / "class.csv")
    assert main(course.command("--format", "moodle", "--roster", str(roster))) == 1  # one has no notebook
    printed = capsys.readouterr().out
    assert "4 graded, 1 missing" in printed and "Nobody 01_small: it matches nobody in class.csv" in printed
    assert {path.name for path in course.out.iterdir()} == {
        *("marks.csv", "grading.json", "delivered.json", "feedback", "to_mark.csv"),
        *("marks_moodle.csv", "feedback_moodle.zip"),
    }


@pytest.mark.kernels
def test_whole_route_from_moodle_and_back(tmp_path, bubblewrap, capsys):
    course = Class(tmp_path)
    wrong, script = "answer = 'x'", "<script>x</script>\n\nIt is **not**."
    members = {
        "Änne Müller_1001_assignsubmission_file_/01_small.ipynb": notebook("It is."),
        "Zoë_1002_assignsubmission_file_/01_small.ipynb": notebook(script, wrong),
        "José_1004_assignsubmission_file_/01_small.ipynb": notebook("?", "while True: pass"),
    }
    course.hand_in(members)
    roster = worksheet(tmp_path / "class.csv", grades=("", "", "", ""), most="8")
    command = course.command("--engine", "bwrap", "--seconds", "24", "--memory-gb", "1")
    command += ["--format", "moodle", "--roster", str(roster)]
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "1 met a limit of time: José Núñez 01_small. --seconds 48 gives twice as much." in printed
    assert "3 answers wait for a person" in printed
    marked = course.mark({"1001": ("3", ""), "1002": ("2", "Why not?"), "1004": ("0", "")})
    assert main([*command, "--marked", str(marked)]) == 1
    assert "3 were graded before and are kept" in capsys.readouterr().out
    assert course.grades() == ["8", "5", "", "3"]
    with zipfile.ZipFile(course.out / "feedback_moodle.zip") as archive:
        page = archive.read("Zoë_1002_assignsubmission_file_/01_small.html").decode()
    assert "5 of 8 points" in page and "answer is a whole number" in page and "Why not?" in page
    assert "It is <strong>not</strong>." in page and "<script" not in page
    assert "<small>your answer</small><div class=own>" in page
