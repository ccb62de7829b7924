"""Points of an exercise: a calm line for the student, and an error for whoever grades."""

import pytest

from course_utils.checks.scoring import NotYet, points, total
from course_utils.checks.verdict import Verdict

RIGHT, WRONG, BLANK = Verdict(True), Verdict(False, ["No."]), Verdict(False, ["Nothing here yet: begin."])


def test_points_count_what_has_passed_last(capsys):
    points(RIGHT, exercise=1, of=2)
    for verdicts, line in (((RIGHT, WRONG), "Not right yet: 0 of 3"), ((RIGHT, BLANK), "Not answered yet")):
        with pytest.raises(NotYet, match=line) as error:
            points(*verdicts, exercise=2, of=3)
        assert error.value._render_traceback_() == [str(error.value)]
    total(5)
    points(RIGHT, RIGHT, exercise=2, of=3)
    total(5)
    assert capsys.readouterr().out.splitlines() == [
        "2 of 2 points", "2 of 5 points so far", "3 of 3 points", "5 of 5 points so far",
    ]  # fmt: skip
