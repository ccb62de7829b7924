"""Lessons are run one after the other, whatever happens in one of them, and their results are gathered."""

import json

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils import __main__
from course_utils.__main__ import main
from course_utils.errors import ConfigError
from course_utils.teaching import lessons as runs
from course_utils.teaching.lessons import (
    METRICS_TYPE,
    LessonRun,
    lesson_notebooks,
    plan_parameters,
    read_value,
    refresh_outputs,
    results_table,
    run_lesson,
    run_lessons,
)

pytestmark = pytest.mark.kernels
KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
PARAMETERS = 'profile = "quick"\nepochs = 5\ndataset = "default"'


def write_lesson(path, *cells, parameters=PARAMETERS):
    """Write a notebook: a title, a parameters cell (None: without one), and these cells of code."""
    notebook = new_notebook(metadata=KERNEL, cells=[new_markdown_cell("# A lesson")])
    if parameters is not None:
        notebook.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)
    return path


def outputs_of(notebook):
    """Everything that a notebook's cells printed and returned, as one text."""
    cells = nbformat.read(notebook, as_version=4).cells
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for cell in cells
        for output in cell.get("outputs", [])
    )


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Run four small lessons, of which two fail, by the command line; return folder, status and results."""
    folder, output = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("runs") / "out"
    record = "from course_utils.teaching.lessons import record\n"
    record += "record(val_accuracy=0.75, test_accuracy=epochs / 10)"
    write_lesson(folder / "01_good.ipynb", record, "import os\nos.getcwd()")
    write_lesson(folder / "02_raises.ipynb", "print('so far')", "1 / 0", "print('never')")
    write_lesson(folder / "03_dies.ipynb", "print('so far')", "import os\nos._exit(1)")
    write_lesson(folder / "04_after.ipynb", "print('ran all the same')", parameters='profile = "quick"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(__main__, "lesson_notebooks", lambda only: lesson_notebooks(only, folder))
        status = main(["run", "--output", str(output), "-p", "epochs", "3"])
    results = json.loads((output / "results.json").read_text())
    return folder, output, status, {result["lesson"]: result for result in results}


def test_exit_status_is_1_when_a_lesson_fails(series):
    assert series[2] == 1


def test_results_have_one_object_a_lesson_in_order(series):
    results = series[3]
    assert list(results) == ["01", "02", "03", "04"]
    assert [result["status"] for result in results.values()] == ["ok", "failed", "failed", "ok"]
    for number, result in results.items():
        assert {"lesson", "notebook", "status", "seconds", "parameters", "metrics"} <= set(result)
        assert result["notebook"].startswith(number) and result["notebook"].endswith(".ipynb")
        assert result["seconds"] > 0


def test_what_a_lesson_records_becomes_its_metrics(series):
    assert series[3]["01"]["metrics"] == {"val_accuracy": 0.75, "test_accuracy": 0.3}
    assert series[3]["04"]["metrics"] == {}


def test_parameters_reach_the_lessons_that_have_them(series):
    assert series[3]["01"]["parameters"] == {"profile": "quick", "epochs": 3}
    assert series[3]["04"]["parameters"] == {"profile": "quick"}


def test_notebook_runs_in_its_own_folder(series):
    folder, output, _, _ = series
    assert repr(str(folder.resolve())) in outputs_of(output / "01_good.ipynb")


def test_failing_lesson_names_its_cell_and_its_error(series):
    _, output, _, results = series
    failed = results["02"]
    assert failed["error"] == "ZeroDivisionError: division by zero"
    cells = nbformat.read(output / "02_raises.ipynb", as_version=4).cells
    assert cells[failed["cell"] - 1].source == "1 / 0"
    assert "so far" in outputs_of(output / "02_raises.ipynb")


def test_lesson_whose_kernel_dies_is_failed_and_keeps_its_outputs_so_far(series):
    _, output, _, results = series
    assert "died" in results["03"]["error"].lower()
    assert "so far" in outputs_of(output / "03_dies.ipynb")
    cells = nbformat.read(output / "03_dies.ipynb", as_version=4).cells
    assert "os._exit" in cells[results["03"]["cell"] - 1].source


def test_lessons_after_a_failing_one_run_all_the_same(series):
    assert "ran all the same" in outputs_of(series[1] / "04_after.ipynb")


def test_sources_are_not_changed_by_a_run(series):
    for notebook in series[0].glob("*.ipynb"):
        assert outputs_of(notebook) == ""


@pytest.mark.parametrize(
    "parameters, kind",
    [({}, "quick"), ({"profile": "full"}, "full"), ({"dataset": "folder:/large/photographs"}, "full")],
)
def test_large_pictures_of_your_own_have_as_much_time_as_the_full_profile(
    tmp_path, monkeypatch, parameters, kind
):
    given = {}
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **options: given.update(options))
    run_lesson(tmp_path / "01_a.ipynb", parameters, tmp_path / "out.ipynb")
    assert given["execution_timeout"] == runs.CELL_TIMEOUT[kind]


def test_lesson_that_hangs_is_ended_and_keeps_its_outputs_so_far(tmp_path, monkeypatch):
    monkeypatch.setitem(runs.CELL_TIMEOUT, "quick", 2)
    hangs = "import time\nwhile True:\n    time.sleep(0.1)"
    notebook = write_lesson(tmp_path / "01_hangs.ipynb", "print('so far')", hangs)
    (run,) = run_lessons([notebook], {}, tmp_path / "out")
    assert run.status == "failed"
    assert "timed out" in run.error.lower() or "timeout" in run.error.lower()
    assert "so far" in outputs_of(tmp_path / "out" / "01_hangs.ipynb")
    cells = nbformat.read(tmp_path / "out" / "01_hangs.ipynb", as_version=4).cells
    assert cells[run.cell - 1].source == hangs
    assert json.loads((tmp_path / "out" / "results.json").read_text())[0]["status"] == "failed"


@pytest.fixture
def no_kernel(monkeypatch):
    """Make it an error to execute a notebook."""

    def refuse(*arguments, **options):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(papermill, "execute_notebook", refuse)


@pytest.fixture
def lesson(tmp_path, monkeypatch, no_kernel):
    """Make one lesson, 01, the whole series of the command line, with no way to run it."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(__main__, "lesson_notebooks", lambda only: lesson_notebooks(only, folder))
    return write_lesson(folder / "01_one.ipynb", "1 + 1")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["-p", "epoch", "3"], "Did you mean 'epochs'?"),
        (["-p", "lr", "0.1"], "There is no parameter 'lr'"),  # the course knows it, this lesson does not
        (["-p", "epochs", "three"], "'three', which is of type str"),
        (["-p", "epochs", "'3'"], "Write 3 without quotes."),
        (["-p", "epochs", "-1"], "greater than or equal to 1"),
        (["-p", "epochs=1;import os;x", "3"], "There is no parameter 'epochs=1;import os;x'"),
        (["--only", "99"], "There is no lesson '99'"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_anything_runs(lesson, tmp_path, capsys, arguments, told):
    assert main(["run", "--output", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ConfigError: ")
    assert told in error
    assert not (tmp_path / "out").exists()


def test_notebook_without_parameters_is_an_error_before_anything_runs(tmp_path, no_kernel):
    notebook = write_lesson(tmp_path / "01_none.ipynb", "1 + 1", parameters=None)
    with pytest.raises(ConfigError, match="no parameters"):
        run_lessons([notebook], {"epochs": 3}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_executed_notebook_is_never_written_over_its_source(lesson, capsys):
    before = lesson.read_bytes()
    assert main(["run", "--output", str(lesson.parent)]) == 2
    assert "overwrite" in capsys.readouterr().err
    assert lesson.read_bytes() == before
    assert [path.name for path in lesson.parent.iterdir()] == [lesson.name]


@pytest.mark.parametrize("name", ["01_one.ipynb", "results.json"])
def test_file_that_is_already_there_is_never_overwritten(lesson, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(ConfigError, match="overwrite"):
        run_lessons([lesson], {}, tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_braces_in_a_path_are_no_parameters(tmp_path):
    (tmp_path / "B3").mkdir()
    (tmp_path / "B3" / "01_{seed}.ipynb").write_text("mine")
    (tmp_path / "{epochs}").mkdir()
    path, own = tmp_path / "{epochs}" / "01_{seed}.ipynb", "epochs = 5\nseed = 0"
    notebook = write_lesson(path, "epochs", parameters=own)
    (run,) = run_lessons([notebook], {"seed": 3, "epochs": 2}, tmp_path / "B{seed}")
    assert (run.status, run.parameters) == ("ok", {"seed": 3, "epochs": 2})
    assert (tmp_path / "B3" / "01_{seed}.ipynb").read_text() == "mine"
    assert "2" in outputs_of(tmp_path / "B{seed}" / "01_{seed}.ipynb")


@pytest.mark.parametrize("command", ["run", "refresh"])
def test_folder_of_somebody_else_is_told_before_anything_runs(
    folder_for_all, ordinary_user, no_kernel, monkeypatch, capsys, command
):
    write_lesson(folder_for_all / "01_one.ipynb", "1 + 1")
    monkeypatch.setattr(__main__, "lesson_notebooks", lambda only: lesson_notebooks(only, folder_for_all))
    main(["run", "--only", "99"])  # what is imported late is imported while all of it may be read
    with ordinary_user():
        assert main([command, "--output", str(folder_for_all / "out")]) == 2
    told = capsys.readouterr().err
    assert "ConfigError: A file could not be written" in told and "PermissionError" in told
    assert str(folder_for_all) in told


def test_notebooks_of_somebody_else_are_not_refreshed(folder_for_all, ordinary_user, no_kernel, tmp_path):
    notebook = write_lesson(folder_for_all / "01_one.ipynb", "1 + 1")
    with ordinary_user(), pytest.raises(ConfigError, match="PermissionError"):
        refresh_outputs([notebook], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_paths_among_the_parameters_are_made_absolute(tmp_path, monkeypatch):
    own = PARAMETERS + '\nweights = "default"'
    notebook = write_lesson(tmp_path / "01_one.ipynb", parameters=own)
    monkeypatch.chdir(tmp_path)
    given = {"dataset": "folder:my pets", "weights": "new/pets.safetensors", "epochs": 2}
    assert plan_parameters([notebook], given)[notebook] == {
        "dataset": f"folder:{tmp_path.resolve() / 'my pets'}",
        "weights": str(tmp_path.resolve() / "new" / "pets.safetensors"),
        "epochs": 2,
    }


def test_names_that_are_no_paths_are_left_as_they_are(tmp_path):
    notebook = write_lesson(tmp_path / "01_one.ipynb")
    given = {"dataset": "cifar10"}
    assert plan_parameters([notebook], given)[notebook] == given


@pytest.mark.parametrize(
    "text, value",
    [
        ("3", 3),
        ("-1", -1),
        ("1e-3", 0.001),
        ("True", True),
        ("None", None),
        ("'3'", "3"),
        ("cifar10", "cifar10"),
        ("folder:my pets", "folder:my pets"),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("false", "false"),
    ],
)
def test_values_of_the_command_line_are_read_and_never_run(text, value):
    read = read_value(text)
    assert (read, type(read)) == (value, type(value))


def test_lessons_are_found_in_order_and_can_be_chosen(tmp_path):
    for name in ("02_b.ipynb", "00_a.ipynb", "10_c.ipynb", "notes.ipynb", "03_c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in lesson_notebooks((), tmp_path)] == [
        "00_a.ipynb",
        "02_b.ipynb",
        "10_c.ipynb",
    ]
    assert [path.name for path in lesson_notebooks(["10", "00"], tmp_path)] == ["00_a.ipynb", "10_c.ipynb"]
    with pytest.raises(ConfigError, match="'2'"):
        lesson_notebooks(["2"], tmp_path)


def test_table_of_results_shows_accuracies_and_what_failed():
    table = results_table(
        [
            LessonRun("04", "04_train.ipynb", seconds=12.34, metrics={"val_accuracy": 0.875, "loss": 3.0}),
            LessonRun("05", "05_test.ipynb", status="failed", cell=7, error="ValueError: no"),
        ]
    ).splitlines()
    assert [line.split() for line in table] == [
        ["lesson", "status", "seconds", "accuracy"],
        ["04_train", "ok", "12.3", "val", "0.875"],
        ["05_test", "failed", "0.0", "-"],
        ["cell", "7:", "ValueError:", "no"],
    ]


@pytest.fixture
def executed_by_hand(monkeypatch):
    """Stand in for papermill: give the last cell the outputs that a lesson has, or let the lesson fail."""

    def execute(source, output, **options):
        notebook = nbformat.read(source, as_version=4)
        bar = "application/vnd.jupyter.widget-view+json"
        notebook.cells[-1].execution_count = 2
        notebook.cells[-1].outputs = [
            new_output("stream", name="stderr", text=" 10%|█         | 1/10"),
            new_output("display_data", {bar: {"model_id": "1"}, "text/plain": "epochs: 0%"}),
            new_output("stream", name="stdout", text="accuracy: 0.84 – good\n"),
            new_output("display_data", {METRICS_TYPE: {"val_accuracy": 0.84}, "text/plain": "recorded"}),
        ]
        notebook.metadata["papermill"] = {"duration": 1}
        nbformat.write(notebook, output)
        if "fails" in source.name:
            raise RuntimeError("no")

    monkeypatch.setattr(papermill, "execute_notebook", execute)


def test_refreshed_notebook_has_its_outputs_without_progress_bars(tmp_path, executed_by_hand):
    notebook = write_lesson(tmp_path / "01_one.ipynb", "fit()")
    before = nbformat.read(notebook, as_version=4)
    (run,) = refresh_outputs([notebook], tmp_path / "out")
    after = nbformat.read(notebook, as_version=4)
    assert run.status == "ok" and run.metrics == {"val_accuracy": 0.84}
    assert [output.get("text", output.get("data")) for output in after.cells[-1].outputs] == [
        "accuracy: 0.84 – good\n",
        {METRICS_TYPE: {"val_accuracy": 0.84}, "text/plain": "recorded"},
    ]
    assert after.cells[-1].execution_count == 2
    assert after.metadata == before.metadata
    assert [cell.source for cell in after.cells] == [cell.source for cell in before.cells]


def test_warning_beside_a_progress_bar_stays_to_be_seen(tmp_path, monkeypatch):
    def execute(source, output, **options):
        notebook = nbformat.read(source, as_version=4)
        text = " 10%|█         | 1/10\rUserWarning: only half of it\n"
        notebook.cells[-1].outputs = [new_output("stream", name="stderr", text=text)]
        nbformat.write(notebook, output)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    notebook = write_lesson(tmp_path / "01_one.ipynb", "fit()")
    refresh_outputs([notebook], tmp_path / "out")
    assert "only half" in nbformat.read(notebook, as_version=4).cells[-1].outputs[0].text


def test_lesson_that_fails_is_not_refreshed(tmp_path, executed_by_hand):
    notebook = write_lesson(tmp_path / "01_fails.ipynb", "fit()")
    before = notebook.read_bytes()
    (run,) = refresh_outputs([notebook], tmp_path / "out")
    assert (run.status, run.error) == ("failed", "RuntimeError: no")
    assert notebook.read_bytes() == before
