"""Data: from files to batches (lessons 01, 08 and 09).

Which pictures train, validate and test; folders of your own; how a picture is read and prepared;
how a file is downloaded and verified; and which weights there are, since they say how pictures are prepared.
"""

from course_utils.data.archives import Found, dataset_files, files_table
from course_utils.data.backbone_inputs import AUXILIARY_HEADS, backbone_transform, build_backbone
from course_utils.data.downloads import download, is_intact
from course_utils.data.files import check_room, make_folder, not_written, remove_leftovers, write_atomically
from course_utils.data.folder_report import check_images
from course_utils.data.folders import FolderOfClasses
from course_utils.data.image_io import load_rgb, look_at
from course_utils.data.loaders import classes_of, collate, labels_of, make_loader
from course_utils.data.preprocessing import (
    ImageClassification,
    as_pixels,
    crop_of,
    image_batches,
    in_eight_bits,
    in_memory,
    known_preset,
    normalise,
    send,
    source_and_indices,
)
from course_utils.data.processes import (
    all_or_none,
    count,
    everybodys,
    from_first,
    in_turn,
    is_first,
    leave,
    lost_is_told,
    named,
    number,
    progress_bar_options,
    sums,
    weights_of_first,
)
from course_utils.data.splits import (
    DOWNLOADED,
    Splits,
    check_class_sizes,
    check_sums,
    fetch_images,
    limit_per_class,
    load_splits,
    stratified_split,
)
from course_utils.data.weights import (
    FileWeights,
    RandomWeights,
    TimmWeights,
    backbone_name,
    backbone_weights,
    hub_state_dict,
    refuse_nan,
    refuse_unfit,
)

__all__ = [
    "AUXILIARY_HEADS",
    "DOWNLOADED",
    "FileWeights",
    "FolderOfClasses",
    "Found",
    "ImageClassification",
    "RandomWeights",
    "Splits",
    "TimmWeights",
    "all_or_none",
    "as_pixels",
    "backbone_name",
    "backbone_transform",
    "backbone_weights",
    "build_backbone",
    "check_class_sizes",
    "check_images",
    "check_room",
    "check_sums",
    "classes_of",
    "collate",
    "count",
    "crop_of",
    "dataset_files",
    "download",
    "everybodys",
    "fetch_images",
    "files_table",
    "from_first",
    "hub_state_dict",
    "image_batches",
    "in_eight_bits",
    "in_memory",
    "in_turn",
    "is_first",
    "is_intact",
    "known_preset",
    "labels_of",
    "leave",
    "limit_per_class",
    "load_rgb",
    "load_splits",
    "look_at",
    "lost_is_told",
    "make_folder",
    "make_loader",
    "named",
    "normalise",
    "not_written",
    "number",
    "progress_bar_options",
    "refuse_nan",
    "refuse_unfit",
    "remove_leftovers",
    "send",
    "source_and_indices",
    "stratified_split",
    "sums",
    "weights_of_first",
    "write_atomically",
]
