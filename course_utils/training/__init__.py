"""Training: train a head or a whole network (lessons 04 and 06).

The loop and its history; features of a frozen backbone; learning rates; resuming; precision and processes.
"""

from course_utils.training.features import extract_features
from course_utils.training.learning_rates import lr_range_test
from course_utils.training.loop import evaluate_loss, fit, train_one_epoch

__all__ = [
    "evaluate_loss",
    "extract_features",
    "fit",
    "lr_range_test",
    "train_one_epoch",
]
