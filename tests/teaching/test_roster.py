"""Everybody of the roster has a row, names stay as they are, and nobody is guessed."""

import pytest
from small_rosters import NAMES, gradebook, worksheet, write

from course_teaching.grading.roster import assign, read_roster
from course_teaching.grading.submissions import Submission
from course_utils.errors import ConfigError

NUMBERS = ("1001", "1002", "1003", "1004")


def plain(path, **how):
    return write(path, [["Name", "ID"], *([name, f"00{n}"] for n, name in enumerate(NAMES, 1001))], **how)


def handed_in(student, number="", lesson="05_evaluate"):
    return Submission(student, number, f"{student}_{number}/{lesson}.ipynb", lesson)


def shown(rows):
    """Return name, id, lesson and whether it was handed in, in order."""
    return sorted((one.student, one.id, one.lesson, bool(one.file)) for one in rows)


@pytest.mark.parametrize("how", [{}, {"delimiter": ";"}, {"delimiter": "\t"}, {"bom": True}])
@pytest.mark.parametrize("writer, begin", [(worksheet, ""), (gradebook, ""), (plain, "00")])
def test_read_roster_keeps_names_and_ids(tmp_path, writer, begin, how):
    people = read_roster(writer(tmp_path / "class.csv", **how))
    assert people == {f"{begin}{n}": name for n, name in zip(NUMBERS, NAMES, strict=True)}


@pytest.mark.parametrize(
    "rows, words",
    [
        ([], "a file that begins with ''"),
        ([["name", "mail"], ["a", "b"]], "a file that begins with 'name,mail"),
        ([["name", "id"], ["a", "1", "2"]], "row 2 has more cells than the header"),
        ([["name", "id"]], "nobody"),
        ([["name", "id"], ["a", "7"], ["b", "7"]], "'7'"),
        ([["name", "id"], ["a", ""], ["b", "7"]], "''"),
    ],
)
def test_read_roster_rejects_what_tells_nobody_apart(tmp_path, rows, words):
    with pytest.raises(ConfigError, match="The roster") as caught:
        read_roster(write(tmp_path / "class.csv", rows))
    assert words in caught.value.found


def test_assign_gives_everybody_a_row(tmp_path):
    found = [handed_in("Müller", "1001"), handed_in("x", "1004")]
    rows = assign(found, ["05_evaluate"], worksheet(tmp_path / "class.csv"))
    own = [(name, n, "05_evaluate", n in ("1001", "1004")) for n, name in zip(NUMBERS, NAMES, strict=True)]
    assert shown(rows) == sorted(own) and {one.doubt for one in rows} == {""}


def test_assign_names_strangers_and_doubles_and_guesses_nobody(tmp_path):
    people = [("Jose Nunez", "9"), ("O'Neil,  zoë", ""), ("a", "1002"), (NAMES[3], "77"), ("b", "1001")]
    rows = assign([handed_in(*one) for one in people], [], worksheet(tmp_path / "class.csv"))
    assert {(one.student, one.id): one.doubt for one in rows if one.doubt} == {
        ("Jose Nunez", "9"): "it matches no people in class.csv",
        (NAMES[3], "77"): "it matches no people in class.csv",
        (NAMES[1], "1002"): f"2 notebooks of {NAMES[1]} for this lesson",
    }
    assert {(one.student, one.id) for one in rows if not one.file} == {(NAMES[2], "1003"), (NAMES[3], "1004")}


def test_assign_does_not_guess_between_two_people_of_one_name(tmp_path):
    roster = [["name", "id"], ["Kim Lee", "007"], ["Kim Lee", "008"], ["Jo", "009"]]
    own = [handed_in("kim  lee"), handed_in("008"), handed_in("Jo", "7654321"), handed_in("J")]
    rows = assign(own, [], write(tmp_path / "class.csv", roster))
    assert [(one.student, one.id, one.doubt) for one in own] == [
        ("kim  lee", "", "it matches 2 people in class.csv"),
        ("Kim Lee", "008", ""),
        ("Jo", "009", ""),
        ("J", "", "it matches no people in class.csv"),
    ]
    assert [(one.student, one.id) for one in rows if not one.file] == [("Kim Lee", "007")]


def test_assign_misses_a_lesson_if_it_is_asked_for():
    own = [handed_in("anna"), handed_in("ben"), handed_in("anna", lesson="06_fine_tune")]
    own.append(Submission("dora", problem="no notebook was handed in, but a.py"))
    missing = [one for one in assign(own, [], None) if not one.file]
    assert [(one.student, one.lesson, one.problem) for one in missing] == [
        ("dora", "", "no notebook was handed in, but a.py")
    ]
    lacking = [(one.student, one.lesson) for one in assign(own, ["06_fine_tune"], None) if not one.file]
    assert lacking == [(name, "06_fine_tune") for name in ("ben", "dora")]


def test_assign_takes_two_spellings_of_a_name_for_one_student():
    own = [handed_in("Anna"), handed_in("anna ")]
    assign(own, [], None)
    assert [one.doubt for one in own] == [
        "2 notebooks of Anna for this lesson",
        "2 notebooks of anna  for this lesson",
    ]
