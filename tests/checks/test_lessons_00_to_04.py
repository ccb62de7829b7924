"""The checks of lessons 00 to 04: the hint for each typical mistake, and the promise to do no harm."""

import copy
import inspect
import random

import numpy as np
import pytest
import torch
import wrong_answers
import wrong_answers_networks

from course_utils import checks as check
from course_utils.checks import images, networks, training

CASES = wrong_answers.CASES | wrong_answers_networks.CASES
WRONG = [
    pytest.param(name, wrong, words, id=f"{name}-{number}")
    for name, (_, _, all_wrong) in CASES.items()
    for number, (wrong, words) in enumerate(all_wrong)
]
RIGHT = [
    pytest.param(name, right, id=f"{name}-{number}")
    for name, (_, all_right, _) in CASES.items()
    for number, right in enumerate(all_right)
]


def verdict_on(name, answer, **named):
    """Ask a check about an answer, which is a tuple where the check takes two."""
    given = answer if name == "few_images" and type(answer) is tuple else (answer,)
    if name == "few_images" and len(given) == 1:
        given = (answer, answer)
    return getattr(check, name)(*given, *CASES[name][0](), **named)


def test_every_check_of_these_lessons_has_cases():
    assert set(CASES) == {*images.__all__, *networks.__all__, *training.__all__}
    assert all(len(wrong) >= 3 for _, _, wrong in CASES.values())


def test_no_two_checks_have_the_same_name():
    assert len(check.__all__) == len(set(check.__all__))


@pytest.mark.parametrize(("name", "wrong", "words"), WRONG)
def test_a_wrong_answer_gets_its_hint_twice(name, wrong, words, capsys):
    first = verdict_on(name, wrong)
    printed = capsys.readouterr().out
    assert not first.passed
    assert words in " ".join(first.hints)
    assert all(f"→ {hint}" in printed for hint in first.hints)
    assert verdict_on(name, wrong, quiet=True) == first


@pytest.mark.parametrize(("name", "right"), RIGHT)
def test_a_right_answer_passes_and_is_told_why(name, right, capsys):
    verdict = verdict_on(name, right)
    assert verdict.passed and verdict.hints == []
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize("name", CASES)
def test_a_blank_is_told_where_to_begin(name, capsys):
    verdict = verdict_on(name, None)
    assert not verdict
    assert len(verdict.hints) == 1 and verdict.hints[0].startswith("Nothing here yet: ")
    assert verdict_on(name, None, quiet=True) == verdict
    assert capsys.readouterr().out.count("Nothing here yet") == 1


SIDES = {64: 4, 224: 14, 100: 7}
INVENTED = wrong_answers.LEARNED | {5: [0.6, 0.61, 0.62]}
HARD_CODED = [
    ("set_sizes", lambda count, share: (200, 50, 2000), {"images_per_class": 40, "val_fraction": 0.25}),
    ("output_shape", lambda size: [256, SIDES.get(size, 9), SIDES.get(size, 9)], {"sizes": (97,)}),
    ("head_parameters", lambda features, classes: {10: 5130, 37: 75813}.get(classes), {"cases": ((9, 3),)}),
    ("mean_loss", lambda losses, sizes: 60 / 68, {"losses": (2.5, 0.7), "sizes": (64, 1)}),
    ("few_images", (INVENTED, 20), {"seed": 2}),
]


@pytest.mark.parametrize(("name", "answer", "hidden"), HARD_CODED, ids=[name for name, _, _ in HARD_CODED])
def test_an_answer_made_for_what_the_check_shows_fails_on_other_data(name, answer, hidden):
    assert verdict_on(name, answer).passed
    assert not verdict_on(name, answer, **hidden).passed


class Hostile:
    """Whatever is done with it raises an error."""

    def __getattribute__(self, name):
        raise RuntimeError(f"no {name}")

    def __call__(self, *arguments):
        raise SystemExit(3)

    def refuse(self, *arguments):
        raise ZeroDivisionError

    __len__ = __iter__ = __eq__ = __hash__ = __repr__ = __bool__ = __getitem__ = __float__ = refuse


class SilentError(Exception):
    """An error that cannot even say what it is."""

    def __str__(self):
        raise ValueError


def endless(*arguments):
    return endless(*arguments)


def wordless(*arguments):
    raise SilentError


STRANGE = {
    "number": 3,
    "not a number": float("nan"),
    "empty text": "",
    "text": "fc",
    "bytes": b"\xff",
    "empty list": [],
    "list of everything": [None, "x", {}, Hostile()],
    "dictionary": {"pretrained": None, "random": "abc", 3: Hostile()},
    "tensor": torch.full((3, 4), float("nan")),
    "array of objects": np.array([None, "x"], dtype=object),
    "class": Hostile,
    "hostile object": Hostile(),
    "network": torch.nn.Linear(3, 2),
    "function without arguments": lambda: 1,
    "function that gives nothing": lambda *arguments: None,
    "function that gives an object": lambda *arguments: Hostile(),
    "function that gives not a number": lambda *arguments: float("nan"),
    "function that gives texts": lambda *arguments: ["a", "b", "c"],
    "function that ends the program": lambda *arguments: exit(1),
    "endless recursion": endless,
    "error without words": wordless,
    "generator": (number for number in range(3)),
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("name", CASES)
def test_whatever_arrives_becomes_a_hint(name, strange, capsys):
    verdict = verdict_on(name, STRANGE[strange])
    if verdict.passed:  # "fc" is the right answer to one of them
        assert (name, strange) == ("task_layer", "text")
    else:
        assert verdict.hints and all(isinstance(hint, str) and hint for hint in verdict.hints)
    assert "Traceback" not in capsys.readouterr().out


def spoil(model, *_):
    """Do to a network everything that a check must undo."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.zero_()
    for parameter in model.parameters():
        parameter.requires_grad = not parameter.requires_grad
        parameter.grad = torch.ones_like(parameter)
    model.train()
    model.fc = torch.nn.Identity()
    model.layer2.double()
    random.random(), np.random.rand(), torch.rand(1)
    return 3


@pytest.mark.parametrize("name", ["parameter_count", "optimizer_holds", "frozen_by_hand"])
def test_a_check_gives_everything_back_as_it_was(name):
    model = copy.deepcopy(wrong_answers_networks.network())
    model.fc.weight.grad = torch.full_like(model.fc.weight, 2.0)
    model.layer1.train()
    before = copy.deepcopy(model)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for _ in range(2):
        getattr(check, name)(spoil, model, quiet=True)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    ours, theirs = before.state_dict(), model.state_dict()
    assert all(torch.equal(ours[entry], theirs[entry]) for entry in ours)
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert [module.training for module in model.modules()] == [m.training for m in before.modules()]
    assert (model.fc.weight.grad == 2).all()
    assert model.layer1[0].conv1.weight.grad is None


@pytest.mark.parametrize("name", CASES)
def test_a_check_says_what_it_is_about(name):
    text = inspect.getdoc(getattr(check, name))
    assert text.startswith("Lesson 0")
