"""Imports: nothing heavy before it is used, and nothing that only teachers or tests have."""

import os
import subprocess
import sys

import pytest

from course_utils.settings import REPOSITORY_FOLDER

PARTS = sorted(f"course_utils.{path.stem}" for path in (REPOSITORY_FOLDER / "course_utils").glob("[a-z]*"))
HEAVY = "captum joblib matplotlib.pyplot pooch scipy.stats sklearn timm torchmetrics torchinfo transformers "
HEAVY += "seqeval accelerate webdataset"
NOT_FOR_STUDENTS = "course_teaching papermill nbgrader text2qti pytest hypothesis nbval"


def imported_with(*names):
    """Return what a new Python has imported together with these modules."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_the_package_itself_imports_no_network():
    found = imported_with("course_utils", "course_utils.settings", "course_utils.errors")
    assert not {"torch", "torchvision", "pandas", "numpy"} & found


def test_no_part_imports_what_only_some_of_its_functions_need_or_what_students_lack():
    found = imported_with(*PARTS)
    assert "torch" in found
    assert not {*HEAVY.split(), *NOT_FOR_STUDENTS.split()} & found


@pytest.mark.parametrize(
    "given, policy", [({}, "PASSIVE 2000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None")]
)
def test_threads_sleep_while_they_wait_unless_the_environment_decides(given, policy):
    own = {name: value for name, value in os.environ.items() if "OMP_" not in name} | given
    code = "import course_utils, os; print(*map(os.environ.get, ['OMP_WAIT_POLICY', 'GOMP_SPINCOUNT']))"
    done = subprocess.run([sys.executable, "-c", code], env=own, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == policy
