"""How a check calls a function that a student wrote: a mistake on the way becomes a hint."""

import pickle
import traceback
from collections.abc import Callable

from course_utils.checks.values import DATA, describe, in_words, numbers_in
from course_utils.checks.verdict import Wrong

NO_RETURN = "Your function gives back None. Does its last line begin with `return`?"

# What PyTorch and numpy say of a student's usual slips, and what it means
_SLIPS = {
    "leaf Variable that requires grad": "a weight is changed in place, which `torch.no_grad()` must allow",
    "numpy boolean subtract": "True and False cannot be subtracted: make numbers of them, `.astype(float)`",
    "Subtraction, the `-` operator, with a bool": "True and False cannot be subtracted: take `.float()`",
    "shapes cannot be multiplied": "two matrices do not fit. Which of them comes first, or is turned round?",
    "must match the size of tensor": "two shapes do not fit. Print both: which dimension has other sizes?",
    "could not be broadcast together": "two shapes do not fit. Print both: which dimension has other sizes?",
}


def ask(function: Callable, *arguments: object) -> object:
    """Call a function that a student wrote.

    Raises:
        Wrong: If it is no function, stops with an error, or changes the data that it is given; the text is a
            hint, and names the line.
    """
    if not callable(function):
        raise Wrong(f"The answer should be a function, and this is {describe(function)}.")
    before = [(one, describe(one), pickle.dumps(one)) for one in arguments if isinstance(one, DATA)]
    value = _call(function, arguments)
    for one, words, content in before:
        if pickle.dumps(one) != content:
            raise Wrong(
                f"Your function changes its input, {words}. The caller may still need it: work on a copy."
            )
    return value


def _call(function: Callable, arguments: tuple) -> object:
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        code = getattr(function, "__code__", None)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if code and frame.filename == code.co_filename]
        where = f" in line {lines[-1]} of its cell" if lines else ""
        name = getattr(function, "__name__", type(function).__name__)
        slip = next((f" That is, {slip}" for words, slip in _SLIPS.items() if words in str(error)), "")
        raise Wrong(f"Your {name} stops{where} with {in_words(error)}.{slip}") from error


def ask_value(function: Callable, *arguments: object, none: str = NO_RETURN) -> object:
    """Call a function that a student wrote and that must return something: `Wrong(none)` if it does not."""
    value = ask(function, *arguments)
    if value is None:
        raise Wrong(none)
    return value


def as_numbers(value: object, count: int) -> tuple[float, ...]:
    """Return so many finite numbers in their order; `Wrong` if the value is anything else."""
    if value is None:
        raise Wrong(NO_RETURN)
    found = numbers_in(value)
    if len(found) != count or isinstance(value, set):
        raise Wrong(f"Your function gives {value!r:.60}: it should give {count} numbers.")
    return tuple(found)
