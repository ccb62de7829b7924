"""Submissions that touch what gives them their marks are named for the teacher, and honest ones are not."""

import subprocess
import sys
import textwrap

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from small_submissions import cheating_answers, handed_in, small_solution

from course_teaching.grading.review import cells_to_review
from course_utils.settings import REPOSITORY_FOLDER

SETUP = "import math\nimport torch\nfrom course_utils import checks as check\nimport course_utils.errors"
ANSWERS = sorted((REPOSITORY_FOLDER / "tests" / "helpers").glob("wrong_answers*.py"))
NOTEBOOKS = sorted((REPOSITORY_FOLDER / "notebooks").rglob("*.ipynb"))

FORGED = {
    "a check that is an object": "from unittest.mock import MagicMock\ncheck.head = MagicMock()",
    "a check by another name": "c = check\nsetattr(c, 'head', lambda *a, **k: True)",
    "the verdict": "import course_utils.checks.verdict as v\nv.Verdict = lambda *a: True",
    "the verdict of a check": "check.verdict.find = print",
    "the right function of a check": "answer = check.head.tables[0].right",
    "modules by another name": "from sys import modules as m\nm['torch'] = None",
    "transform_cell": "get_ipython().transform_cell = lambda cell: 'pass'",
    "do_execute": "kernel = type(ip.kernel)\nsetattr(kernel, 'do_execute', 3)",
    "the class of a module": "class M(type(math)): pass\nmath.__class__ = M",
    "the collector": "import gc\nfor o in gc.get_objects(): pass",
    "a frame": "import inspect as i\ni.currentframe().f_back",
    "the caller": "import sys\nsys._getframe(1)",
    "the history": "print(In[-1])",
    "code in a text": "exec(bytes([112, 97]).decode())",
    "an object that equals all": "class Any:\n    def __eq__(self, other): return True\nanswer = Any()",
    "a function of torch": "torch.allclose = lambda *a, **k: True",
    "a function of torch, by setattr": "setattr(torch.Tensor, 'all', lambda *a: True)",
    "a function of torch, beside another name": "torch.allclose, other = print, 3",
    "a function of torch, with a type": "torch.allclose: object = print",
    "a function of torch, in a loop": "for torch.allclose in [print]: pass",
    "a function of torch, in its dictionary": "torch.__dict__['allclose'] = print",
    "a function of torch, by a class": "type.__setattr__(torch.Tensor, 'all', print)",
    "a tensor that equals all": "class Any(torch.Tensor):\n    __torch_function__ = classmethod(print)",
    "more magics than are read": "%time x = 1\n" * 60 + "import gc",
    "the solution": "import json\njson.load(open('/course/solutions/01_small.ipynb'))",
    "a magic": "%run_cell x\n!cat solutions/01.ipynb",
    **cheating_answers("/solutions/01_small.ipynb"),
}
HONEST = (
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.rcParams['figure.dpi'] = 80",
    "get_ipython().run_line_magic('matplotlib', 'inline')",
    "%%time\nmodel.eval()\nfor module in model.modules():\n    module.train()",
    "check.head(head)\nprint(bool(check.head(head, quiet=True)))\nhelp(check.head)\ncheck.head?",
    "from IPython.display import display\nfrom IPython import display as shown\ndisplay(3)",
    "torch.backends.cudnn.benchmark = True\nmodel = torch.compile(model)\nsetattr(model, 'fc', layer)",
    "model.fc, model.training = layer, True\nprint(model.__dict__)",
    "import sys, inspect\nprint(sys.version, inspect.signature(f))\nprint(type(x).__name__, x.__class__)",
    "for _i in range(3):\n    print(_i)",
    "def one(check, mock=None):\n    return check and mock",
    "In this cell I did not know what to compile or eval, so nothing works",
    "def f(x:\n    return x  # no exec() here",
    "'''In the end, exec and gc are words; sys.modules, too.'''",
    "import re\nre.compile('a').match(text)",
)


def words(source):
    """Return the words that are found in a notebook with this answer."""
    notebook = handed_in(textwrap.dedent(source), solution=small_solution(set_up=SETUP))
    return cells_to_review(notebook)


@pytest.mark.parametrize("name", FORGED)
def test_cell_that_touches_what_marks_rest_on_is_named(name):
    assert list(words(FORGED[name])) == [3], name


def test_cell_that_was_added_is_named_with_its_words():
    notebook = handed_in("answer = 42")
    notebook.cells.insert(0, new_code_cell("import gc, math\nx = 'get_ipython'"))
    assert cells_to_review(notebook) == {1: ["gc", "get_ipython"]}


@pytest.mark.parametrize("source", HONEST)
def test_honest_cell_is_not_named(source):
    assert words(source) == {}


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_wrong_answers_of_the_tests_are_not_named(path):
    assert len(ANSWERS) == 8
    parts = path.read_text(encoding="utf-8").split("\n\n\n")
    assert [found for part in parts if (found := words(part))] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: "/".join(path.parts[-2:]))
def test_solutions_and_what_is_copied_from_a_lesson_are_not_named(path):
    """Answers in their place, and every other cell as if a student had copied it into one of their own."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.get("id") != "get-the-course"]
    for cell in notebook.cells:
        if not cell.metadata.get("nbgrader", {}).get("solution"):
            cell.metadata.pop("nbgrader", None)
    assert cells_to_review(notebook) == {}


def test_many_cells_are_looked_through_up_to_a_length_and_the_rest_is_named():
    # A hang guard, not a measurement: with names from all cells looked up for each, it took minutes, and with
    # magics, hours.
    code = (
        "from nbformat.v4 import new_code_cell, new_notebook\n"
        "from course_teaching.grading.review import cells_to_review\n"
        "magics = ['%a\\n' * 6_000] * 1_000\n"
        "imports = [''.join(f'import m{n}_{k}\\n' for k in range(1_200)) for n in range(1_000)]\n"
        "for sources in (magics, imports, ['x = 1\\n' * 3_000] * 30):\n"
        "    found = cells_to_review(new_notebook(cells=[new_code_cell(one) for one in sources]))\n"
        "    print(len(found), found.get(1), found[len(sources)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=1800, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "1000 ['more than 50 magics'] ['18000 characters']",
        "989 None ['19290 characters']",
        "19 None ['18000 characters']",
    ]


@pytest.mark.parametrize(
    "source",
    ["-" * 19_000 + "1", "a" + ".b" * 9_000, "(" * 10**6, "x = 1\n" * 10**5, " " * 10**6, "\\\n" * 10**5],
)
def test_cell_of_any_kind_is_looked_through(source):
    found = words(source)
    assert found == ({3: [f"{len(source)} characters"]} if len(source.strip()) > 20_000 else {})
