"""Data: from files to batches (lessons 01, 08 and 09).

Training, validation and test sets; folders of your own; reading and preprocessing pictures.
"""

from course_utils.data.folder_report import check_images
from course_utils.data.image_io import load_rgb
from course_utils.data.loaders import labels_of, make_loader
from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import groups_of, load_splits

__all__ = [
    "Preprocessing",
    "check_images",
    "groups_of",
    "labels_of",
    "load_rgb",
    "load_splits",
    "make_loader",
]
