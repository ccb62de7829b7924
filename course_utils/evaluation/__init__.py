"""Evaluation: how good a network is, and how far the result can be trusted (lessons 05, 07, 08 and 10 to 12).

Metrics with their intervals; calibration; explanations; fair comparisons of ways to train; the cost of faulty
preprocessing; distribution shift, and pictures of unknown classes; choosing a network; model cards.
"""

from course_utils.evaluation.calibration import fit_temperature, with_temperature
from course_utils.evaluation.comparison import (
    INIT_STRATEGIES,
    mean_interval,
    train_from,
)
from course_utils.evaluation.explanations import grad_cam, tsne_embedding
from course_utils.evaluation.metrics import (
    accuracy_interval,
    confusion_matrix,
    evaluate,
    most_confident_mistakes,
    per_class,
    predict,
)
from course_utils.evaluation.model_card import model_card
from course_utils.evaluation.preprocessing_ablation import (
    TransformedDataset,
    faulty_preprocessings,
    linear_head,
    with_steps,
)
from course_utils.evaluation.shift import corrupted, corruptions, feature_distance, same_classes

__all__ = [
    "INIT_STRATEGIES",
    "TransformedDataset",
    "accuracy_interval",
    "confusion_matrix",
    "corrupted",
    "corruptions",
    "evaluate",
    "faulty_preprocessings",
    "feature_distance",
    "fit_temperature",
    "grad_cam",
    "linear_head",
    "mean_interval",
    "model_card",
    "most_confident_mistakes",
    "per_class",
    "predict",
    "same_classes",
    "train_from",
    "tsne_embedding",
    "with_steps",
    "with_temperature",
]
