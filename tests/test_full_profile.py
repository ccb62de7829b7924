"""The `full` profile, as far as it can be proved without its downloads.

CIFAR-10 comes through torchvision's own class from a small stand-in on loopback; the ResNet-50 is real, at
224 pixels, but its weights are random.
"""

import nbformat
import papermill
import pytest
import torch

from course_teaching.lessons import lesson_notebooks
from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.loop import fit

pytestmark = pytest.mark.kernels


def test_resnet50_at_224_pixels_learns_and_is_evaluated_on_cifar10(cifar10_server):
    settings = Settings(profile="full", weights="none", images_per_class=4, epochs=2)
    set_seed(settings.seed)
    splits = load_splits(settings)
    assert [len(part) for part in splits[:3]] == [30, 10, 20]
    assert splits.train[0][0].shape == (3, 224, 224)
    model = load_backbone(backbone_weights(settings))
    assert replace_head(model, len(splits.classes)).in_features == 2048
    freeze(model)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    history = fit(model, splits.train, splits.val, settings)
    assert len(history.epochs) == 2
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    result = evaluate(model, splits.test)
    assert result.probabilities.shape == (20, 10)


def test_the_classic_cifar10_example_of_lesson_01_runs_as_it_is_written(
    cifar10_server, tmp_path, monkeypatch
):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-stand-in.py").write_text(
        "import json, pathlib\n"
        "from torchvision import datasets\n"
        f"described = pathlib.Path({str(tmp_path / 'cifar10.json')!r}).read_text()\n"
        "for name, value in json.loads(described).items():\n"
        "    setattr(datasets.CIFAR10, name, value)\n"
    )
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    output = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        lesson_notebooks(["01"])[0],
        output,
        parameters={"profile": "full", "weights": "none"},
        progress_bar=False,
    )
    last = [cell for cell in nbformat.read(output, as_version=4).cells if cell.cell_type == "code"][-1]
    printed = "".join(out.get("text", "") for out in last.outputs if out.get("name") == "stdout")
    assert printed.strip().endswith("[32, 3, 224, 224]")
