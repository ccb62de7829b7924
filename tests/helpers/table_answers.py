"""The right functions of the checks' tables, for answers that are nearly right."""

from collections.abc import Callable

from course_utils import checks


def right_of(check: str) -> Callable:
    return getattr(checks, check).tables[0].right
