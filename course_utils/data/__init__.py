"""Data: from files to batches (lessons 01, 08 and 09).

Which pictures train, validate and test; folders of your own; how a picture is read and prepared;
how a file is downloaded and verified; and which weights there are, since they say how pictures are prepared.
"""

from course_utils.data.archives import FileStatus, dataset_files, files_table
from course_utils.data.backbone_inputs import backbone_transform, build_backbone
from course_utils.data.contents import copies_of, run_contents
from course_utils.data.downloads import KnownFile, download
from course_utils.data.files import (
    check_new,
    check_room,
    make_folder,
    not_written,
    write_atomically,
)
from course_utils.data.folder_report import check_images
from course_utils.data.folders import FolderOfClasses
from course_utils.data.image_io import file_hash, load_rgb
from course_utils.data.loaders import (
    batches_of,
    check_batch_labels,
    check_labels,
    classes_of,
    collate,
    labels_of,
    make_loader,
    preserve_rng_state,
    progress_bar,
    source_and_indices,
)
from course_utils.data.preprocessing import (
    RGB,
    ImageClassification,
    crop_of,
    image_batches,
    in_eight_bits,
    in_memory,
    known_preset,
    normalise,
    send,
)
from course_utils.data.splits import (
    DOWNLOADED,
    Splits,
    check_class_sizes,
    check_sums,
    fetch_images,
    groups_of,
    limit_per_class,
    load_splits,
    stratified_split,
)
from course_utils.data.weight_files import FileWeights, check_finite
from course_utils.data.weights import (
    RandomWeights,
    backbone_name,
    backbone_weights,
    fetch_weights,
    read_weights,
)

__all__ = [
    "DOWNLOADED",
    "RGB",
    "FileStatus",
    "FileWeights",
    "FolderOfClasses",
    "ImageClassification",
    "KnownFile",
    "RandomWeights",
    "Splits",
    "backbone_name",
    "backbone_transform",
    "backbone_weights",
    "batches_of",
    "build_backbone",
    "check_batch_labels",
    "check_class_sizes",
    "check_finite",
    "check_images",
    "check_labels",
    "check_new",
    "check_room",
    "check_sums",
    "classes_of",
    "collate",
    "copies_of",
    "crop_of",
    "dataset_files",
    "download",
    "fetch_images",
    "fetch_weights",
    "file_hash",
    "files_table",
    "groups_of",
    "image_batches",
    "in_eight_bits",
    "in_memory",
    "known_preset",
    "labels_of",
    "limit_per_class",
    "load_rgb",
    "load_splits",
    "make_folder",
    "make_loader",
    "normalise",
    "not_written",
    "preserve_rng_state",
    "progress_bar",
    "read_weights",
    "run_contents",
    "send",
    "source_and_indices",
    "stratified_split",
    "write_atomically",
]
