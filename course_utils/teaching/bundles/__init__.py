"""What students get: `content` makes a repository of it, `packing` a file for a class without a network.

`unpacking` puts the files of a bundle in place.
"""

from course_utils.teaching.bundles.content import students_repository
from course_utils.teaching.bundles.packing import bundle
from course_utils.teaching.bundles.unpacking import unpack

__all__ = ["bundle", "students_repository", "unpack"]
