"""What every check shares: the verdict, and the rule that a check helps and never harms.

A check is a function that looks at an answer. It yields `Right`, or a hint for each thing that is wrong.
Where one hint is enough it raises `Wrong`, and looks no further::

    @check(begin="Begin with `len(splits.train)`.", expects="a whole number")
    def split_size(answer, splits):
        if as_number(answer) != len(splits.train):
            raise Wrong("That is not how many images there are to train with: did you count the test images?")
        yield Right("You counted the training images.")

Many answers are functions. A check calls them with small data of its own, through `ask` or `ask_value`
(`asking.py`). Where an answer is compared with a right one, the usual mistakes are in a table
(`mistakes.py`), which finds out which of them it was.
`check` turns it all into a function that prints and returns a `Verdict`, whatever arrives.
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
    """What a check found. It counts as true if the answer passed."""

    passed: bool
    hints: list[str] = field(default_factory=list)
    """One for each thing that is wrong, with where to look. Empty if the answer passed."""

    def __bool__(self) -> bool:
        return self.passed

    def _ipython_display_(self) -> None:
        """Show nothing under the cell: the check has printed it already."""


class Right(str):
    """What a check yields to say that something is right, and why."""


class Wrong(Exception):  # noqa: N818 (an answer is wrong; the program is not)
    """The answer is wrong, and the check ends here; the text is the hint."""


def check(begin: str, *, expects: str, answers: int = 1, without: tuple[str, ...] = ()) -> Callable:
    """Make a check out of a function that yields hints.

    The check prints what was found, or nothing with `quiet=True`, and returns a `Verdict`. It raises
    nothing, draws its random numbers from seed 0, gives back the random numbers as they were, and works with
    copies of the networks among its arguments.

    Args:
        begin: Where to begin, for somebody who has not answered yet. Never the solution.
        expects: What the answer should be, in a few words, for one that the check could not use.
        answers: How many of the arguments, from the first, are the student's own: None is a blank.
        without: Functions of the package that do the exercise, and are not to be called here.
    """

    def decorate(find_hints: Callable[..., Iterable[str]]) -> Callable[..., Verdict]:
        @functools.wraps(find_hints)
        def checked(*arguments: object, quiet: bool = False, **named: object) -> Verdict:
            own = [*arguments, *named.values()][:answers]
            if not own or any(answer is None for answer in own):
                found = [f"Nothing here yet: {begin}"]
            elif used := [name for name in without if any(_uses(answer, name, set()) for answer in own)]:
                found = [f"`{used[0]}` does it for you. Here, write it yourself."]
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
    """Say whether an answer is or calls a function of the package, under whatever name.

    Other functions of the same notebook are looked through, too: `seen` has those that were. A student's own
    function of that name is not the package's.
    """
    if type(answer) is not FunctionType or answer in seen:
        return False
    seen.add(answer)
    if _is_ours(answer):
        return answer.__name__ == name
    names, around = _names_in(answer.__code__), answer.__globals__
    if name in names and name not in around:  # an attribute of a module, or imported in the answer itself
        return True
    called = [around[one] for one in names if type(around.get(one)) is FunctionType]
    near = [one for one in called if one.__module__ == answer.__module__ or _is_ours(one)]
    return any(_uses(one, name, seen) for one in near)


def _is_ours(function: FunctionType) -> bool:
    return str(function.__module__).startswith("course_utils.")


def _names_in(code: CodeType) -> set[str]:
    """Return the names that code uses, those of functions written in it among them."""
    return set(code.co_names).union(*(_names_in(one) for one in code.co_consts if type(one) is CodeType))


def _find(find_hints: Callable, arguments: tuple, named: dict, own: list, expects: str) -> list[str]:
    """Return the lines that a check yields; an exception becomes a hint of its own."""
    found = []
    try:
        # nbgrader takes the points off for a bar on stderr
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()), preserve_rng_state():
            set_seed(0)
            given = {name: _copied(value) for name, value in named.items()}
            for line in find_hints(*map(_copied, arguments), **given) or []:
                found.append(line)
    except Wrong as error:
        found.append(str(error))
    except (Exception, SystemExit) as error:  # whatever a student writes must end in a hint
        arrived = " and ".join(describe(answer) for answer in own)
        found.append(f"The check cannot use this: it wants {expects} and got {arrived} ({in_words(error)}).")
    return found


def _copied(value: object) -> object:
    return copy.deepcopy(value) if isinstance(value, nn.Module) else value
