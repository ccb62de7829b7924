"""How the checks of the exercises are tried: with solutions, wrong answers and anything at all."""

import ast
import functools
import io
from contextlib import redirect_stdout

import nbformat
import numpy as np
import torch
import wrong_answers_lessons_00_and_01
import wrong_answers_lessons_02_to_04
import wrong_answers_lessons_05_and_06
import wrong_answers_lessons_07_to_09
import wrong_answers_lessons_10_and_11

from course_utils import checks
from course_utils.settings import REPOSITORY_FOLDER

FIRST = (wrong_answers_lessons_00_and_01, wrong_answers_lessons_02_to_04)
OTHERS = (wrong_answers_lessons_05_and_06, wrong_answers_lessons_07_to_09, wrong_answers_lessons_10_and_11)
WRONG = {check: cases for module in (*FIRST, *OTHERS) for check, cases in module.WRONG.items()}
GIVEN = {check: given for module in (*FIRST, OTHERS[1]) for check, given in module.GIVEN.items()}
RIGHT = {check: answers for module in FIRST for check, answers in module.RIGHT.items()}

# The lesson whose solution has the right answers to a check, and their names.
SOLUTIONS = {
    "accuracy_over_samples": "05 accuracy",
    "precision_and_recall": "05 precision_and_recall",
    "surest_mistakes": "05 surest",
    "wilson_interval": "05 wilson",
    "half_the_width": "05 images_needed",
    "learning_parts": "06 learning_parts",
    "three_rates": "06 three_rates",
    "batchnorm_kept": "06 keep_batchnorm",
    "choose_run": "06 choose",
    "unfair_differences": "07 unfair",
    "epochs_for_budget": "07 epochs_needed",
    "student_interval": "07 mean_and_interval",
    "told_apart": "07 verdict",
    "cases_without_gain": "07 no_gain",
    "way_of_fault": "08 way",
    "rgb_restored": "08 as_rgb",
    "paired_interval": "08 difference",
    "fault_found": "08 fault",
    "left_out_files": "09 unusable",
    "handed_over": "09 keep ask_file",
    "card_purpose": "09 purpose not_for",
    "weakest_class": "09 weakest",
    "held_out_probabilities": "09 held_out",
    "suspicious_labels": "09 suspects",
    "padding_mask": "10 mask_of",
    "pooled_by_hand": "10 pooled",
    "aligned_labels": "10 align",
    "counted_names": "10 count_names",
    "images_for_one": "11 at_once",
    "gradient_together": "11 together",
    "shards_left": "11 left",
    "slowest_step": "11 plan",
}


@functools.cache
def solutions(lesson: str) -> dict:
    """Return what the solution cells of a lesson define, without training anything."""
    (path,) = (REPOSITORY_FOLDER / "notebooks" / "exercises" / "solutions").glob(f"{lesson}_*.ipynb")
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    (set_up,) = [cell for cell in code if cell.metadata.nbgrader.grade_id.endswith("-set-up")]
    imports = [n for n in ast.parse(set_up.source).body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {}
    exec(ast.unparse(ast.Module(imports, [])), names)
    for cell in code:
        if cell.metadata.nbgrader.solution:
            exec(cell.source, names)
    return names


def right_answers(check: str) -> list:
    if check in RIGHT:
        return RIGHT[check]
    lesson, *names = SOLUTIONS[check].split()
    return [tuple(solutions(lesson)[name] for name in names)]


def judged(check: str, answer: object, quiet: bool = False, **named: object) -> checks.Verdict:
    """Ask a check: it prints what it finds unless it is quiet, and leaves the random numbers as they were.

    An answer that is a tuple is several answers; one answer to a check of two is given as both.
    """
    answers = answer if type(answer) is tuple else (answer,)
    if check in ("few_images", "handed_over", "card_purpose") and len(answers) == 1:
        answers *= 2
    given = GIVEN.get(check, tuple)()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    with redirect_stdout(io.StringIO()) as output:
        verdict = getattr(checks, check)(*answers, *given, quiet=quiet, **named)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    printed = output.getvalue()
    if quiet:
        assert printed == ""
    else:
        assert "Traceback" not in printed and ("✓" in printed if verdict.passed else verdict.hints)
        assert all(hint and f"→ {hint}" in printed for hint in verdict.hints)
    return verdict
