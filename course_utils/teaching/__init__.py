"""Teaching: what those who give the course need. Students need not read it.

Running the lessons, making exercises from their solutions, grading, sweeps, bundles for a classroom without a
network, and the course's address.
"""

from course_utils.teaching.bundles.content import students_repository
from course_utils.teaching.bundles.packing import bundle
from course_utils.teaching.bundles.unpacking import unpack
from course_utils.teaching.environment import describe_machine
from course_utils.teaching.exercises import generate_exercises
from course_utils.teaching.grading import grade, limits_of, summary
from course_utils.teaching.lessons import (
    CELL_TIMEOUT,
    lesson_notebooks,
    plan_parameters,
    record,
    refresh_outputs,
    run_lesson,
    run_lessons,
)
from course_utils.teaching.packages import install_missing
from course_utils.teaching.sweeps import sweep

__all__ = [
    "CELL_TIMEOUT",
    "bundle",
    "describe_machine",
    "generate_exercises",
    "grade",
    "install_missing",
    "lesson_notebooks",
    "limits_of",
    "plan_parameters",
    "record",
    "refresh_outputs",
    "run_lesson",
    "run_lessons",
    "students_repository",
    "summary",
    "sweep",
    "unpack",
]
