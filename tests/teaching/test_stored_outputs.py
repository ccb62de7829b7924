"""Outputs of a lesson are stored without progress bars, and only if it ran to its end."""

import nbformat
import papermill
import pytest
from nbformat.v4 import new_output
from small_notebooks import write_notebook

from course_teaching.stored_outputs import FRONT_PICTURE, NOT_STORED, front_picture, refresh_outputs
from course_utils.notebook.records import METRICS_TYPE
from course_utils.settings import REPOSITORY_FOLDER

RECORDED = {METRICS_TYPE: {"val_accuracy": 0.84}, "text/plain": "recorded"}


@pytest.fixture
def executed_by_hand(monkeypatch):
    """Stand in for papermill: give the last cell the outputs that a lesson has, or let the lesson fail."""

    def execute(source, output, **options):
        notebook = nbformat.read(source, as_version=4)
        bar = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "epochs: 0%"}
        notebook.cells[-1].execution_count = 2
        notebook.cells[-1].outputs = [
            new_output("stream", name="stderr", text=" 10%|█         | 1/10"),
            new_output("stream", name="stderr", text=" 10%|█         | 1/10\rUserWarning: only half of it\n"),
            new_output("display_data", bar),
            new_output("stream", name="stdout", text="accuracy: 0.84 – good\n"),
            new_output("display_data", RECORDED),
        ]
        notebook.metadata["papermill"] = {"duration": 1}
        nbformat.write(notebook, output)
        if "fails" in source.name:
            raise RuntimeError("no")

    monkeypatch.setattr(papermill, "execute_notebook", execute)


def test_outputs_are_stored_without_progress_bars_and_with_warnings(tmp_path, executed_by_hand):
    path = write_notebook(tmp_path / "01_one.ipynb", "fit()")
    before = nbformat.read(path, as_version=4)
    (run,) = refresh_outputs([path], tmp_path / "out")
    after = nbformat.read(path, as_version=4)
    assert run.status == "ok" and run.metrics == {"val_accuracy": 0.84}
    warning, *others = [output.get("text", output.get("data")) for output in after.cells[-1].outputs]
    assert "only half of it" in warning and others == ["accuracy: 0.84 – good\n", RECORDED]
    assert after.cells[-1].execution_count == 2
    assert after.metadata == before.metadata
    assert [cell.source for cell in after.cells] == [cell.source for cell in before.cells]


def test_texts_that_only_the_data_folder_may_hold_are_not_stored(tmp_path, executed_by_hand):
    path = write_notebook(tmp_path / "01_one.ipynb", "show()", tags=[NOT_STORED])
    refresh_outputs([path], tmp_path / "out")
    assert nbformat.read(path, as_version=4).cells[-1].outputs == []


def test_lesson_that_fails_is_left_as_it_was(tmp_path, executed_by_hand):
    path = write_notebook(tmp_path / "01_fails.ipynb", "fit()")
    before = path.read_bytes()
    (run,) = refresh_outputs([path], tmp_path / "out")
    assert (run.status, run.error) == ("failed", "RuntimeError: no")
    assert path.read_bytes() == before


def test_readme_opens_with_the_picture_that_lesson_07_draws():
    begin = "\n".join((REPOSITORY_FOLDER / "README.md").read_text("utf-8").splitlines()[:8])
    assert f"]({FRONT_PICTURE.relative_to(REPOSITORY_FOLDER).as_posix()})" in begin
    assert FRONT_PICTURE.read_bytes() == front_picture()
