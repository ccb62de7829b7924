"""The tables of mistakes: every wrong function gets its own hint."""

import re

import pytest
from judging import CHECKS, answer_with, judged
from table_answers import tables_of

MISTAKES = [
    pytest.param(check, number, hint, id=f"{check}: {hint}")
    for check in CHECKS
    for number, table in enumerate(tables_of(check))
    for hint in table.wrong
]


@pytest.mark.parametrize(("check", "number", "hint"), MISTAKES)
def test_mistake_gets_its_own_hint(check, number, hint):
    """It also fails if two mistakes are alike in all cases: then one of them gets the hint of the other."""
    function = tables_of(check)[number].wrong[hint]
    words = map(re.escape, re.split(r"\{[^{}]*\}", hint))
    hints = judged(check, answer_with(function, check, number)).hints
    assert [re.search(".*".join(words) + "$", given) is not None for given in hints] == [True], hints
