"""Checks: whether the answer to an exercise is right, and if not, where the mistake is.

`from course_utils import checks as check` gives every check of every lesson. Each takes the answer first,
prints what it finds and returns a `Verdict`. `verdict.py` says how one is written; a new one is listed here.
`points` and `total` count what has passed.
"""

# ruff: noqa: F401 - what is imported here is what the front door lists

from course_utils.checks.adapting import choose_adapter, lora_layer, lora_parameters, merged_layer
from course_utils.checks.choosing import nearest_pictures, prototype_labels
from course_utils.checks.comparison import (
    cases_without_gain,
    epochs_for_budget,
    student_interval,
    unfair_differences,
    verdict_on_means,
)
from course_utils.checks.empty_page import empty_page
from course_utils.checks.evaluation import accuracy_over_samples, precision_and_recall, surest_mistakes
from course_utils.checks.fine_tuning import batchnorm_kept, choose_run, learning_parts, three_rates
from course_utils.checks.five_faults import five_faults
from course_utils.checks.images import (
    few_images,
    own_transform,
    reused_or_learned,
    set_sizes,
    shared_pictures,
    worn_on_feet,
)
from course_utils.checks.imbalance import balanced_accuracy, class_weights
from course_utils.checks.intervals import half_the_width, wilson_interval
from course_utils.checks.networks import (
    diagnosis,
    head_parameters,
    new_head,
    output_shape,
    parameter_count,
    task_layer,
)
from course_utils.checks.own_images import held_out_probabilities, left_out_files, suspicious_labels
from course_utils.checks.preprocessing import fault_found, fault_scope, paired_interval, rgb_restored
from course_utils.checks.robustness import overconfidence, split_by_group, split_columns, threshold_for_share
from course_utils.checks.saving import handed_over
from course_utils.checks.scale import gradient_together, images_for_one, shards_left, slowest_step
from course_utils.checks.scoring import points, total
from course_utils.checks.text import aligned_labels, counted_names, padding_mask, pooled_by_hand
from course_utils.checks.training import compare_rates, frozen_by_hand, mean_loss, optimizer_holds
from course_utils.checks.trusting import accepted_share, occlusion_map

__all__ = sorted(name for name, value in globals().items() if callable(value) and name[0] != "_")
