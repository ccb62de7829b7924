"""The checks of lessons 05 to 11: solutions pass, and whatever else arrives gets the hint that it needs."""

from collections import Counter

import pytest
import wrong_answers_lesson_10
import wrong_answers_lesson_11
import wrong_answers_lessons_05_and_06
import wrong_answers_lessons_07_to_09
from judging import judged, solutions, strange_answers

ANSWERS = (
    wrong_answers_lessons_05_and_06,
    wrong_answers_lessons_07_to_09,
    wrong_answers_lesson_10,
    wrong_answers_lesson_11,
)
RIGHT = [case for module in ANSWERS for case in module.RIGHT]
WRONG = [case for module in ANSWERS for case in module.WRONG]
GIVEN = wrong_answers_lessons_07_to_09.GIVEN

checks = [check for _, check, _ in RIGHT]
each_check = pytest.mark.parametrize(("lesson", "check", "names"), RIGHT, ids=checks)


@each_check
def test_the_solution_passes(lesson, check, names):
    answers = (solutions(lesson)[name] for name in names)
    verdict = judged(check, *answers, *GIVEN.get(check, ()))
    assert verdict.passed, verdict.hints


@each_check
def test_a_blank_is_told_where_to_begin(lesson, check, names):
    blank = judged(check, *[None] * len(names), *GIVEN.get(check, ()))
    assert not blank.passed
    assert "Nothing here yet" in blank.hints[0]


@each_check
def test_whatever_arrives_gets_a_hint(lesson, check, names):
    for answer in strange_answers():
        verdict = judged(check, *[answer] * len(names), *GIVEN.get(check, ()))
        assert not verdict.passed
        assert all(verdict.hints)


@pytest.mark.parametrize(
    ("check", "answer", "words"), WRONG, ids=[f"{check}: {words}" for check, _, words in WRONG]
)
def test_a_wrong_answer_gets_its_hint(check, answer, words):
    answers = answer if isinstance(answer, tuple) else (answer,)
    verdict = judged(check, *answers, *GIVEN.get(check, ()))
    assert not verdict.passed
    assert words in " ".join(verdict.hints)


def test_there_are_three_wrong_answers_for_each_check():
    counts = Counter(check for check, *_ in WRONG)
    assert all(counts[check] >= 3 for check in checks), counts
