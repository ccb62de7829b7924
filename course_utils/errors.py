"""Errors that say what failed and how to fix it.

Every error of the course says four things: what failed and where, what was expected, what was found, and
what to do next. The exception that started it is chained (`raise ... from error`). In a notebook those four
things come first, without the traceback.
"""

import sys
import traceback
from functools import partial


class CourseError(Exception):
    """The parent of every error that the course raises on purpose.

    Args:
        failed: What could not be done, as one sentence.
        where: The absolute path, or the name, of the thing at fault.
        expected: What should have been there.
        found: What was there instead.
        do: What to do next.
    """

    def __init__(self, failed: str, *, where: object, expected: str, found: str, do: str):
        parts = (printable(part) for part in (failed, where, expected, found, do))
        self.failed, self.where, self.expected, self.found, self.do = parts
        super().__init__(
            f"{self.failed}\n  where:    {self.where}\n  expected: {self.expected}\n"
            f"  found:    {self.found}\n  do next:  {self.do}"
        )

    def within(self, place: str) -> "CourseError":
        """Return the same error with a larger place before `where`, for example "epoch 2"."""
        where = f"{place}, {self.where}"
        return type(self)(self.failed, where=where, expected=self.expected, found=self.found, do=self.do)

    def advising(self, more: str) -> "CourseError":
        """Return the same error with further advice that only the caller knows."""
        parts = {"where": self.where, "expected": self.expected, "found": self.found}
        return type(self)(self.failed, **parts, do=f"{self.do} {more}")

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows for this error; it calls the method by this name.

        These are the message and the notebook's lines that led to the error; later, for the magic command
        %tb, the whole traceback.
        """
        if sys.exception() is not self:
            from IPython import get_ipython

            return get_ipython().InteractiveTB.structured_traceback(type(self), self, self.__traceback__)
        entries = traceback.walk_tb(self.__traceback__)
        own = [entry for entry in entries if entry[0].f_globals.get("__name__") == "__main__"]
        lines = [
            f"  line {frame.lineno}{'' if frame.name.startswith('<') else f', in {frame.name}'}: {frame.line}"
            for frame in traceback.StackSummary.extract(iter(own))
        ]
        called = ["", "Your code:", *lines] if lines else []
        message = f"{type(self).__name__}: {self}"
        return [message, *called, "", "To see the whole traceback: %tb in a new cell."]

    def __reduce__(self):
        # Exceptions with keyword-only arguments need help to be passed between processes (data workers).
        named = {"where": self.where, "expected": self.expected, "found": self.found, "do": self.do}
        return partial(type(self), self.failed, **named), ()


def printable(text: object) -> str:
    """Return a printable text: a file name can contain bytes that are not UTF-8."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


class ConfigError(CourseError):
    """A parameter, a name or a combination of them is not valid."""


class DataError(CourseError):
    """Images or labels are missing, unreadable or not what they should be."""


class WeightsError(CourseError):
    """Pretrained weights are missing, damaged, altered or for another network."""


class TrainingError(CourseError):
    """Training cannot start or must not go on."""


class CheckpointError(CourseError):
    """A saved model or a saved training state cannot be written, read or used here."""
