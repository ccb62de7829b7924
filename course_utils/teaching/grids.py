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
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from course_utils.errors import ConfigError
from course_utils.settings import Settings
from course_utils.teaching.lessons import plan_parameters

MOST_RUNS = 10_000


class Plan(NamedTuple):
    """The runs of a sweep."""

    varied: list[str]
    """The parameters that the grid has."""
    runs: dict[str, dict]
    """The name of each run and its parameters, in the order of the grid: the last name varies fastest."""


class _UniqueNames(yaml.SafeLoader):
    """A loader of plain values that refuses a name that is there twice, of which yaml takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [name.value for name, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise yaml.constructor.ConstructorError(problem=f"{twice[0]!r} twice; put its values together")
        return super().construct_mapping(node, deep)


def plan_sweep(notebook: Path, file: Path) -> Plan:
    """Read a grid and check all of it for a notebook. Nothing is run.

    Args:
        notebook: Its path. Its parameters are those that a grid may have.
        file: The grid, as this module describes it.

    Raises:
        ConfigError: If the file cannot be read or is no grid, a name is unknown, or a value has the wrong
            type, is out of range or is there twice.
    """
    file = Path(file).resolve()
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _UniqueNames)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise _no_grid(file, "a file of YAML", found, "Correct the file, or its path.") from error
    grid, fixed = content, {}
    if isinstance(content, dict) and "grid" in content and not {*content} - {"grid", "parameters"}:
        grid, fixed = content["grid"], content.get("parameters") or {}
    for fault in _faults(grid, fixed):
        raise _no_grid(file, *fault)

    def checked(name: str, value: object) -> object:
        """Check a value as `run` checks those of its command line; return it with its path absolute."""
        try:
            return plan_parameters([notebook], {name: value})[notebook][name]
        except ConfigError as error:
            parts = {"expected": error.expected, "found": error.found}
            do = error.do.replace("in the parameters cell, or after -p", "in the grid")
            raise ConfigError(error.failed, where=f"{file}: {error.where}", do=do, **parts) from error

    fixed = {name: checked(name, value) for name, value in fixed.items()}
    grid = {name: [checked(name, value) for value in values] for name, values in grid.items()}
    runs = {}
    for values in itertools.product(*grid.values()):
        varied = dict(zip(grid, values, strict=True))
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


def _faults(grid: object, fixed: object) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with a grid: what was expected, what was found, and what to do next."""
    for part in (grid, fixed):
        if not isinstance(part, dict):
            yield "names, each with a list of values", _kind(part), "Write lr: [0.01, 0.02]."
        for name in part:
            if not isinstance(name, str):
                yield "names of parameters", f"the name {str(name)[:80]}", "Correct the name."
    if not grid:
        yield "at least one parameter", "an empty grid", "Write seed: [0, 1, 2]."
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            found = f"{name}: {_kind(values)}"
            yield "a list with at least one value", found, f"Write {name}: [1, 2]."
        if name in fixed:
            yield "a parameter in the grid or beside it", f"{name} in both", "Choose one."
    for name, value in [*((name, v) for name, vs in grid.items() for v in vs), *fixed.items()]:
        if not isinstance(value, str | int | float | bool | None):
            expected = "a number, a text, true, false or null"
            yield expected, f"{name}: {_kind(value)}", "Write each value by itself."
    for name, values in grid.items():
        if twice := [value for value in values if values.count(value) > 1]:
            yield "different values", f"{name}: {twice[0]!r} twice", "Leave one of them out."
    size = math.prod(len(values) for values in grid.values())
    if size > MOST_RUNS:
        yield f"at most {MOST_RUNS:,} runs", f"{size:,} combinations", "Take fewer values."


def _no_grid(file: Path, expected: str, found: str, do: str) -> ConfigError:
    failed = "The grid of a sweep cannot be used."
    return ConfigError(failed, where=file, expected=expected, found=found, do=do)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return "an empty list" if value == [] else f"a value of type {type(value).__name__}"
