"""Training: how the rest of a network learns (lessons 04 and 06).

The loop and its history; features, which a frozen backbone gives once; learning rates; resuming; precision
and processes.
"""

from course_utils.data.loaders import check_batch_labels
from course_utils.training.acceleration import (
    fast_inference,
    fastest_dtype,
    from_main_process,
    make_accelerator,
    multiplies_bfloat16,
    num_processes,
    process_state,
)
from course_utils.training.features import (
    EXTRACTION_BATCH,
    PIXELS,
    batches_with_bar,
    extract_features,
    images_at_once,
    optimized_copy,
    share_among_processes,
)
from course_utils.training.history import History
from course_utils.training.learning_rates import lr_range_test
from course_utils.training.loop import cosine_schedule, evaluate_loss, fit, parameter_groups, train_one_epoch

__all__ = [
    "EXTRACTION_BATCH",
    "PIXELS",
    "History",
    "batches_with_bar",
    "check_batch_labels",
    "cosine_schedule",
    "evaluate_loss",
    "extract_features",
    "fast_inference",
    "fastest_dtype",
    "fit",
    "from_main_process",
    "images_at_once",
    "lr_range_test",
    "make_accelerator",
    "multiplies_bfloat16",
    "num_processes",
    "optimized_copy",
    "parameter_groups",
    "process_state",
    "share_among_processes",
    "train_one_epoch",
]
