"""Evaluation: how good a network is, and how far the result can be trusted (lessons 05, 07 and 08).

Metrics with their intervals; calibration; explanations; fair comparisons of ways to train; the cost of faulty
preprocessing; the card that goes with a model.
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
    expected_best,
    mean_interval,
    train_and_test,
    train_from,
)
from course_utils.evaluation.explanations import (
    as_grid,
    check_target,
    grad_cam,
    gradcam_layer,
    tsne_embedding,
)
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
    FAULT_SCOPES,
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
    "FAULT_SCOPES",
    "INIT_STRATEGIES",
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
    "check_target",
    "confusion_matrix",
    "costs_table",
    "evaluate",
    "evaluate_heads",
    "expected_best",
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
    "train_and_test",
    "train_from",
    "tsne_embedding",
    "with_steps",
    "with_temperature",
    "write_new_file",
]
