"""What the course uses of libraries that promise nothing for it: in one place each, and still there."""

import ast
import inspect

from torch import nn
from torchvision import models

from course_utils.models.weight_files import ImageClassification
from course_utils.settings import REPOSITORY_FOLDER
from course_utils.training.features import fuse_conv_bn

KNOWN = {
    "torch.fx.experimental.optimization": "course_utils/training/features.py",
    "torch._dynamo": "benchmarks/peers.py",
}


def private_imports(source):
    """Return the private and experimental modules that a source text imports from other people's packages."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    found |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name
        for name in found
        if not name.startswith(("course_", "_"))
        and any(part.startswith("_") or part == "experimental" for part in name.split("."))
    }


def test_private_modules_are_imported_in_one_place_each():
    found = {}
    for folder in ("course_utils", "course_teaching", "benchmarks", "tests"):
        for path in sorted((REPOSITORY_FOLDER / folder).rglob("*.py")):
            for name in private_imports(path.read_text(encoding="utf-8")):
                found.setdefault(name, []).append(path.relative_to(REPOSITORY_FOLDER).as_posix())
    assert found == {name: [path] for name, path in KNOWN.items()}


def test_torchvisions_preset_is_still_what_the_course_takes_it_for():
    wanted = {"crop_size", "resize_size", "mean", "std", "interpolation", "antialias"}
    preset = models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    missing = wanted - {*inspect.signature(type(preset)).parameters} | wanted - {*dir(preset)}
    assert type(preset) is ImageClassification and not missing, (
        f"torchvision's preprocessing of classifiers has changed: it lacks {missing or 'its one class'}. "
        "What to do: in course_utils/models/weight_files.py, write a class ImageClassification that has "
        "these parameters and attributes (resize, centre crop, scale to [0, 1], normalise)."
    )


def test_torch_still_folds_batch_norm():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    left = [type(module).__name__ for module in fuse_conv_bn(network).modules()]
    assert "BatchNorm2d" not in left, (
        "torch.fx.experimental.optimization.fuse has gone or changed; lessons still run, more slowly. "
        "What to do: in `fuse_conv_bn` of course_utils/training/features.py, trace the network with "
        "torch.fx.symbolic_trace and fold each pair by torch.nn.utils.fusion.fuse_conv_bn_eval, which are "
        "public."
    )
