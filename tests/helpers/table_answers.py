"""The tables of the checks, and their functions, for answers that are nearly right."""

import inspect
from collections.abc import Callable

from course_utils import checks
from course_utils.checks.mistakes import Mistakes


def tables_of(check: str) -> list[Mistakes]:
    """Return the tables that a check names, in their order."""
    function = inspect.unwrap(getattr(checks, check))
    named = [function.__globals__.get(name) for name in function.__code__.co_names]
    return [value for value in named if isinstance(value, Mistakes)]


def right_of(check: str) -> Callable:
    return tables_of(check)[0].right


def wrong_of(check: str, words: str) -> Callable:
    """Return the mistake whose hint has these words."""
    return next(mistake for hint, mistake in tables_of(check)[0].wrong.items() if words in hint)
