"""The checks of all lessons: solutions pass, and whatever else arrives gets the hint that it needs."""

import inspect
import re

import pytest
import torch
from judging import CHECKS, RIGHT, WRONG, judged, right_answers, shown, ticks_of_a_right_answer
from table_answers import tables_of

from course_utils import checks

each_check = pytest.mark.parametrize("check", CHECKS)


def test_every_check_has_a_solution_and_a_table_or_four_wrong_answers():
    assert {*WRONG, *RIGHT} <= {*CHECKS}
    assert [check for check, right in right_answers().items() if not right] == []
    assert [c for c in CHECKS if not tables_of(c) and len(WRONG.get(c, [])) < 4] == []


@each_check
def test_a_check_says_what_it_is_about(check):
    assert re.match(r"Lesson \d\d: ", inspect.getdoc(getattr(checks, check)))


@each_check
def test_a_right_answer_passes(check):
    for right in right_answers()[check]:
        assert judged(check, right).hints == []


@pytest.mark.parametrize(
    ("check", "answer", "words"),
    [
        pytest.param(check, answer, words, id=f"{check}: {words}")
        for check, cases in WRONG.items()
        for answer, words in cases
    ],
)
def test_a_wrong_answer_gets_its_hint(check, answer, words):
    verdict, printed = shown(check, answer)
    assert words in " ".join(verdict.hints)
    assert printed.count("✓") < ticks_of_a_right_answer(check)  # none for what the hint is about


@each_check
def test_a_blank_is_shown_where_to_begin(check):
    (hint,) = judged(check, None).hints
    assert hint.startswith("Nothing here yet: ")


SIDES = {64: 4, 224: 14, 100: 7}
INVENTED = RIGHT["few_images"][0][0] | {5: [0.6, 0.61, 0.62]}


@pytest.mark.parametrize(
    ("check", "answer", "hidden"),
    [
        ("set_sizes", lambda count, share: (200, 50, 2000), {"images_per_class": 40, "val_fraction": 0.25}),
        ("output_shape", lambda size: [256, SIDES.get(size, 9), SIDES.get(size, 9)], {"sizes": (97,)}),
        ("head_parameters", lambda features, n: {10: 5130, 37: 75813}.get(n), {"cases": ((9, 3),)}),
        ("mean_loss", lambda losses, sizes: 60 / 68, {"losses": (2.5, 0.7), "sizes": (64, 1)}),
        ("few_images", (INVENTED, 20), {"seed": 2}),
    ],
)
def test_an_answer_made_for_what_the_check_shows_fails_on_other_data(check, answer, hidden):
    assert judged(check, answer).passed
    assert not judged(check, answer, **hidden).passed


class Hostile:
    """Whatever is done with it raises an error."""

    def __getattribute__(self, name):
        raise RuntimeError(f"no {name}")

    def __call__(self, *arguments):
        raise SystemExit(3)

    def refuse(self, *arguments):
        raise ZeroDivisionError

    __len__ = __iter__ = __eq__ = __hash__ = __repr__ = __bool__ = __getitem__ = __float__ = refuse


def endless(*arguments):
    return endless(*arguments)


STRANGE = {
    "number": 7,
    "text": "text",
    "list of everything": [None, "x", {}, Hostile()],
    "dictionary": {"pretrained": None, "random": "abc", 3: Hostile()},
    "hostile object": Hostile(),
    "network": torch.nn.Linear(3, 2),
    "function that gives nothing": lambda *arguments: None,
    "function that gives an object": lambda *arguments: Hostile(),
    "function that gives everything": lambda *arguments: [1, "x", None],
    "function that ends the program": lambda *arguments: exit(1),
    "endless recursion": endless,
}


@each_check
def test_whatever_arrives_becomes_a_hint(check):
    assert [name for name, strange in STRANGE.items() if judged(check, strange).passed] == []
