"""marks.csv and the summary of a grading."""

from pathlib import Path

from small_rosters import table

from course_teaching.grading.results import Graded, Question, marks_table, summary

GOLDEN = Path(__file__).parent / "golden"


def class_of_four():
    """Return the rows of two lessons, one of them with a question for a person."""
    points = {"one": (1.0, 1.0), "two": (0.5, 2.0)}
    waiting = {"why": Question("Question 5", 3, "=Because", "k1")}
    marked = {"why": Question("Question 5", 3, "Because.", "k2", 2, "Näher ran.")}
    nothing = {"why": Question("Question 5", 3)}
    own = {"points": points, "seconds": 3.14, "feedback": "feedback/a.html"}
    return [
        Graded("Zoë", "3", "01_small", "z/01.ipynb", "graded", questions=marked, **own),
        Graded("=1+1", "", "01_small", "e/01.ipynb", "stopped", "+1", doubt="who?", questions=waiting, **own),
        Graded("änne", "007", "01_small", "", "missing", "nothing was handed in", questions=nothing),
        Graded(
            "Zoë", "3", "02_other", "z/02.ipynb", "graded", points={"2a": (0.0, 4.0)}, review="cell 3: gc"
        ),
    ]


def test_marks_table_is_as_before():
    assert marks_table(class_of_four()).decode("utf-8-sig") == (GOLDEN / "marks.csv").read_text("utf-8")
    assert {
        cell for line in table(marks_table(class_of_four())) for cell in line if cell[:1] in ("=", "+")
    } == set()


def test_summary_names_whom_to_look_at():
    assert summary(class_of_four()).splitlines() == [
        "2 graded, 1 stopped, 1 missing",
        "Look at 1, with suspicious cells:",
        "  Zoë 02_other: cell 3: gc",
        "Look at 1, whose marks are in doubt:",
        "  =1+1 01_small: who?",
        '1 answers are not marked yet: totals such as "8 to 11" are provisional.',
    ]
