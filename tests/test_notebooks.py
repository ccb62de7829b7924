"""The lessons as a reader finds them: whole, short, checked, and in step with the package."""

import ast
import dis
import importlib
import math
import re
import statistics
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import sklearn
import torch
from packaging.version import Version
from papermill import PapermillExecutionError, execute_notebook, inspect_notebook
from safetensors.torch import load_file
from sklearn.model_selection import train_test_split
from small_notebooks import cells_of, run_nbval, text_of, write_notebook
from small_pictures import photograph
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision import datasets, models
from torchvision.transforms import v2

from course_teaching.lessons import lesson_notebooks
from course_utils import evaluation, training
from course_utils.data.loaders import make_loader
from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.evaluation.calibration import calibration_error
from course_utils.evaluation.metrics import Evaluation
from course_utils.evaluation.transferability import log_me
from course_utils.models.freezing import freeze, set_train_mode, stage_parameters, thaw
from course_utils.models.weights import ResNet18_64px_Weights
from course_utils.settings import REPOSITORY_FOLDER, Settings, settings_from_notebook
from course_utils.training.loop import parameter_groups

LESSONS = lesson_notebooks()
ROOMS = ["data", "models", "training", "evaluation", "text", "scale", "figures", "checks", "notebook"]
WHOLE = {"figures": "course_utils.figures", "check": "course_utils.checks"}  # imported as a whole
NOTEBOOKS = [*LESSONS, *sorted((REPOSITORY_FOLDER / "notebooks" / "exercises").glob("**/[0-9]*.ipynb"))]
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])


def test_the_lessons_are_all_there():
    assert [path.stem[:2] for path in LESSONS] == [f"{number:02d}" for number in range(17)]


@each_lesson
def test_a_lesson_says_what_a_reader_needs(path):
    text = text_of(path, "markdown")
    assert text.startswith(f"# {path.stem[:2]} · ")
    parts = ["**Why:**", "After this lesson you can", "**Time:**", "**Know first:**", "## Exercises"]
    parts += ["## What to remember", "**Where this is in the package:**", f"](exercises/{path.name})"]
    assert [part for part in parts if part not in text] == []
    assert "**Predict:**" in text or "What do you expect" in text
    for target in re.findall(r"\]\(((?:exercises/)?\d\d_\w+\.ipynb)\)", text):
        assert (path.parent / target).exists(), target


@each_lesson
def test_code_cells_are_short(path):
    lengths = [len(cell.source.splitlines()) for cell in cells_of(path, "code")]
    assert max(lengths) <= 25 and statistics.median(lengths) <= 8


@each_lesson
def test_parameters_are_settings_with_type_default_and_comment(path):
    parameters = inspect_notebook(str(path))
    assert parameters, "no cell with the tag `parameters`"
    for name, parameter in parameters.items():
        assert parameter["help"], f"{name} has no comment"
        annotation = Settings.model_fields[name].annotation
        expected = {str: "str", int: "int", float: "float"}.get(annotation, parameter["inferred_type_name"])
        assert parameter["inferred_type_name"] == expected
        assert parameter["inferred_type_name"] != "None", f"{name}: papermill does not see its type"


