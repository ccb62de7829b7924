"""Call a function that a student wrote, and turn its errors into hints."""

import pickle
import traceback
from collections.abc import Callable

from course_utils.checks.values import DATA, describe, in_words, numbers_in
from course_utils.checks.verdict import Wrong

NO_RETURN = "Your function returns None. Does its last line start with `return`?"

_TWO_SHAPES = "The two shapes do not match. Print both. In which dimension do they differ?"

# Messages of PyTorch and NumPy for common slips of students, and an explanation of each
_SLIPS = {
    "leaf Variable that requires grad": "You change a weight in place. `torch.no_grad()` has to allow that.",
    "numpy boolean subtract": "NumPy cannot subtract booleans. Convert them first with `.astype(float)`.",
    "Subtraction, the `-` operator, with a bool": "PyTorch cannot subtract booleans. Try `.float()` first.",
    "shapes cannot be multiplied": "The shapes of the two matrices do not match. Is their order right? "
    "Does one need to be transposed?",
    "must match the size of tensor": _TWO_SHAPES,
    "could not be broadcast together": _TWO_SHAPES,
}


def ask(function: Callable, *arguments: object) -> object:
    """Call a function that a student wrote.

    Raises:
        Wrong: If it is not a function, raises an error, or changes the data passed to it. The message is a
            hint that names the line.
    """
    if not callable(function):
        raise Wrong(f"The answer should be a function, but it is {describe(function)}.")
    before = [(one, describe(one), pickle.dumps(one)) for one in arguments if isinstance(one, DATA)]
    value = _call(function, arguments)
    for one, words, content in before:
        if pickle.dumps(one) != content:
            raise Wrong(
                f"Your function changes its input, {words}. The caller may still need it, so work on a copy."
            )
    return value


def _call(function: Callable, arguments: tuple) -> object:
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        code = getattr(function, "__code__", None)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if code and frame.filename == code.co_filename]
        where = f" on line {lines[-1]} of its cell" if lines else ""
        name = getattr(function, "__name__", type(function).__name__)
        slip = next((f" {slip}" for words, slip in _SLIPS.items() if words in str(error)), "")
        raise Wrong(f"Your {name} fails{where} with {in_words(error)}.{slip}") from error


def ask_value(function: Callable, *arguments: object, none: str = NO_RETURN) -> object:
    """Call a function that a student wrote. Raise `Wrong(none)` if it returns None."""
    value = ask(function, *arguments)
    if value is None:
        raise Wrong(none)
    return value


def as_numbers(value: object, count: int) -> tuple[float, ...]:
    """Return exactly `count` finite numbers in their order. Raise `Wrong` if the value is anything else."""
    if value is None:
        raise Wrong(NO_RETURN)
    found = numbers_in(value)
    if len(found) != count or isinstance(value, set):
        raise Wrong(f"Your function should return {count} numbers, but it returns {value!r:.60}.")
    return tuple(found)
