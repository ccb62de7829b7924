"""The parts that all checks share: the verdict, and the decorator that keeps a check from doing harm.

A check is a function that examines an answer. It yields `Right` or a hint for each mistake.
If one hint is enough, it raises `Wrong` and stops there::

    @check(begin="Begin with `len(splits.train)`.", expects="a whole number")
    def split_size(answer, splits):
        if as_number(answer) != len(splits.train):
            raise Wrong("That is not the number of training images. Did you count the test images?")
        yield Right("You counted the training images.")

Many answers are functions. A check calls them on small data of its own through `ask` or `ask_value`
(`asking.py`). If a check compares an answer with a correct one, a table lists the usual mistakes
(`mistakes.py`) and identifies the one that the student made.
The decorator `check` turns all this into a function that prints and returns a `Verdict` for any input.
"""

import copy
import functools
import io
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from types import CodeType, FunctionType

from torch import nn

from course_utils.checks.values import describe, in_words
from course_utils.data.loaders import preserve_rng_state
from course_utils.settings import set_seed


@dataclass(frozen=True)
class Verdict:
    """The result of a check. It is true if the answer passed."""

    passed: bool
    hints: list[str] = field(default_factory=list)
    """One hint for each mistake, with a pointer to where to look. Empty if the answer passed."""

    def __bool__(self) -> bool:
        return self.passed

    def _ipython_display_(self) -> None:
        """Show nothing under the cell because the check has already printed its hints."""


class Right(str):
    """A line that a check yields to say what is right and why."""


class Wrong(Exception):  # noqa: N818 (an answer is wrong; the program is not)
    """The answer is wrong and the check stops here. The message is the hint."""


def check(begin: str, *, expects: str, answers: int = 1, without: tuple[str, ...] = ()) -> Callable:
    """Turn a function that yields hints into a check.

    The check prints what it finds, or nothing with `quiet=True`, and returns a `Verdict`. It never raises an
    exception, runs with seed 0, restores the state of all random number generators, and works on copies of
    any networks among its arguments.

    Args:
        begin: Where a student who has not answered yet can start. Never the solution.
        expects: A noun phrase for a valid answer, shown if the check cannot use the one it got.
        answers: The number of leading arguments that are the student's answers. None counts as a blank.
        without: Functions of the package that solve the exercise, so the answer must not call them.
    """

    def decorate(find_hints: Callable[..., Iterable[str]]) -> Callable[..., Verdict]:
        @functools.wraps(find_hints)
        def checked(*arguments: object, quiet: bool = False, **named: object) -> Verdict:
            own = [*arguments, *named.values()][:answers]
            if not own or any(answer is None for answer in own):
                found = [f"Nothing here yet: {begin}"]
            elif used := [name for name in without if any(_uses(answer, name, set()) for answer in own)]:
                found = [f"`{used[0]}` does it for you. In this exercise, write it yourself."]
            else:
                with redirect_stdout(io.StringIO()) if quiet else nullcontext():
                    found = _find(find_hints, arguments, named, own, expects)
            if not quiet:
                for line in found or [Right("Right.")]:
                    print("✓" if isinstance(line, Right) else "→", line)
            hints = [str(line) for line in found if not isinstance(line, Right)]
            return Verdict(not hints, hints)

        checked.answers = answers
        return checked

    return decorate


def _uses(answer: object, name: str, seen: set[FunctionType]) -> bool:
    """Return whether an answer is or calls a function of the package, even under another name.

    The search also covers other functions of the same notebook and records them in `seen`. A function of the
    same name that the student wrote does not count.
    """
    if type(answer) is not FunctionType or answer in seen:
        return False
    seen.add(answer)
    if _is_ours(answer):
        return answer.__name__ == name
    names, around = _names_in(answer.__code__), answer.__globals__
    if name in names and name not in around:  # an attribute of a module, or imported inside the answer
        return True
    called = [around[one] for one in names if type(around.get(one)) is FunctionType]
    near = [one for one in called if one.__module__ == answer.__module__ or _is_ours(one)]
    return any(_uses(one, name, seen) for one in near)


def _is_ours(function: FunctionType) -> bool:
    return str(function.__module__).startswith("course_utils.")


def _names_in(code: CodeType) -> set[str]:
    """Return the names that code uses, including those used by functions defined in it."""
    return set(code.co_names).union(*(_names_in(one) for one in code.co_consts if type(one) is CodeType))


def _find(find_hints: Callable, arguments: tuple, named: dict, own: list, expects: str) -> list[str]:
    """Return the lines that a check yields. Turn an exception into a hint."""
    found = []
    try:
        # nbgrader deducts the points for a progress bar on stderr
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()), preserve_rng_state():
            set_seed(0)
            given = {name: _copied(value) for name, value in named.items()}
            for line in find_hints(*map(_copied, arguments), **given) or []:
                found.append(line)
    except Wrong as error:
        found.append(str(error))
    except (Exception, SystemExit) as error:  # any error in an answer must become a hint
        arrived = " and ".join(describe(answer) for answer in own)
        found.append(
            f"The check cannot use this answer. Expected {expects}, got {arrived}. The error was "
            f"{in_words(error)}."
        )
    return found


def _copied(value: object) -> object:
    return copy.deepcopy(value) if isinstance(value, nn.Module) else value
