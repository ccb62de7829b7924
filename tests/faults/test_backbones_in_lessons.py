"""Do the lessons keep the promise "any torchvision classifier"? The whole table: benchmarks/backbones.py."""

import sys

import pandas as pd
import pytest

from course_utils.settings import REPOSITORY_FOLDER

sys.path.insert(0, str(REPOSITORY_FOLDER / "benchmarks"))
import backbones
from storing import RESULTS


def test_the_table_in_the_docs_is_what_was_measured():
    rows = pd.read_csv(RESULTS / "backbones.csv", dtype=str)
    assert backbones.table(rows) in (REPOSITORY_FOLDER / "docs" / "setup.md").read_text(encoding="utf-8")
    assert set(rows.result) <= {"runs", "refused"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return backbones.write_pictures(tmp_path_factory.mktemp("pictures"), pictures_per_class=12)


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("lesson", "backbone", "result"),
    [
        ("02", "mobilenet_v3_small", "refused"),
        ("06", "mobilenet_v3_small", "runs"),
    ],
)
def test_a_lesson_runs_or_refuses_a_backbone_at_once(
    lesson, backbone, result, pictures, tmp_path, monkeypatch
):
    row = backbones.run_case(lesson, backbone, pictures, tmp_path)
    assert row["result"] == result, row["error"]
