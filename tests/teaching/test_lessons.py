"""Lessons are run one after the other, whatever happens in one of them, and their results are gathered."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import papermill
import pytest
from small_notebooks import outputs_of, write_notebook

from course_teaching import lessons
from course_teaching.__main__ import main
from course_teaching.lessons import LessonRun, plan_parameters, run_lessons
from course_utils.__main__ import read_value
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

pytestmark = pytest.mark.kernels
RECORD = "from course_utils.notebook import record\nrecord(val_accuracy=0.75, test_accuracy=epochs / 10)"


def cells_of(path):
    return nbformat.read(path, as_version=4).cells


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Run four small lessons, of which two fail, by the command line; give folder, output and results."""
    folder, output = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("runs") / "out"
    write_notebook(folder / "01_good.ipynb", RECORD, "import os\nos.getcwd()")
    write_notebook(folder / "02_raises.ipynb", "print('so far')", "1 / 0", "print('never')")
    write_notebook(folder / "03_dies.ipynb", "print('so far')", "import os\nos._exit(1)")
    write_notebook(folder / "04_after.ipynb", "print('ran all the same')", parameters='profile = "quick"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lessons, "NOTEBOOKS_FOLDER", folder)
        assert main(["run", "--output", str(output), "-p", "epochs", "3"]) == 1
    return folder, output, json.loads((output / "results.json").read_text())


def test_results_have_one_object_a_lesson_in_order(series):
    folder, output, results = series
    assert [(run["lesson"], run["notebook"], run["status"]) for run in results] == [
        ("01", "01_good.ipynb", "ok"),
        ("02", "02_raises.ipynb", "failed"),
        ("03", "03_dies.ipynb", "failed"),
        ("04", "04_after.ipynb", "ok"),
    ]
    assert all(run["seconds"] > 0 for run in results)
    assert [run["metrics"] for run in results] == [{"val_accuracy": 0.75, "test_accuracy": 0.3}, {}, {}, {}]
    assert results[0]["parameters"] == {"profile": "quick", "epochs": 3}
    assert results[3]["parameters"] == {"profile": "quick"}  # those that this lesson has
    assert "ran all the same" in outputs_of(output / "04_after.ipynb")
    assert repr(str(folder.resolve())) in outputs_of(output / "01_good.ipynb")  # it ran in its own folder
    assert not any(outputs_of(notebook) for notebook in folder.glob("*.ipynb"))


@pytest.mark.parametrize(
    "number, error, source",
    [(1, "ZeroDivisionError: division by zero", "1 / 0"), (2, "DeadKernelError", "os._exit(1)")],
)
def test_failing_lesson_names_its_cell_and_error_and_keeps_its_outputs(series, number, error, source):
    _, output, results = series
    failed = results[number]
    assert failed["error"].startswith(error)
    assert source in cells_of(output / failed["notebook"])[failed["cell"] - 1].source
    assert "so far" in outputs_of(output / failed["notebook"])


def test_fault_40_kernel_that_hangs_is_ended_after_seconds_per_cell(tmp_path):
    hangs = (
        "import os, signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print(os.getpid(), flush=True)\nwhile True:\n    time.sleep(0.1)"
    )
    notebook = write_notebook(tmp_path / "01_hangs.ipynb", hangs)
    (run,) = run_lessons([notebook], {}, tmp_path / "out", seconds_per_cell=2)
    assert run.status == "failed"
    assert run.error.startswith("CellTimeoutError: A cell timed out while it was being executed, after 2 sec")
    assert cells_of(tmp_path / "out" / "01_hangs.ipynb")[run.cell - 1].source == hangs
    process = outputs_of(tmp_path / "out" / "01_hangs.ipynb").strip()  # what it printed so far is kept
    ended = subprocess.run(["ps", "-p", process, "-o", "stat="], capture_output=True).stdout.strip()
    assert ended in (b"", b"Z")
    assert json.loads((tmp_path / "out" / "results.json").read_text())[0]["status"] == "failed"


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter on Windows")
def test_ctrl_c_keeps_what_has_run_and_says_so_in_one_line(tmp_path):
    write_notebook(tmp_path / "notebooks" / "01_good.ipynb", "1 + 1")
    write_notebook(
        tmp_path / "notebooks" / "02_slow.ipynb", "print('so', 'far')", "import time\ntime.sleep(600)"
    )
    output = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from course_teaching import lessons\n"
        f"lessons.NOTEBOOKS_FOLDER = Path({str(tmp_path / 'notebooks')!r})\n"
        "from course_teaching.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "run", "--output", str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # The file is read as text, since papermill may be in the middle of writing it.
        while "so far" not in (slow.read_text() if (slow := output / "02_slow.ipynb").exists() else ""):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        error = process.communicate()[1]
    assert process.returncode == 130 and "Traceback" not in error
    assert error.splitlines()[-1].startswith(f"Interrupted in 02_slow. Kept in {output}: this notebook")
    assert [run["lesson"] for run in json.loads((output / "results.json").read_text())] == ["01"]
    assert "so far" in outputs_of(output / "02_slow.ipynb")


@pytest.mark.parametrize("command", ["course_teaching run", "course_utils train"])
def test_ctrl_c_during_the_imports_ends_in_one_line(tmp_path, command):
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    own = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY_FOLDER}"}
    command = [sys.executable, "-m", *command.split()]
    done = subprocess.run(command, env=own, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (130, "Interrupted.")


def test_kernel_is_the_python_of_the_command_whatever_is_registered_elsewhere(tmp_path, monkeypatch):
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    spec = {"argv": ["another-python", "-f", "{connection_file}"], "display_name": "", "language": "python"}
    kernel.write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    notebook = write_notebook(tmp_path / "01_a.ipynb", "import sys, course_utils\nsys.executable")
    (run,) = run_lessons([notebook], {}, tmp_path / "out")
    assert run.error is None and repr(sys.executable) in outputs_of(tmp_path / "out" / "01_a.ipynb")


def test_kernel_imports_the_package_of_the_command_even_if_another_is_installed(tmp_path):
    course = tmp_path / "course"
    for package in ("course_utils", "course_teaching"):
        shutil.copytree(REPOSITORY_FOLDER / package, course / package)
    write_notebook(course / "notebooks" / "01_a.ipynb", "import course_utils\ncourse_utils.__file__")
    command = [sys.executable, "-m", "course_teaching", "run", "--output", str(tmp_path / "out")]
    subprocess.run(command, cwd=course, check=True, capture_output=True)
    assert repr(str(course / "course_utils" / "__init__.py")) in outputs_of(tmp_path / "out" / "01_a.ipynb")


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """Make one lesson, 01, the whole series of the command line, with no way to run it."""
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    monkeypatch.setattr(lessons, "NOTEBOOKS_FOLDER", tmp_path / "notebooks")
    return write_notebook(tmp_path / "notebooks" / "01_one.ipynb", "1 + 1")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-p", "epoch", "3"], "Did you mean 'epochs'?"),
        (["-p", "epochs", "three"], "'three', which is of type str"),
        (["-p", "epochs", "'3'"], "'3', which is of type str"),
        (["-p", "skip_bad_images", "false"], "of type str"),
        (["-p", "epochs", "-1"], "greater than or equal to 1"),
        (["-p", "epochs=1;import os;os.mkdir('x');x", "3"], 'There is no parameter "epochs=1;import os;'),
        (["--only", "99"], "There is no lesson '99'"),
    ],
)
def test_faults_37_to_39_are_reported_before_anything_runs(lesson, tmp_path, capsys, arguments, words):
    before = sorted(tmp_path.rglob("*"))
    assert main(["run", "--output", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ConfigError: ") and words in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["01_one.ipynb", "results.json"])
def test_fault_42_no_file_is_overwritten(lesson, tmp_path, capsys, name):
    before = lesson.read_bytes()
    for output in (lesson.parent, lesson.parent / ".." / lesson.parent.name):
        assert main(["run", "--output", str(output)]) == 2
        assert "overwritten" in capsys.readouterr().err
    assert lesson.read_bytes() == before and [path.name for path in lesson.parent.iterdir()] == [lesson.name]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(ConfigError, match="overwritten"):
        run_lessons([lesson], {}, tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_faults_40_and_42_notebooks_and_commands_are_of_the_course_s_kind():
    for path in REPOSITORY_FOLDER.glob("notebooks/*.ipynb"):
        tags = [tag for cell in cells_of(path) for tag in cell.metadata.get("tags", [])]
        assert "raises-exception" not in tags, path.name
    for name in ("Makefile", "docs/setup.md"):
        commands = re.findall(r"^.*pytest.*--nbval .*$", (REPOSITORY_FOLDER / name).read_text(), re.MULTILINE)
        assert commands and all("--nbval-cell-timeout=900" in command for command in commands)


@pytest.mark.parametrize("command", ["run", "refresh"])
def test_folder_of_somebody_else_is_reported_before_anything_runs(
    folder_for_all, ordinary_user, lesson, monkeypatch, capsys, command
):
    write_notebook(folder_for_all / "01_one.ipynb", "1 + 1")
    monkeypatch.setattr(lessons, "NOTEBOOKS_FOLDER", folder_for_all)
    main([command, "--only", "99"])  # what is imported late is imported while all of it may be read
    with ordinary_user():
        assert main([command, "--output", str(folder_for_all / "out")]) == 2
    error = capsys.readouterr().err
    assert "ConfigError: A file could not be written" in error and "PermissionError" in error
    assert str(folder_for_all) in error


def test_paths_among_the_parameters_are_made_absolute_and_names_are_not(tmp_path, monkeypatch):
    own = 'dataset = "default"\nweights = "default"\ngroups = None\nphotographs = None\nepochs = 5'
    notebook = write_notebook(tmp_path / "01_one.ipynb", parameters=own)
    monkeypatch.chdir(tmp_path)
    given = {"dataset": "folder:my pets", "weights": "new/pets.safetensors", "epochs": 2}
    given |= {"groups": "owners.csv:owner", "photographs": "real pets"}
    assert plan_parameters([notebook], given)[notebook] == {
        "groups": f"{tmp_path.resolve() / 'owners.csv'}:owner",
        "photographs": str(tmp_path.resolve() / "real pets"),
        "dataset": f"folder:{tmp_path.resolve() / 'my pets'}",
        "weights": str(tmp_path.resolve() / "new" / "pets.safetensors"),
        "epochs": 2,
    }
    given = {"dataset": "cifar10", "weights": "none", "groups": "([^/]+)_", "photographs": None}
    assert plan_parameters([notebook], given)[notebook] == given


def test_a_lesson_on_a_dataset_takes_every_setting(tmp_path):
    notebook = write_notebook(tmp_path / "01_one.ipynb", parameters='dataset = "clipart"')
    assert plan_parameters([notebook], {"backbone": "resnet34"})[notebook] == {"backbone": "resnet34"}


@pytest.mark.parametrize(
    "text, value",
    [
        *(("3", 3), ("-1", -1), ("1e-3", 0.001), ("True", True), ("None", None), ("'3'", "3")),
        *((text, text) for text in ("cifar10", "folder:my pets", "__import__('os').getcwd()", "false")),
        *((text, text) for text in ("{[]}", "(" * 1_000)),
    ],
)
def test_values_of_the_command_line_are_read_and_never_run(text, value):
    read = read_value(text)
    assert (read, type(read)) == (value, type(value))


def test_lessons_are_found_in_order_and_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "NOTEBOOKS_FOLDER", tmp_path)
    for name in ("02_b.ipynb", "00_a.ipynb", "10_c.ipynb", "notes.ipynb", "03_c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in lessons.lesson_notebooks()] == ["00_a.ipynb", "02_b.ipynb", "10_c.ipynb"]
    assert [path.name for path in lessons.lesson_notebooks(["10", "00"])] == ["00_a.ipynb", "10_c.ipynb"]
    with pytest.raises(ConfigError, match="'2'"):
        lessons.lesson_notebooks(["2"])


def test_table_of_results_shows_accuracies_and_what_failed():
    fine = LessonRun("04", "04_train.ipynb", seconds=12.34, metrics={"val_accuracy": 0.875, "loss": 3.0})
    failed = LessonRun("05", "05_test.ipynb", status="failed", cell=7, error="ValueError: no")
    lines = lessons.results_table([fine, failed]).splitlines()
    assert [line.split() for line in lines] == [
        ["lesson", "status", "seconds", "accuracy"],
        ["04_train", "ok", "12.3", "val", "0.875"],
        ["05_test", "failed", "0.0", "-"],
        ["cell", "7:", "ValueError:", "no"],
    ]
