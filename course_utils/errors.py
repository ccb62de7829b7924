"""What goes wrong, told so that you can mend it.

Every error of the course says four things: what failed and where, what was expected, what was found, and
what to do next. The exception that started it is chained (`raise ... from error`).
"""

import re
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

    def __reduce__(self):
        # Exceptions with keyword-only arguments need help to cross a process border (data workers).
        named = {"where": self.where, "expected": self.expected, "found": self.found, "do": self.do}
        return partial(type(self), self.failed, **named), ()


def printable(text: object) -> str:
    """Return a printable text: a file's name may hold carriage returns, or bytes that are not UTF-8."""
    decoded = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f]", lambda control: repr(control.group())[1:-1], decoded)


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
