"""The `full` profile, as far as it can be proved without its downloads.

CIFAR-10 comes through torchvision's own class from a small stand-in on loopback; the ResNet-50 is real, at
224 pixels, but its weights are random.
"""

import pytest
import torch

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
