"""Which runs does a sweep have?

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
from collections.abc import Mapping
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


def plan_sweep(notebook: Path, file: Path) -> Plan:
    """Read a grid and check all of it for a notebook. Nothing is run.

    Args:
        notebook: Its path; it says which parameters there are.
        file: The grid, as this module describes it.

    Raises:
        ConfigError: If the file cannot be read or is no grid, a name is unknown, or a value has the wrong
            type, is out of range or is there twice.
    """
    file = Path(file).resolve()
    grid, fixed = _grid_and_fixed(_read(file), file)
    size = math.prod(len(values) for values in grid.values())
    if size > MOST_RUNS:
        raise _no_grid(file, f"at most {MOST_RUNS:,} runs", f"{size:,} combinations", "Take fewer values.")
    fixed = {name: _checked(notebook, name, value, file) for name, value in fixed.items()}
    checked = {}
    for name, values in grid.items():
        checked[name] = []
        for value in values:
            value = _checked(notebook, name, value, file)
            if value in checked[name]:
                raise _no_grid(file, "different values", f"{name}: {value!r} twice", "Leave one of them out.")
            checked[name].append(value)
    runs = {}
    for values in itertools.product(*checked.values()):
        own = dict(zip(checked, values, strict=True))
        Settings(**{**fixed, **own})  # each value was fine by itself; so must they be together
        runs[run_name(own, fixed)] = {**fixed, **own}
    return Plan(list(checked), runs)


def run_name(varied: Mapping[str, object], fixed: Mapping[str, object]) -> str:
    """Return the name of a run, which follows from its parameters alone.

    It begins with what varies, for people, and ends with eight digits of a hash over all parameters, since
    two values may differ only in characters that a file name must not have.
    """
    words = "_".join(f"{name}-{value}" for name, value in varied.items())
    told = re.sub(r"[^A-Za-z0-9._-]+", "-", words)[:120].lstrip(".-")
    everything = json.dumps({**fixed, **varied}, sort_keys=True)
    return f"{told}_{hashlib.sha256(everything.encode()).hexdigest()[:8]}"


def _read(file: Path) -> object:
    """Read YAML that can hold nothing but plain values, and say where it has a name twice."""
    try:
        text = file.read_text(encoding="utf-8")
        for mapping in _mappings(yaml.compose(text, Loader=yaml.SafeLoader)):
            names = [str(name.value) for name, _ in mapping.value]
            if twice := [name for name in names if names.count(name) > 1]:
                raise _no_grid(file, "each name once", f"{twice[0]!r} twice", "Put its values together.")
        return yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        found = " ".join(str(error).split())[:300]
        raise _no_grid(
            file, "a file of YAML", f"{type(error).__name__}: {found}", "Correct the file, or its path."
        ) from error


def _mappings(top: yaml.Node | None) -> list[yaml.MappingNode]:
    """Return the outer mapping of a grid and those in it: of two equal names yaml takes the last."""
    if not isinstance(top, yaml.MappingNode):
        return []
    return [top, *(value for _, value in top.value if isinstance(value, yaml.MappingNode))]


def _grid_and_fixed(content: object, file: Path) -> tuple[dict[str, list], dict[str, object]]:
    own_form = isinstance(content, dict) and "grid" in content and not {*content} - {"grid", "parameters"}
    grid, fixed = (content["grid"], content.get("parameters") or {}) if own_form else (content, {})
    for part in (grid, fixed):
        if not isinstance(part, dict):
            raise _no_grid(file, "names, each with a list of values", _kind(part), "Write lr: [0.01, 0.02].")
        for name in part:
            if not isinstance(name, str):
                raise _no_grid(file, "names of parameters", f"the name {str(name)[:80]}", "Correct the name.")
    if not grid:
        raise _no_grid(file, "at least one parameter", "an empty grid", "Write seed: [0, 1, 2].")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            found = f"{name}: {_kind(values)}"
            raise _no_grid(file, "a list with at least one value", found, f"Write {name}: [1, 2].")
        if name in fixed:
            raise _no_grid(file, "a parameter in the grid or beside it", f"{name} in both", "Choose one.")
    for name, value in [*((name, v) for name, vs in grid.items() for v in vs), *fixed.items()]:
        if not isinstance(value, (str, int, float, bool, type(None))):
            expected = "a number, a text, true, false or null"
            raise _no_grid(file, expected, f"{name}: {_kind(value)}", "Write each value by itself.")
    return grid, fixed


def _checked(notebook: Path, name: str, value: object, file: Path) -> object:
    """Check one value as `run` checks those of its command line, and return it with its path absolute."""
    try:
        return plan_parameters([notebook], {name: value})[notebook][name]
    except ConfigError as error:
        do = error.do.replace("in the parameters cell, or after -p", "in the grid")
        raise ConfigError(
            error.failed,
            where=f"{file}: {error.where}",
            expected=error.expected,
            found=error.found,
            do=do,
        ) from error


def _no_grid(file: Path, expected: str, found: str, do: str) -> ConfigError:
    return ConfigError(
        "The grid of a sweep cannot be used.", where=file, expected=expected, found=found, do=do
    )


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return "an empty list" if value == [] else f"a value of type {type(value).__name__}"
