"""Grids: the runs of a sweep.

A file of YAML lists the values of some parameters, and every combination is one run. These are six:

    lr: [0.005, 0.02]
    seed: [0, 1, 2]

Parameters that are the same in every run stand beside the grid:

    parameters:
      epochs: 3
    grid:
      lr: [0.005, 0.02]
      seed: [0, 1, 2]
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from course_teaching.lessons import plan_parameters
from course_utils.errors import ConfigError
from course_utils.settings import Settings

MOST_RUNS = 10_000


class Plan(NamedTuple):
    """The runs of a sweep."""

    varied: list[str]  # the parameters that the grid has
    runs: dict[str, dict]  # the parameters of each, by its name, in scikit-learn's order


class _UniqueNames(yaml.SafeLoader):
    """A loader of plain values that refuses a name that is there twice, of which yaml takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [name.value for name, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise yaml.constructor.ConstructorError(problem=f"{twice[0]!r} twice; put its values together")
        return super().construct_mapping(node, deep)


def plan_sweep(notebook: Path, file: Path) -> Plan:
    """Read a grid, as this module describes it, and check all of it for a notebook. Nothing is run.

    Raises:
        ConfigError: If the file cannot be read or is no grid, a name is unknown, or a value has the wrong
            type, is out of range or is there twice.
    """
    from sklearn.model_selection import ParameterGrid

    file = Path(file).resolve()
    try:
        grid, fixed = yaml.load(file.read_text(encoding="utf-8"), _UniqueNames), {}
        if isinstance(grid, dict) and "grid" in grid and not {*grid} - {"grid", "parameters"}:
            grid, fixed = grid["grid"], grid.get("parameters") or {}
        if not isinstance(fixed, dict):
            raise TypeError(f"parameters: a value of type {type(fixed).__name__} instead of names and values")
        size = len(ParameterGrid([grid]))  # which says what is wrong with a grid
        if not grid or size > MOST_RUNS:
            raise ValueError(f"{size:,} combinations of {len(grid)} parameters; {MOST_RUNS:,} are the most")
        for name, values in grid.items():
            if name in fixed:
                raise ValueError(f"{name} in both, the grid and the parameters beside it: choose one")
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"{name}: {twice[0]!r} twice; leave one of them out")
    except (OSError, yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            "The grid of a sweep cannot be used.",
            where=file,
            expected="a file of YAML, with names of parameters and for each a list of values",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            do="Correct the file, or its path. A line of it is, for example, lr: [0.01, 0.02].",
        ) from error

    def checked(name: object, value: object) -> object:
        """Check a value as `run` checks those of its command line; return it with its path absolute."""
        try:
            return plan_parameters([notebook], {str(name): value})[notebook][name]
        except ConfigError as error:
            raise error.within(str(file)).advising("It is in the grid.") from error

    fixed = {name: checked(name, value) for name, value in fixed.items()}
    grid = {name: [checked(name, value) for value in values] for name, values in grid.items()}
    runs = {}
    for combination in ParameterGrid(grid):
        varied = {name: combination[name] for name in grid}  # scikit-learn sorts the names
        Settings(**fixed, **varied)  # each value was fine by itself; so must they be together
        runs[run_name(varied, fixed)] = {**fixed, **varied}
    return Plan(list(grid), runs)


def run_name(varied: Mapping[str, object], fixed: Mapping[str, object]) -> str:
    """Return the name of a run, which follows from its parameters alone.

    It begins with what varies, for people, and ends with eight digits of a hash over all parameters, since
    two values may differ only in characters that a file name must not have.
    """
    words = "_".join(f"{name}-{value}" for name, value in varied.items())
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", words)[:120].lstrip(".-")
    everything = json.dumps({**fixed, **varied}, sort_keys=True)
    return f"{readable}_{hashlib.sha256(everything.encode()).hexdigest()[:8]}"
