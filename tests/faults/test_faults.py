"""docs/faults.md tells the truth: every row names its tests, and they exist."""

import ast
import re
from pathlib import Path

import pytest

from course_utils.settings import REPOSITORY_FOLDER

TABLE = (REPOSITORY_FOLDER / "docs" / "faults.md").read_text(encoding="utf-8")
NAMED = re.findall(r"((?:\w+/)*test_\w+\.py)::([\w:]+)", TABLE)
ROWS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", TABLE, re.MULTILINE)


def names_of_tests(path: Path) -> set[str]:
    """Return the names of the tests in a file; those in a class as Class::name."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return {name for name in names if name.split("::")[-1].startswith("test_")}


def test_faults_stand_in_order_and_name_their_tests():
    numbers = [int(number) for number, *_ in ROWS]
    assert numbers == sorted(set(numbers)) and len(numbers) > 30
    for number, *cells in ROWS:
        # A test called test_fault_N_... stands in the row N, if it stands anywhere.
        assert set(re.findall(r"::test_fault_(\d+)_", cells[-1])) <= {number}
    rows = re.findall(r"^\| (?!-)(?!.*shown by)(.+) \|$", TABLE.split("## Longer trials")[0], re.MULTILINE)
    assert [row for row in rows if not re.search(r"test_\w+\.py::", row) and not row.startswith("#")] == []


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_test_that_is_named_exists(file):
    named = {name for other, name in NAMED if other == file}
    assert named - names_of_tests(REPOSITORY_FOLDER / "tests" / file) == set()
