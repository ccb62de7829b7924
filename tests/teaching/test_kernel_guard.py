"""What a test relies on is put back before it, and functions of the course that were changed are named."""

import builtins
import functools
import importlib
import pkgutil
import types
from unittest.mock import MagicMock

import pytest
from IPython.core.interactiveshell import InteractiveShell
from small_submissions import small_solution

import course_utils
from course_utils import checks, errors
from course_utils.teaching import exercises
from course_utils.teaching.grading import kernel_guard
from course_utils.teaching.grading.kernel_guard import changed_functions, restore
from course_utils.teaching.grading.kernel_run import _imports_of_checks

PACKAGE = course_utils.__path__[0]


def test_course_as_it_is_counts_as_unchanged():
    for module in pkgutil.walk_packages(course_utils.__path__, "course_utils."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert changed_functions(PACKAGE) == []


def of_a_cell(name="fine", code="def fine(*arguments, **named):\n    return True"):
    """Make a function as a cell of a notebook would."""
    space = {}
    exec(compile(code, "/tmp/ipykernel_1/2.py", "exec"), space)
    return space[name]


@pytest.mark.parametrize(
    "place, name",
    [
        (exercises, "marks"),
        (errors.CourseError, "__init__"),
        (checks.verdict, "ask"),
        (checks.verdict, "check"),
    ],
)
def test_changed_function_is_named(monkeypatch, place, name):
    monkeypatch.setattr(place, name, of_a_cell())
    assert any(name in changed for changed in changed_functions(PACKAGE))


def test_changed_check_is_named_also_where_it_looks_like_the_old_one(monkeypatch):
    name = next(name for name in checks.__all__ if isinstance(getattr(checks, name), types.FunctionType))
    for fake in (of_a_cell(), functools.wraps(getattr(checks, name))(of_a_cell())):
        monkeypatch.setattr(checks, name, fake)
        assert f"course_utils.checks.{name}" in changed_functions(PACKAGE)


@pytest.mark.parametrize("place, name", [(checks, "head_parameters"), (checks.verdict, "Verdict")])
@pytest.mark.parametrize(
    "fake", [MagicMock(), functools.partial(print), type("Fine", (), {"__module__": "__main__"})]
)
def test_check_that_became_an_object_is_named(monkeypatch, place, name, fake):
    monkeypatch.setattr(place, name, fake)
    assert f"{place.__name__}.{name}" in str(changed_functions(PACKAGE))


def test_module_of_another_class_or_put_in_the_place_of_one_is_named(monkeypatch):
    monkeypatch.setattr(checks.verdict, "__class__", type("Fine", (types.ModuleType,), {}))
    assert "course_utils.checks.verdict" in changed_functions(PACKAGE)
    monkeypatch.undo()
    monkeypatch.setattr(course_utils, "checks", MagicMock())
    assert "course_utils.checks" in changed_functions(PACKAGE)


def test_names_hooks_and_builtins_are_put_back(monkeypatch):
    shell = InteractiveShell()
    kernel_guard.remember(shell)
    shell.user_ns.update(all=lambda *a: True, check=None, answer=42, max=3)
    shell.ast_transformers.append(object())
    shell.custom_exceptions = (Exception,)
    shell.showtraceback = lambda *a, **k: None
    monkeypatch.setattr(builtins, "any", lambda *a: True)
    assert restore(shell, PACKAGE, [["course_utils", "checks", "check"]]) == []
    assert "all" not in shell.user_ns and shell.user_ns["answer"] == 42 and shell.user_ns["max"] == 3
    assert shell.user_ns["check"] is checks
    assert any([]) is False
    assert not shell.ast_transformers and not shell.custom_exceptions
    assert "showtraceback" not in vars(shell)


def test_methods_and_classes_of_ipython_are_put_back(monkeypatch):
    shell = InteractiveShell()
    kind, manager = type(shell), type(shell.input_transformer_manager)
    kernel_guard.remember(shell)
    monkeypatch.setattr(kind, "transform_cell", lambda self, cell: "pass")
    monkeypatch.setattr(manager, "transform_cell", lambda self, cell: "pass")
    shell.transform_cell = lambda cell: "pass"
    shell.compile.ast_parse = None
    shell.__class__ = type("Fine", (kind,), {"run_cell": None})
    restore(shell, PACKAGE, [])
    assert type(shell) is kind and shell.transform_cell("assert no") == "assert no\n"
    assert shell.input_transformer_manager.transform_cell("assert no") == "assert no\n"
    assert shell.compile.ast_parse("1")


def test_imports_of_checks_are_read_from_locked_cells_only():
    solution = small_solution(set_up="import torch\nfrom course_utils import checks as check, settings")
    solution.cells[2].source = "from course_utils.checks import head"
    assert _imports_of_checks(solution.cells) == [["course_utils", "checks", "check"]]
