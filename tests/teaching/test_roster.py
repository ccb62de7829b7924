"""Everybody of the roster has a row, names stay as they are, and nobody is guessed."""

import csv
import io

import pytest
from small_rosters import CANVAS, NAMES, gradebook, table, worksheet, write

from course_teaching.grading.platforms import canvas_table, moodle_table
from course_teaching.grading.results import Graded, Question, marks_table, summary
from course_teaching.grading.roster import assign, read_roster
from course_utils.errors import ConfigError


def plain(path, **how):
    return write(path, [["Name", "ID"], *([name, f"00{n}"] for n, name in enumerate(NAMES, 1001))], **how)


def row(student, number="", lesson="05_evaluate", got=6, **named):
    file = named.pop("file", f"{student}_{number}/{lesson}.ipynb")
    return Graded(student, lesson, file, "graded", points={"t": (got, 8)}, feedback="f", id=number, **named)


@pytest.mark.parametrize("how", [{}, {"delimiter": ";"}, {"delimiter": "\t"}, {"bom": True}])
@pytest.mark.parametrize("platform, writer", [("moodle", worksheet), ("canvas", gradebook), ("csv", plain)])
def test_names_and_ids_stay_as_they_are(tmp_path, platform, writer, how):
    roster = read_roster(writer(tmp_path / "class.csv", **how), platform)
    begin = "00" if platform == "csv" else ""
    assert [*roster.people.values()] == [(name, f"{begin}{n}") for n, name in enumerate(NAMES, 1001)]
    rows = assign([row("someone", "1001")], roster) if platform != "csv" else assign([], roster)
    shown = {line[0]: line[1] for line in table(marks_table(rows))[1:]}
    assert shown == {name: f"{begin}{n}" for n, name in enumerate(NAMES, 1001)}


def test_everybody_has_a_row_and_who_has_not_handed_in_has_no_mark(tmp_path):
    roster = read_roster(worksheet(tmp_path / "class.csv"), "moodle")
    rows = assign([row("Müller", "1001"), row("José Núñez", "1004", got=0)], roster)
    head, *lines = table(marks_table(rows))
    found = {line[0]: dict(zip(head, line, strict=True)) for line in lines}
    assert found.keys() == set(NAMES)
    assert [found[name]["total"] for name in NAMES] == ["6", "", "", "0"]
    assert [found[name]["t"] for name in NAMES] == ["6", "", "", "0"]
    assert [found[name]["status"] for name in NAMES] == ["graded", "missing", "missing", "graded"]
    assert assign(rows, roster) == rows


def test_who_matches_nobody_or_is_there_twice_is_named_and_neither_dropped_nor_guessed(tmp_path):
    roster = read_roster(worksheet(tmp_path / "class.csv"), "moodle")
    handed_in = [("Jose Nunez", "9"), ("O'Neil, Zoë", ""), ("a", "1002"), ("=1+1", "8"), ("b", "1001")]
    rows = assign([row(*one) for one in handed_in], roster)
    assert {one.student: one.roster_problem for one in rows if one.roster_problem} == {
        "Jose Nunez": "it matches nobody in class.csv",
        "=1+1": "it matches nobody in class.csv",
        "O'Neil, Zoë": "2 notebooks of O'Neil, Zoë for this lesson",
        "a": "2 notebooks of O'Neil, Zoë for this lesson",
    }
    assert {line[0] for line in table(marks_table(rows))[1:]} == {*NAMES, "Jose Nunez", "'=1+1"}
    assert "Look at 4," in summary(rows) and "Jose Nunez 05_evaluate: it matches nobody" in summary(rows)
    grades = [line[4] for line in table(moodle_table(rows, roster)[0])[1:]]
    assert grades == ["6", "", "", "5.00"]  # what the teacher had given stays


def test_name_of_somebody_with_the_number_of_somebody_else_is_not_guessed(tmp_path):
    roster = read_roster(worksheet(tmp_path / "class.csv"), "moodle")
    people = [row(NAMES[3], "77"), row(NAMES[3]), row(NAMES[0], "1002")]
    found = {(one.student, one.id): one.roster for one in assign(people, roster) if one.file}
    assert found == {
        (NAMES[3], "77"): None,
        (NAMES[3], ""): (NAMES[3], "1004"),
        (NAMES[0], "1002"): (NAMES[1], "1002"),
    }


def test_two_people_of_one_name_are_not_guessed(tmp_path):
    write(tmp_path / "class.csv", [["name", "id"], ["Kim Lee", "007"], ["Kim Lee", "008"], ["Jo", "009"]])
    roster = read_roster(tmp_path / "class.csv", "csv")
    rows = assign([row("kim  lee"), row("008"), row("Jo"), row("J"), row("00")], roster)
    assert [(one.student, one.roster) for one in rows if one.file] == [
        ("00", None),
        ("J", None),
        ("Jo", ("Jo", "009")),
        ("kim  lee", None),
        ("008", ("Kim Lee", "008")),
    ]
    assert [one.status for one in rows if one.roster == ("Kim Lee", "007")] == ["missing"]


