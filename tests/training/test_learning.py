"""Does it learn what there is to learn? Real images, the weights that ship, the best linear head.

The figures for all images and three seeds come from benchmarks/frozen_head.py; this is a smaller copy, with
bands wide enough for any machine.
"""

import pytest
from sklearn.linear_model import LogisticRegression
from torch.utils.data import Subset

from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.features import extract_features
from course_utils.training.loop import fit


@pytest.mark.kernels
def test_a_new_head_comes_near_the_best_linear_head_with_the_lessons_settings():
    settings = Settings(images_per_class=75, seed=0)
    splits = load_splits(settings)
    test = Subset(splits.test, range(0, len(splits.test), 4))
    model = load_backbone(backbone_weights(settings))
    set_seed(settings.seed)
    replace_head(model, len(splits.classes))
    freeze(model)
    fit(model, splits.train, splits.val, settings)
    head = evaluate(model, test).accuracy
    train, seen = (extract_features(model, part).tensors for part in (splits.train, test))
    yardstick = LogisticRegression(max_iter=5000).fit(*(tensor.numpy() for tensor in train))
    assert head > 0.7
    assert head > yardstick.score(*(tensor.numpy() for tensor in seen)) - 0.04
