"""How the checks of the exercises are tried: with solutions, wrong answers and anything at all."""

import ast

import nbformat
import numpy as np
import torch

from course_utils import checks
from course_utils.settings import REPOSITORY_FOLDER

SOLUTIONS = REPOSITORY_FOLDER / "notebooks" / "exercises" / "solutions"


def solutions(lesson: str) -> dict:
    """Return what the solution cells of a lesson define, without training anything."""
    (path,) = SOLUTIONS.glob(f"{lesson}_*.ipynb")
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    (set_up,) = [cell for cell in code if cell.metadata.nbgrader.grade_id.endswith("-set-up")]
    imports = [n for n in ast.parse(set_up.source).body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {}
    exec(ast.unparse(ast.Module(imports, [])), names)
    for cell in code:
        if cell.metadata.nbgrader.solution:
            exec(cell.source, names)
    return names


def judged(name: str, *answer: object) -> checks.Verdict:
    """Ask a check twice; it must say the same, and leave the random numbers as they were."""
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (getattr(checks, name)(*answer, quiet=True) for _ in range(2))
    assert first == second
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    return first


def strange_answers() -> tuple:
    """Return what nobody should hand in, and somebody will."""
    functions = (lambda *_: None, lambda *_: "x", lambda *_: [1, "x", None], lambda: 1)
    return 7, "text", [1, 2], object(), *functions
