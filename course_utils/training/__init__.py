"""Training: how the rest of a network learns (lessons 04 and 06).

The loop and its history; features, which a frozen backbone gives once, and their cache; learning rates;
resuming.
"""

from course_utils.training.checks import check_batch_labels
from course_utils.training.feature_cache import (
    as_kept,
    cache_folder,
    cache_limit,
    cached_features,
    cached_shards,
    evict,
    keep,
    list_cache,
    model_digest,
    nothing_kept,
    path_of,
    read_cached,
)
from course_utils.training.features import (
    EXTRACTION_BATCH,
    batches_with_bar,
    extract_features,
    extraction_batch_size,
    on_all_processes,
)
from course_utils.training.frozen_parts import frozen_part_run_once
from course_utils.training.history import History
from course_utils.training.inference import PIXELS, images_at_once, optimized_copy
from course_utils.training.learning_rates import cosine_schedule, lr_range_test
from course_utils.training.loop import fit, train_one_epoch
from course_utils.training.precision import Precision, fast_inference, fastest_dtype, multiplies_bfloat16
from course_utils.training.shards import own_places, shards_of

__all__ = [
    "EXTRACTION_BATCH",
    "PIXELS",
    "History",
    "Precision",
    "as_kept",
    "batches_with_bar",
    "cache_folder",
    "cache_limit",
    "cached_features",
    "cached_shards",
    "check_batch_labels",
    "cosine_schedule",
    "evict",
    "extract_features",
    "extraction_batch_size",
    "fast_inference",
    "fastest_dtype",
    "fit",
    "frozen_part_run_once",
    "images_at_once",
    "keep",
    "list_cache",
    "lr_range_test",
    "model_digest",
    "multiplies_bfloat16",
    "nothing_kept",
    "on_all_processes",
    "optimized_copy",
    "own_places",
    "path_of",
    "read_cached",
    "shards_of",
    "train_one_epoch",
]
