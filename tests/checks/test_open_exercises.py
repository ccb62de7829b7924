"""The open exercises' checks: right recipes pass, and each typical mistake gets its own hint."""

import functools
import re

import nbformat
import pytest
import recipes
from judging import shown
from wrong_answers_open_exercises import BROKEN, REPAIRED

from course_teaching.exercises import SOLUTIONS_FOLDER
from course_utils import checks

WRONG = {
    "no normalisation": "which have not been normalised",
    "no eval": "Expected a network in eval mode whenever it does not learn",
    "BatchNorm": "got BatchNorm layers in train mode while the head learns",
    "test chooses": "Expected test pictures that are used once",
    "optimizer first": "Expected an optimizer with the parameters of the head",
    "not frozen": "parameters changed, for example conv1.weight",
    "order lost": "in a different order than in your list of files",
    "class order": "Expected `classes` in the order of the labels, got 'dots' for label 1",
    "last batch": "that of the last batch only",
    "last loss": "got the loss of the last batch",
    "trained on test": "Expected training batches without test pictures",
    "overlap": "in train and val",
    "val is test": "Expected test pictures that are used once",
    "split in order": "Expected training pictures of each class, got none of",
    "no zero_grad": "got the sum over all batches so far",
    "zero_grad too late": "What happens between `backward()` and `step()`?",
    "softmax": "Expected logits as input to the cross-entropy",
    "old head": "Is this the old head?",
    "last epoch": "got the one from the last epoch",
    "no copy": "Does your copy change with the network?",
    "last claimed": "Expected the epoch with the highest validation accuracy",
    "mean of batches": "the mean over the batches",
    "per cent": "share from 0 to 1",
    "augmented": "Which transform does each set have?",
    "random transform": "Which of your steps draws random numbers?",
    "no RGB": "to accept a transparent picture (mode RGBA)",
    "pictures as they are": "fails with transparent pictures",
    "no resize": "a picture of 90 × 50 pixels",
    "random weights": "Did you load them into this network?",
    "rate too small": "Expected a training loss that falls",
}


def judged(recipe, **named):
    return shown("empty_page", recipe, pretrained=recipes.pretrained, **named)


def with_mistake(mistake):
    return lambda folder, epochs, batch_size: recipes.recipe(folder, epochs, batch_size, mistake)


@pytest.mark.parametrize("mistake", WRONG)
def test_empty_page_names_a_mistake(mistake):
    verdict, printed = judged(with_mistake(mistake))
    assert len(verdict.hints) == 1 and WRONG[mistake] in verdict.hints[0], verdict.hints
    assert printed.count("✓") < 2


@pytest.mark.parametrize(
    "recipe",
    [
        recipes.recipe,
        functools.partial(recipes.recipe, share=0.15, mistake="squashed"),
        recipes.features_once,
        recipes.sequential_network,
    ],
)
def test_empty_page_accepts_a_right_recipe(recipe):
    verdict, printed = judged(recipe)
    assert verdict.hints == [] and printed.count("✓") == 2


def test_script_of_lesson_04_has_five_faults_and_its_solution_none(capsys):
    hints = checks.five_faults(*BROKEN.values()).hints
    assert [re.match(r"`(\w+)`: ", hint)[1] for hint in hints] == list(BROKEN)
    assert checks.five_faults(*REPAIRED.values()).passed
    assert capsys.readouterr().out.count("✓") == 5


def test_solution_of_the_empty_page_has_fewer_than_forty_lines():
    cells = nbformat.read(SOLUTIONS_FOLDER / "05_evaluate.ipynb", as_version=4).cells
    answer = next(cell.source for cell in cells if cell.id == "lesson05-empty-page-answer")
    lines = answer[answer.index("### BEGIN") : answer.index("### END")].splitlines()[1:]
    assert len([line for line in lines if line.strip()]) < 40
