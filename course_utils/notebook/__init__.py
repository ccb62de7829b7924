"""Notebook: helpers for the notebook itself, not for transfer learning.

Recording results, a check of the machine, an upload button, a folder of faulty pictures, and `make lab`.
"""

from course_utils.notebook.faulty_folder import write_faulty_folder
from course_utils.notebook.machine import describe_machine
from course_utils.notebook.records import record
from course_utils.notebook.uploads import upload_button

__all__ = ["describe_machine", "record", "upload_button", "write_faulty_folder"]
