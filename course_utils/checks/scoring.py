"""Points of an exercise notebook: those of each exercise, and how many there are so far."""

from course_utils.checks.verdict import Verdict

_POINTS: dict[int, int] = {}


class NotYet(AssertionError):  # noqa: N818 (an exercise is not solved yet; the program is sound)
    """An exercise is not solved: an error for whoever grades, and one calm line for the student."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def points(*verdicts: Verdict, exercise: int, of: int) -> None:
    """Give an exercise its points if every check of it has passed.

    Raises:
        NotYet: If one has not, so that a grader, nbgrader's too, counts the cell as failed.
    """
    passed = all(verdicts)
    _POINTS[exercise] = of if passed else 0
    if not passed:
        blank = any(hint.startswith("Nothing here yet") for verdict in verdicts for hint in verdict.hints)
        raise NotYet(f"Not {'answered' if blank else 'right'} yet: 0 of {of} points. See the check above.")
    print(f"{of} of {of} points")


def total(of: int) -> None:
    """Print how many points the exercises of this notebook have so far."""
    print(f"{sum(_POINTS.values())} of {of} points so far")
