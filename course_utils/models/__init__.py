"""Models: a pretrained network, its head, and what of it is trained (lessons 02 and 03).

Filling a backbone with its weights; finding and replacing the head; freezing and thawing; saving and loading.
"""

from course_utils.models.adapting import (
    load_trained,
    save_trained,
    thaw_batchnorm,
    thaw_biases,
    trained_entries,
)
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import (
    STAGE_CONTAINERS,
    batchnorm_layers,
    check_head,
    check_trainable,
    choose_device,
    eval_mode,
    find_head,
    float32_expected,
    freeze,
    freeze_batchnorm,
    only_head_trainable,
    replace_head,
    set_train_mode,
    stage_names,
    stage_parameters,
    thaw,
    trainable_parameters,
    without_head,
)
from course_utils.models.saving import (
    describe_preprocessing,
    hash_tensors,
    load_model,
    model_transform,
    save_model,
)

__all__ = [
    "STAGE_CONTAINERS",
    "batchnorm_layers",
    "check_head",
    "check_trainable",
    "choose_device",
    "describe_preprocessing",
    "eval_mode",
    "find_head",
    "float32_expected",
    "freeze",
    "freeze_batchnorm",
    "hash_tensors",
    "load_backbone",
    "load_model",
    "load_trained",
    "model_transform",
    "only_head_trainable",
    "replace_head",
    "save_model",
    "save_trained",
    "set_train_mode",
    "stage_names",
    "stage_parameters",
    "thaw",
    "thaw_batchnorm",
    "thaw_biases",
    "trainable_parameters",
    "trained_entries",
    "without_head",
]
