"""A classroom without a network: `packing` makes one file of the course, `unpacking` puts it in place."""

from course_utils.bundles.packing import bundle
from course_utils.bundles.unpacking import unpack

__all__ = ["bundle", "unpack"]
