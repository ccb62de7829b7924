"""Submissions that touch what gives them their marks are named for the teacher, and honest ones are not."""

import textwrap

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from small_submissions import cheating_answers, handed_in, small_solution

from course_teaching.grading.review import cells_to_review
from course_utils.settings import REPOSITORY_FOLDER

SETUP = "import math\nimport torch\nfrom course_utils import checks as check\nimport course_utils.errors"
NOTEBOOKS = sorted((REPOSITORY_FOLDER / "notebooks").rglob("*.ipynb"))
FORGED = {
    "a check that is an object": "from unittest.mock import MagicMock\ncheck.head = MagicMock()",
    "the verdict": "import course_utils.checks.verdict as v\nv.Verdict = lambda *a: True",
    "the verdict of a check": "check.verdict.find = print",
    "the right function of a check": "answer = check.networks.HEAD_SIZE.right",
    "modules by another name": "from sys import modules as m\nm['torch'] = None",
    "the class of a module": "class M(type(math)): pass\nmath.__class__ = M",
    "the collector": "import gc\nfor o in gc.get_objects(): pass",
    "a frame": "import inspect as i\ni.currentframe().f_back",
    "the history": "print(In[-1])",
    "code in a text": "exec(bytes([112, 97]).decode())",
    "an object that equals all": "class Any:\n    def __eq__(self, other): return True\nanswer = Any()",
    "a function of torch": "torch.allclose = lambda *a, **k: True",
    "a function of torch, by setattr": "setattr(torch.Tensor, 'all', lambda *a: True)",
    "a function of torch, in its dictionary": "torch.__dict__['allclose'] = print",
    "the solution": "import json\njson.load(open('/course/solutions/01_small.ipynb'))",
    **cheating_answers("/solutions/01_small.ipynb"),
}
HONEST = (
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.rcParams['figure.dpi'] = 80",
    "%%time\nmodel.eval()\nfor module in model.modules():\n    module.train()",
    "check.head(head)\nprint(bool(check.head(head, quiet=True)))\nhelp(check.head)\ncheck.head?",
    "from IPython.display import display\nfrom IPython import display as shown\ndisplay(3)",
    "torch.backends.cudnn.benchmark = True\nmodel = torch.compile(model)\nsetattr(model, 'fc', layer)",
    "model.fc, model.training = layer, True\nassert torch.tensor(3) == 3",
    "import sys, inspect\nprint(sys.version, inspect.signature(f))\nprint(type(x).__name__)",
    "for _i in range(3):\n    print(_i)",
    "In this cell I did not know what to compile or eval, so nothing works",
    "# no exec() and no gc here\nimport re\nre.compile('a').match(text)",
)


def words(source):
    """Return the suspicious words of a notebook with this answer."""
    return cells_to_review(handed_in(textwrap.dedent(source), solution=small_solution(set_up=SETUP)))


@pytest.mark.parametrize("name", FORGED)
def test_cells_to_review_names_a_forgery(name):
    assert list(words(FORGED[name])) == [3], name


@pytest.mark.parametrize("source", HONEST)
def test_cells_to_review_passes_an_honest_cell(source):
    assert words(source) == {}


def test_cells_to_review_gives_the_words_of_an_added_cell_and_the_length_of_a_long_one():
    notebook = handed_in("answer = 42")
    notebook.cells.insert(0, new_code_cell("import gc, math\nx = 'get_ipython'"))
    notebook.cells.insert(1, new_code_cell("(" * 10**6))
    assert cells_to_review(notebook) == {1: ["gc", "get_ipython"], 2: ["1000000 characters"]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: "/".join(path.parts[-2:]))
def test_cells_to_review_passes_solutions_and_copies_from_a_lesson(path):
    """Answers in their place, and every other cell as if a student had copied it."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.get("id") != "get-the-course"]
    for cell in notebook.cells:
        if not cell.metadata.get("nbgrader", {}).get("solution"):
            cell.metadata.pop("nbgrader", None)
    assert cells_to_review(notebook) == {}
