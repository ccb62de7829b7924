"""Points of an exercise notebook: for each exercise, and the total so far."""

from course_utils.checks.verdict import Verdict

_POINTS: dict[int, int] = {}


class NotYet(AssertionError):  # noqa: N818 (an exercise is not solved yet; the program is fine)
    """An exercise is not solved yet: an error for the grader, but one calm line for the student."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def points(*verdicts: Verdict, exercise: int, of: int) -> None:
    """Award the points of an exercise if all its checks have passed.

    Raises:
        NotYet: If a check has not passed, so that nbgrader and other graders count the cell as failed.
    """
    passed = all(verdicts)
    _POINTS[exercise] = of if passed else 0
    if not passed:
        blank = any(hint.startswith("Nothing here yet") for verdict in verdicts for hint in verdict.hints)
        raise NotYet(f"Not {'answered' if blank else 'right'} yet: 0 of {of} points. See the check above.")
    print(f"{of} of {of} points")


def total(of: int) -> None:
    """Print the total points for the exercises of this notebook so far."""
    print(f"{sum(_POINTS.values())} of {of} points so far")
