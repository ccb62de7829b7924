"""The functions of the checks' tables, for answers that are nearly right."""

from collections.abc import Callable

from course_utils import checks


def right_of(check: str) -> Callable:
    return getattr(checks, check).tables[0].right


def wrong_of(check: str, words: str) -> Callable:
    """Return the mistake whose hint has these words."""
    mistakes = getattr(checks, check).tables[0].wrong
    return next(mistake for hint, mistake in mistakes.items() if words in hint)
