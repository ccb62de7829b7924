"""A grid is checked as a whole before anything runs."""

import re

import pytest
from small_notebooks import write_grid, write_notebook

from course_teaching import grids
from course_teaching.grids import plan_sweep, run_name
from course_utils.errors import ConfigError


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Give a function that plans a sweep with the text of a grid."""
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb")
    monkeypatch.setattr(grids, "MOST_RUNS", 50)

    def plan(text):
        return plan_sweep(notebook, write_grid(tmp_path / "grid.yaml", text))

    return plan


@pytest.mark.parametrize(
    "text, words",
    [
        ("", r"not a dict \(None\)"),
        ("[1, 2]", r"not a dict \(\[1, 2\]\)"),
        ("just text", "not a dict"),
        ("{}", "of 0 parameters"),
        ("grid:", "not a dict"),
        ("seed: 3", "wrapped in a list"),
        ("seed: []", "non-empty"),
        ("seed: [0, 1, 0]", "0 twice"),
        ("lr: [1, 1.0]", "twice"),
        ("seed: [0]\nseed: [1]", "'seed' twice"),
        ("grid:\n  seed: [0]\n  seed: [1]", "'seed' twice"),
        ("seed: [0", "while parsing"),
        ("\x00", "ReaderError"),
        ("? [a, b]\n: [1]", "ConstructorError"),
        ("1: [2]", "no parameter '1'"),
        ("seed: !!python/object/apply:os.getpid []", "ConstructorError"),
        ("seed: [[0, 1]]", "of type list"),
        ("seed: [{a: 1}]", "of type dict"),
        ("dataset: [2026-01-01]", "of type date"),
        ("epoch: [3]", "Did you mean 'epochs'"),
        ("epochs: [3, 0]", "greater than or equal to 1"),
        ("epochs: ['3']", "without quotes"),
        ("lr: [1e-3]", "Write 0.001"),  # a text, as YAML reads it
        ("lr: [.nan]", "lr"),
        ("seed: [true]", "bool"),
        ("'seed=0;import os;x': [1]", "no parameter"),
        ("parameters: {seed: 1}\ngrid: {seed: [0]}", "seed in both"),
        ("parameters: {sed: 1}\ngrid: {seed: [0]}", "Did you mean 'seed'"),
        ("parameters: {seed: [1]}\ngrid: {lr: [0.1]}", "of type list"),
        ("parameters: 3\ngrid: {lr: [0.1]}", "of type int"),
        (f"seed: {list(range(51))}", "51 combinations"),
    ],
)
def test_grid_that_is_wrong_is_reported_before_anything_runs(small, text, words):
    with pytest.raises(ConfigError, match=words):
        small(text)


def test_grid_that_is_no_text_or_not_there_is_reported(tmp_path):
    notebook = write_notebook(tmp_path / "lessons" / "01_small.ipynb")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa")
    for name in ("binary.yaml", "missing.yaml", "lessons"):
        with pytest.raises(ConfigError):
            plan_sweep(notebook, tmp_path / name)


def test_every_combination_is_a_run_and_the_last_name_varies_fastest(small):
    plan = small("parameters: {epochs: 2}\ngrid: {lr: [0.1, 0.2], seed: [0, 1]}")
    assert plan.varied == ["lr", "seed"]
    values = [tuple(run.values()) for run in plan.runs.values()]
    assert values == [(2, 0.1, 0), (2, 0.1, 1), (2, 0.2, 0), (2, 0.2, 1)]


def test_names_are_safe_and_different():
    values = ["../../x", "a/b", "a\\b", "a b", "a-b", "ü", "日本", "", ".", "x" * 500, "a\x00b", None, 1, 1.5]
    names = [run_name({"dataset": value}, {}) for value in values]
    assert len({name.lower() for name in names}) == len(values)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{,199}", name) for name in names)
    assert run_name({"seed": 1}, {"lr": 0.1}) == run_name({"seed": 1}, {"lr": 0.1})
    assert run_name({"seed": 1}, {"lr": 0.1}) != run_name({"seed": 1}, {"lr": 0.2})
