"""Models: pretrained networks, their heads, and freezing (lessons 02 and 03).

Finding weights, and loading them into a backbone; finding and replacing the head; freezing and thawing;
saving and loading.
"""

from course_utils.models.backbones import build_backbone, load_backbone
from course_utils.models.freezing import (
    find_head,
    freeze,
    freeze_batchnorm,
    replace_head,
    stage_names,
    stage_parameters,
    thaw,
)
from course_utils.models.saving import load_model, load_trained, save_model, save_trained
from course_utils.models.weights import backbone_weights

__all__ = [
    "backbone_weights",
    "build_backbone",
    "find_head",
    "freeze",
    "freeze_batchnorm",
    "load_backbone",
    "load_model",
    "load_trained",
    "replace_head",
    "save_model",
    "save_trained",
    "stage_names",
    "stage_parameters",
    "thaw",
]
