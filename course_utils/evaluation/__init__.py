"""Evaluation: how good a network is, and how far the result can be trusted (lessons 05, 07, 08, 12 and 13).

Metrics with their intervals; calibration; explanations; fair comparisons of ways to train; the cost of faulty
preprocessing; what is left under shift, and pictures of no class; which network to start from; the card that
goes with a model.
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
    augment,
    expected_best,
    mean_interval,
    train_and_test,
    train_from,
)
from course_utils.evaluation.detection import (
    energy,
    feature_distance,
    max_probability,
    roc_interval,
    threshold_keeping,
)
from course_utils.evaluation.explanations import (
    check_target,
    grad_cam,
    tsne_embedding,
)
from course_utils.evaluation.metrics import (
    Evaluation,
    accuracy_interval,
    confusion_matrix,
    evaluate,
    most_confident_mistakes,
    paired_difference,
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
    with_steps,
)
from course_utils.evaluation.shift import (
    STRENGTHS,
    WAYS,
    corrupted,
    corruptions,
    same_classes,
    shift_table,
    train_way,
)
from course_utils.evaluation.transferability import log_me

__all__ = [
    "FAULT_SCOPES",
    "INIT_STRATEGIES",
    "STRENGTHS",
    "WAYS",
    "Evaluation",
    "InitStrategy",
    "Run",
    "TransformedDataset",
    "accuracy_interval",
    "aggregate_runs",
    "alters_images",
    "augment",
    "calibration_error",
    "channel_statistics",
    "check_target",
    "confusion_matrix",
    "corrupted",
    "corruptions",
    "costs_table",
    "energy",
    "evaluate",
    "evaluate_heads",
    "expected_best",
    "faulty_preprocessings",
    "feature_distance",
    "fit_temperature",
    "grad_cam",
    "linear_head",
    "log_me",
    "max_probability",
    "mean_interval",
    "model_card",
    "most_confident_mistakes",
    "paired_difference",
    "per_class",
    "predict",
    "predict_proba",
    "reliability_table",
    "resized",
    "roc_interval",
    "same_classes",
    "shift_table",
    "threshold_keeping",
    "train_and_test",
    "train_from",
    "train_way",
    "tsne_embedding",
    "with_steps",
    "with_temperature",
    "write_new_file",
]