@each_lesson
def test_the_cell_after_the_parameters_checks_them_and_no_other_changes_one(path):
    """The checking cell can be run again at any time."""
    code, parameters = cells_of(path, "code"), set(inspect_notebook(str(path)))
    (tagged,) = (n for n, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", []))
    assert "settings = settings_from_notebook(globals())" in code[tagged + 1].source
    lesson = {"In": [cell.source for cell in code]}
    exec(code[tagged].source, lesson)
    assert settings_from_notebook(lesson) == Settings(**{name: lesson[name] for name in parameters})
    for cell in code[:tagged] + code[tagged + 1 :]:
        steps = dis.get_instructions(compile(cell.source, path.name, "exec"))
        assert not parameters & {step.argval for step in steps if step.opname == "STORE_NAME"}


@each_lesson
def test_stored_outputs_are_complete_clean_and_compared(path):
    code = cells_of(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    text = "\n".join(str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", "")) for o in outputs)
    assert not re.search(r"(^|[\s'\"])(/(home|root|tmp|work|Users)/|[A-Z]:\\)", text)
    pictures = [output.metadata["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert pictures and all(len(picture["alt"]) > 30 for picture in pictures)
    tags = [cell.metadata.get("tags", []) for cell in code if cell.outputs]
    assert len([own for own in tags if "nbval-ignore-output" not in own]) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[f"{path.parent.name}/{path.stem}" for path in NOTEBOOKS])
def test_no_notebook_holds_a_widget_or_needs_what_only_teachers_have(path):
    """A stored widget cannot be drawn when the notebook is opened again ("model not found")."""
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [kind for output in outputs for kind in output.get("data", {}) if "widget" in kind]
    assert not re.search(r"^\s*(from|import) course_teaching", text_of(path, "code"), re.MULTILINE)


def imports_of(path: Path) -> set[tuple[str, str]]:
    """Return each name that a notebook takes from the package, as a pair of module and name."""
    found = set()
    for node in ast.walk(ast.parse(text_of(path, "code"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("course_utils"):
            found |= {(node.module, alias.name) for alias in node.names}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in WHOLE:
            found.add((WHOLE[node.value.id], node.attr))
    return found


def test_front_doors_list_what_notebooks_import_and_nothing_else():
    imported = set().union(*map(imports_of, NOTEBOOKS))
    assert {module for module, _ in imported if module.count(".") > 1} == set()
    for door in (importlib.import_module(f"course_utils.{part}") for part in ROOMS):
        assert set(door.__all__) == {name for module, name in imported if module == door.__name__}
        # A module may have the name of its function.
        assert not [name for name in door.__all__ if isinstance(getattr(door, name), ModuleType)]


def taught(lesson: str, name: str, **tools):
    """Return a function that a lesson defines, with what it needs of the lesson's other cells."""
    (path,) = lesson_notebooks([lesson])
    nodes = [node for cell in cells_of(path, "code") for node in ast.parse(cell.source).body]
    (definition,) = (node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == name)
    exec(ast.unparse(definition), tools)
    return tools[name]


def test_the_training_loop_of_lesson_04_does_what_the_package_does():
    random = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(33, 8, generator=random), torch.randint(3, (33,), generator=random))
    results, weights = [], []
    for loop in (
        taught("04", "train_one_epoch", nn=nn, set_train_mode=set_train_mode),
        training.train_one_epoch,
    ):
        torch.manual_seed(0)
        head = nn.Linear(8, 3)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
        results.append(loop(head, make_loader(data, 32, shuffle=True, seed=1), optimizer))
        weights.append(head.weight.detach())
    assert results[0] == results[1]
    assert torch.equal(*weights)


def test_the_calibration_error_of_lesson_10_is_the_package_s():
    random = torch.Generator().manual_seed(0)
    probabilities = (2 * torch.randn(500, 3, generator=random)).softmax(dim=1)
    labels = torch.randint(3, (500,), generator=random)
    result = Evaluation(probabilities, labels, ["cat", "dog", "ship"])
    own = taught("10", "calibration_error")
    assert own(result, 15) == pytest.approx(calibration_error(result, 15))


def test_the_parameter_groups_of_lesson_06_are_those_of_the_package():
    model = models.resnet18()
    freeze(model)
    thaw(model, "layer2")
    own, packages = (
        [(group["name"], pytest.approx(group["lr"]), [id(p) for p in group["params"]]) for group in groups]
        for groups in (
            taught("06", "parameter_groups", stage_parameters=stage_parameters)(model, 0.1, 0.7),
            parameter_groups(model, 0.1, 0.7),
        )
    )
    assert own == packages


def test_the_corruptions_of_lesson_11_are_in_the_same_place_as_the_package_s():
    own = Preprocessing.from_weights(ResNet18_64px_Weights.DEFAULT)
    picture, greyscale = photograph((100, 80)), v2.Grayscale(num_output_channels=3)
    preprocess = taught("11", "preprocess", torch=torch, v2=v2, own=own)
    torch.testing.assert_close(preprocess(greyscale)(picture), evaluation.corrupted(own, greyscale)(picture))


def test_the_log_evidence_of_lesson_12_is_that_of_the_package():
    random = torch.Generator().manual_seed(0)
    features, labels = torch.randn(40, 6, generator=random), torch.randint(3, (40,), generator=random)
    own = taught("12", "log_evidence", torch=torch, math=math)
    mean = statistics.mean(own(features, (labels == label).double()) for label in range(3))
    assert mean == pytest.approx(log_me(features, labels), abs=1e-5)


@pytest.mark.filterwarnings("ignore:Palette images:UserWarning")  # plain Pillow's, of a few drawings
@pytest.mark.skipif(
    Version(sklearn.__version__) < Version("1.8"),
    reason="it draws other groups of pictures than the lessons show",
)
def test_the_plain_pytorch_of_lesson_00_runs_and_learns(monkeypatch):
    monkeypatch.chdir(REPOSITORY_FOLDER / "notebooks")
    (code,) = re.findall(r"```python\n(.*?)```", text_of(LESSONS[0], "markdown"), re.DOTALL)
    load, build, train = code.split("\n\n")
    tools = {"torch": torch, "nn": nn, "models": models, "v2": v2, "datasets": datasets, "Subset": Subset}
    tools |= {"train_test_split": train_test_split, "load_file": load_file, "DataLoader": DataLoader}
    torch.manual_seed(0)
    exec(load, tools)
    splits = load_splits(Settings(dataset="clipart"))
    assert [len(tools["train"]), len(tools["val"])] == [len(splits.train), len(splits.val)]
    assert tools["train"][0][0].shape == splits.train[0][0].shape
    tools["train"] = Subset(tools["train"], range(0, 300, 5))  # a few, for time
    exec(build, tools)
    before = {name: value.clone() for name, value in tools["model"].state_dict().items()}
    exec(train, tools)
    changed = {name for name, value in tools["model"].state_dict().items() if not value.equal(before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert tools["loss"] < 1.5  # a guess has 2.3


@pytest.mark.kernels
def test_nbval_fails_when_a_compared_output_is_changed_by_hand(tmp_path):
    notebook = nbformat.read(*lesson_notebooks(["01"]), as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = next(number for number, cell in enumerate(code) if "len(pictures)" in cell.source)
    output = code[last].outputs[0]
    output.text = output.text.replace("10 classes", "11 classes")
    notebook.cells = code[: last + 1]
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    changed = run_nbval(tmp_path / "copy.ipynb")
    assert changed.returncode == 1
    assert "11 classes" in changed.stdout and "1 failed, " in changed.stdout  # the others are as stored


@pytest.mark.kernels
def test_a_lesson_that_asks_for_the_network_fails_also_where_it_goes_on_without(tmp_path):
    asks = "import socket\nfor address in {}:\n    try: socket.create_connection(address, timeout=1)"
    asks += "\n    except OSError: pass"
    addresses = [("127.0.0.1", 9), ("localhost", 9), ("192.0.2.1", 80), ("example.org", 443)]
    done = run_nbval(write_notebook(tmp_path / "asks.ipynb", asks.format(addresses)))
    assert done.returncode == 1 and "2 passed" in done.stdout, done.stdout
    asked = re.findall(r"^socket\.\w+: (.+)$", done.stdout, re.MULTILINE)
    assert asked == ["192.0.2.1", "example.org"]


def test_papermill_is_told_of_a_wrong_parameter(tmp_path):
    check = "from course_utils.settings import settings_from_notebook\nsettings_from_notebook(globals())"
    lesson = write_notebook(tmp_path / "lesson.ipynb", check, parameters="image_size: int = 64")
    with pytest.raises(PapermillExecutionError, match="Did you mean 'image_size'"):
        execute_notebook(lesson, None, {"image_sise": 64}, progress_bar=False, cwd=tmp_path)
