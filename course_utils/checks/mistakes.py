"""Tables of mistakes: the right function, and each wrong one that a student might write, with its hint.

If the answer to an exercise is a function, each mistake is a function as well. A table contains every typical
mistake as a student might write it, and compares the answer with all of them on the same cases::

    SPLIT_SIZE = Mistakes(
        right=lambda images, share: images * share,
        wrong={"You return the images that are left over.": lambda images, share: images * (1 - share)},
        found="You take {value:g} of {images} images. ",
    )

    @check(begin="...", expects="a function from two numbers to one")
    def split_size(answer):
        yield from SPLIT_SIZE.compare(answer, [(100, 0.2), (60, 0.5)])

A test passes every wrong function of every table to the check that uses it. Each function must get its own
hint. The test fails if two functions return the same results in all cases. Then add a case that tells them
apart, or give both a single hint. A check with several answers has one table for each.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch

from course_utils.checks.asking import ask_value
from course_utils.checks.values import alike, as_number, describe, numbers_in
from course_utils.checks.verdict import Right, Wrong


def one_number(hint: str) -> Callable[[object], float]:
    """Return a function that reads one number or raises `Wrong`. The hint may contain `{value}`."""

    def read(value: object) -> float:
        if (number := as_number(value)) is None:
            raise Wrong(hint.format(value=describe(value)))
        return number

    return read


def some_numbers(hint: str, whole: bool = False) -> Callable[[object], list[float]]:
    """Return a function that reads a list of numbers or raises `Wrong`."""

    def read(value: object) -> list[float]:
        numbers = numbers_in(value)
        if not numbers or (whole and any(number % 1 for number in numbers)):
            raise Wrong(hint.format(value=describe(value)))
        return list(map(int, numbers)) if whole else numbers

    return read


def one_tensor(hint: str, *shape: int) -> Callable[[object], torch.Tensor]:
    """Return a function that reads a tensor of this shape as floats or raises `Wrong`."""

    def read(value: object) -> torch.Tensor:
        if not isinstance(value, torch.Tensor) or value.shape != shape:
            raise Wrong(hint.format(value=describe(value)))
        return value.float()

    return read


_read_number = one_number("Your function should return one number, but it returns {value}.")


@dataclass(frozen=True)
class Mistakes:
    """A right function, wrong ones with their hints, and the text around a hint.

    In braces, a text may contain the parameters of the right function, `value` for the result of the answer,
    and `right` for the correct result.
    """

    right: Callable
    wrong: dict[str, Callable]
    read: Callable = _read_number
    """Converts a result so that it can be compared. Raises `Wrong` if the result has the wrong form."""
    agrees: Callable[[object, object], bool] = alike
    found: str | Callable[..., str] = ""
    """The text before each hint, or a function of value, right and the case that returns this text."""
    otherwise: str | Callable[..., str] = ""
    """The hint for an answer that matches none of the wrong functions, in the same form as `found`."""
    praise: str = ""
    """The line to print for each case that the answer gets right."""

    def compare(self, answer: Callable, cases: Iterable[tuple] | dict, **words: object) -> Iterator[Right]:
        """Call an answer with each case. At the first wrong result, raise `Wrong` with its hint.

        Args:
            answer: The student's function.
            cases: The arguments of each call. If this is a dictionary, texts may contain its key as `{case}`.
            **words: Further values that texts may contain.
        """
        cases = cases if isinstance(cases, dict) else dict(enumerate(cases))
        for place, (name, case) in enumerate(cases.items()):
            value, right = self._call(answer, case), self._call(self.right, case)
            say = partial(self._say, value=value, right=right, case=case, words={**words, "case": name})
            if not self.agrees(value, right):
                hint = self._known(answer, list(cases.values()), place) or self.otherwise
                raise Wrong((say(self.found) + say(hint)).strip())
            if self.praise:
                yield Right(say(self.praise))

    def _say(self, text: str | Callable, value: object, right: object, case: tuple, words: dict) -> str:
        if callable(text):
            return text(value, right, *case)
        arguments = dict(zip(inspect.signature(self.right).parameters, case, strict=False))
        return text.format(**words, **arguments, value=value, right=right)

    def _call(self, function: Callable, case: tuple) -> object:
        return self.read(ask_value(function, *copy.deepcopy(case)))

    def _known(self, answer: Callable, cases: list[tuple], place: int) -> str | None:
        """Return the hint of the mistake that agrees with the answer here and in most other cases."""
        given, agreeing = [self._tried(answer, case) for case in cases], {}
        for hint, wrong in self.wrong.items():
            same = [self._same(one, self._tried(wrong, case)) for one, case in zip(given, cases, strict=True)]
            if same[place]:
                agreeing[hint] = sum(same)
        return max(agreeing, key=agreeing.get, default=None)

    def _tried(self, function: Callable, case: tuple) -> object:
        """Return the result of a function, or None if it fails."""
        with suppress(Wrong):
            return self._call(function, case)

    def _same(self, one: object, other: object) -> bool:
        return one is not None and other is not None and bool(self.agrees(one, other))
