"""Errors that say what failed and how to fix it.

Every error of the course says four things: what failed and where, what was expected, what was found, and
what to do next. The exception that started it is chained (`raise ... from error`). In a notebook those four
things come first, without the traceback.
"""

import importlib.util
import re
import sys
import traceback
from collections.abc import Mapping
from functools import partial
from types import FrameType, TracebackType


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
        """Return the same error with more advice: where it happened, more is known of what to do."""
        parts = {"where": self.where, "expected": self.expected, "found": self.found}
        return type(self)(self.failed, **parts, do=f"{self.do} {more}")

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows of this error; it asks for it by this name, in notebooks too."""
        return _briefly(self, f"{type(self).__name__}: {self}")

    def __reduce__(self):
        # Exceptions with keyword-only arguments need help to cross a process border (data workers).
        named = {"where": self.where, "expected": self.expected, "found": self.found, "do": self.do}
        return partial(type(self), self.failed, **named), ()


def _briefly(error: BaseException, message: str) -> list[str]:
    """Return a message, and the lines of the notebook that led to the error."""
    frames = traceback.StackSummary.extract(
        entry for entry in traceback.walk_tb(error.__traceback__) if _own(entry)
    )
    lines = [
        f"  line {frame.lineno}{'' if frame.name.startswith('<') else f', in {frame.name}'}: {frame.line}"
        for frame in frames
    ]
    called = ["", "Your code:", *lines] if lines else []
    return _or_whole(error, [message, *called, "", "To see the whole traceback: %tb in a new cell."])


def _or_whole(error: BaseException, lines: list[str]) -> list[str]:
    """Return the lines while the error is being handled; later, for the magic command %tb, the traceback."""
    if sys.exception() is error:
        return lines
    from IPython import get_ipython

    return get_ipython().InteractiveTB.structured_traceback(type(error), error, error.__traceback__)


def _own(entry: tuple[FrameType, int]) -> bool:
    """Tell whether a frame of a traceback, with its line number, is the notebook's own code."""
    return entry[0].f_globals.get("__name__") == "__main__"


def _explain(shell, kind: type, error: BaseException, trace: TracebackType, tb_offset: int | None = None):
    """Show a missing name or Ctrl-C in a few lines; the exception itself does not change."""
    *_, innermost = traceback.walk_tb(trace)
    if kind is KeyboardInterrupt:
        line = "KeyboardInterrupt: you stopped this cell. To see where it was: %tb in a new cell."
        error._render_traceback_ = lambda: _or_whole(error, [line])
    elif kind is NameError and error.name and _own(innermost):
        message = (
            f"NameError: {error}\n  do next:  If an earlier cell makes {error.name}: Run > Run All Above "
            "Selected Cell. If none does, check the spelling."
        )
        error._render_traceback_ = lambda: _briefly(error, message)
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


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


def require_packages(packages: Mapping[str, str]) -> None:
    """Look whether packages are installed, without importing them.

    Args:
        packages: The names by which they are installed, by those by which they are imported.

    Raises:
        ConfigError: It names all that are missing.
    """
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        names = " ".join(missing)
        raise ConfigError(
            "Packages that every lesson needs are not installed.",
            where=sys.executable,
            expected="the packages of pyproject.toml, in this Python",
            found=f"no {', '.join(missing)}",
            do=f"pip install {names} (in a notebook: %pip install {names}), and restart the kernel.",
        )


# Every part of the course imports this one, so a notebook has it soon after a restart.
if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
    shell.set_custom_exc((NameError, KeyboardInterrupt), _explain)
