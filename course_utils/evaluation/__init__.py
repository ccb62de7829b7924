"""Evaluation: how good is a network, and can the result be trusted? (lessons 05, 07 and 08)

Metrics with their intervals; calibration; explanations; fair comparisons of ways to train; what a wrong
preprocessing costs; the card that goes with a model.
"""

from course_utils.evaluation.calibration import (
    calibration_error,
    fit_temperature,
    reliability_table,
    with_temperature,
)
from course_utils.evaluation.comparison import (
    INIT_STRATEGIES,
    InitStrategy,
    Run,
    aggregate_runs,
    mean_interval,
    settings_for,
    train_from,
)
from course_utils.evaluation.explanations import as_grid, grad_cam, gradcam_layer, tsne_embedding
from course_utils.evaluation.metrics import (
    Evaluation,
    accuracy_interval,
    confusion_matrix,
    evaluate,
    most_confident_mistakes,
    per_class,
    predict,
)
from course_utils.evaluation.model_card import model_card, write_new_file
from course_utils.evaluation.preprocessing_ablation import (
    WAYS,
    TransformedDataset,
    alters_images,
    channel_statistics,
    costs_table,
    evaluate_heads,
    faulty_preprocessings,
    linear_head,
    predict_proba,
    resized,
    right_steps,
    with_steps,
)

__all__ = [
    "INIT_STRATEGIES",
    "WAYS",
    "Evaluation",
    "InitStrategy",
    "Run",
    "TransformedDataset",
    "accuracy_interval",
    "aggregate_runs",
    "alters_images",
    "as_grid",
    "calibration_error",
    "channel_statistics",
    "confusion_matrix",
    "costs_table",
    "evaluate",
    "evaluate_heads",
    "faulty_preprocessings",
    "fit_temperature",
    "grad_cam",
    "gradcam_layer",
    "linear_head",
    "mean_interval",
    "model_card",
    "most_confident_mistakes",
    "per_class",
    "predict",
    "predict_proba",
    "reliability_table",
    "resized",
    "right_steps",
    "settings_for",
    "train_from",
    "tsne_embedding",
    "with_steps",
    "with_temperature",
    "write_new_file",
]