def test_a_lesson_of_one_student_is_not_missing_for_the_others(tmp_path):
    roster = read_roster(worksheet(tmp_path / "class.csv"), "moodle")
    rows = [row("x", "1001"), row("y", "1002"), row("z", "1003"), row("x", "1001", "06_fine_tune")]
    lessons = [(one.roster[1], one.lesson) for one in assign(rows, roster)]
    others = [(number, "05_evaluate") for number in ("1002", "1003", "1004")]
    assert sorted(lessons) == [("1001", "05_evaluate"), ("1001", "06_fine_tune"), *others]


def test_worksheet_comes_back_with_nothing_but_grades_changed(tmp_path):
    path = worksheet(tmp_path / "class.csv", delimiter=";", bom=True)
    roster = read_roster(path, "moodle")
    waiting = row("z", "1003", questions={"q": Question("Question", 3, "text", "k1")})
    content, told = moodle_table(assign([row("x", "1001"), waiting], roster), roster)
    assert content.startswith(b"\xef\xbb\xbf")
    before = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""), delimiter=";"))
    before[1][4] = "6"
    assert table(content) == before
    assert told == ["the highest mark of this assignment is 8.00: set it to 11 before you upload"]


def test_grade_is_the_sum_of_the_lessons_and_no_part_of_it(tmp_path):
    roster = read_roster(worksheet(tmp_path / "class.csv", most="16"), "moodle")
    refused = Graded("y", "06_fine_tune", "y.zip", "refused", id="1002", feedback="f")
    rows = [row("x", "1001"), row("x", "1001", "06_fine_tune", 8), row("y", "1002"), refused]
    content, told = moodle_table(assign(rows, roster), roster)
    assert [line[4] for line in table(content)[1:]] == ["14", "", "", "5.00"]
    assert told == ["the highest mark of this assignment is 16: set it to 8 before you upload"]


def test_gradebook_has_the_columns_that_canvas_asks_for(tmp_path):
    columns = [("Lesson 5 (71)", "8"), ("Fine tune (72)", "10.00"), ("Essay 05 on evaluation (73)", "20")]
    roster = read_roster(gradebook(tmp_path / "class.csv", *columns, delimiter=";"), "canvas")
    people = assign([row("x", "1001"), row("y", "1002", "06_fine_tune"), row("z", "1003", "07_a")], roster)
    content, told = canvas_table(people, roster)
    head, muted, points, *lines = table(content)
    assert head == [*CANVAS, "Lesson 5 (71)", "Fine tune (72)", "07_a"]
    assert muted[5:] == ["Manual Posting", "Manual Posting", ""]
    assert points == ["    Points Possible", "", "", "", "", "8", "10.00", "8"]
    assert [line[0] for line in lines] == NAMES
    assert [line[2] for line in lines] == ["001001", "001002", "001003", "001004"]
    assert [line[5:] for line in lines] == [["6", "", ""], ["", "6", ""], ["", "", "6"], ["", "", ""]]
    assert told == [
        "the highest mark of Fine tune (72) is 10.00: set it to 8 before you upload",
        "no column of the roster for 07_a: Canvas will ask which assignment that is",
    ]


def test_lesson_of_one_alone_changes_neither_the_highest_mark_nor_the_columns(tmp_path):
    roster = read_roster(worksheet(tmp_path / "class.csv"), "moodle")
    people = [row("x", "1001"), row("y", "1002"), row("z", "1003"), row("x", "1001", "06_fine_tune")]
    stranger = row("s", "9", "07_a")
    assert moodle_table(assign([*people, stranger], roster), roster)[1] == []
    roster = read_roster(gradebook(tmp_path / "class.csv", ("Lesson 05 (1)", "8")), "canvas")
    content, _ = canvas_table(assign([*people, stranger], roster), roster)
    assert table(content)[0] == [*CANVAS, "Lesson 05 (1)", "06_fine_tune"]


def test_who_is_excused_or_has_a_mark_already_keeps_it(tmp_path):
    path = gradebook(tmp_path / "class.csv", ("Evaluate (71)", "8"))
    lines = table(path.read_bytes())
    lines[3][5], lines[4][5], lines[5][5] = "EX", "7", "2"
    roster = read_roster(write(path, lines), "canvas")
    content, _ = canvas_table(assign([row("x", "1001"), row("z", "1003")], roster), roster)
    assert [line[5] for line in table(content)[3:]] == ["EX", "7", "6", ""]


@pytest.mark.parametrize(
    "platform, content, words",
    [
        ("moodle", b"Bezeichnung,Bewertung\n", "no column Identifier, Grade, Last modified (grade)"),
        ("moodle", b"", "no column"),
        ("canvas", "Student;ID;Section\nMüller;1;A\n".encode("cp1252"), "UnicodeDecodeError"),
        ("csv", "name,id\nMüller, Änne,1\n".encode(), "row 2 has more cells"),
        ("csv", b"name,id\nA,1\nB,1\n", "twice or empty: '1'"),
        ("csv", b"name,id\nA,\n", "twice or empty: ''"),
        ("csv", b"name,id\n", "nobody"),
        ("csv", None, "FileNotFoundError"),
    ],
)
def test_what_is_no_roster_is_an_error(tmp_path, platform, content, words):
    path = tmp_path / "class.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_roster(path, platform)
    assert words in caught.value.found
