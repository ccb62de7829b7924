"""Scale: more pictures, more processes, more machines (lesson 16).

Starting several processes, streaming pictures from tar files, and training from the command line.
"""

from course_utils.scale.launching import launch
from course_utils.scale.streaming import stream_features, write_tars

__all__ = [
    "launch",
    "stream_features",
    "write_tars",
]
