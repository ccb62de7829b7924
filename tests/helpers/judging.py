"""How the checks of the exercises are tried: with solutions, wrong answers and anything at all."""

import ast
import functools
import importlib
import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import nbformat
import numpy as np
import torch
from table_answers import tables_of

from course_utils import checks
from course_utils.checks.verdict import Verdict
from course_utils.settings import REPOSITORY_FOLDER

CHECKS = {name: getattr(checks, name) for name in checks.__all__ if hasattr(getattr(checks, name), "answers")}
ANSWERS = sorted(Path(__file__).parent.glob("wrong_answers_*.py"))
LESSONS = [importlib.import_module(path.stem) for path in ANSWERS]
WRONG, GIVEN, RIGHT = (
    {check: cases for lesson in LESSONS for check, cases in getattr(lesson, name, {}).items()}
    for name in ("WRONG", "GIVEN", "RIGHT")
)


def answer_with(function: Callable, check: str, number: int = 0) -> object:
    """Return a function as the answer to a check; of several answers, the others are right."""
    if CHECKS[check].answers == 1:
        return function
    return tuple(function if n == number else table.right for n, table in enumerate(tables_of(check)))


@functools.cache
def right_answers() -> dict[str, list]:
    """Return right answers to each check: ours, those of its tables, and the solutions from lesson 05 on.

    Nothing is trained: of a set-up cell only the imports are run, and then the cells with solutions.
    """
    solved = {}
    for path in (REPOSITORY_FOLDER / "notebooks" / "exercises" / "solutions").glob("*.ipynb"):
        if path.name < "05":
            continue
        code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        (set_up,) = [cell for cell in code if cell.metadata.nbgrader.grade_id.endswith("-set-up")]
        imports = [n for n in ast.parse(set_up.source).body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {}
        exec(ast.unparse(ast.Module(imports, [])), names)
        for cell in code:
            if cell.metadata.nbgrader.solution:
                exec(cell.source, names)
            for check, arguments in re.findall(r"\bcheck\.(\w+)\(([\w, ]+)", cell.source):
                answers = tuple(names[name] for name in arguments.split(", ") if name in names)
                if check in CHECKS:  # and not `points`, which counts what has passed
                    solved.setdefault(check, [answers])
    for check in CHECKS:
        solved.setdefault(check, []).extend(RIGHT.get(check, []))
        solved[check] += [answer_with(table.right, check) for table in tables_of(check)[:1]]
    return solved


@functools.cache
def ticks_of_a_right_answer(check: str) -> int:
    return shown(check, right_answers()[check][0])[1].count("✓")


def judged(check: str, answer: object, **named: object) -> Verdict:
    """Ask a check, and return its verdict."""
    return shown(check, answer, **named)[0]


def shown(check: str, answer: object, **named: object) -> tuple[Verdict, str]:
    """Ask a check: it prints what it finds, and leaves the random numbers as they were.

    An answer that is a tuple is several answers; one answer to a check of two is given as both.
    """
    answers = answer if type(answer) is tuple else (answer,)
    if check in ("few_images", "handed_over", "threshold_for_share") and len(answers) == 1:
        answers *= 2
    given = GIVEN.get(check, tuple)()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    with redirect_stdout(io.StringIO()) as output:
        verdict = getattr(checks, check)(*answers, *given, **named)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    printed = output.getvalue()
    assert "Traceback" not in printed and ("✓" in printed if verdict.passed else verdict.hints)
    assert all(hint and f"→ {hint}" in printed for hint in verdict.hints)
    return verdict, printed
