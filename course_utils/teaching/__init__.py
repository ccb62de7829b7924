"""Teaching: what those who give the course need. Students need not read it.

Running the lessons, making exercises from their solutions, quizzes, grading, sweeps, students' copies, and
the course's address.
"""

from course_utils.teaching.address import set_repository
from course_utils.teaching.environment import describe_machine
from course_utils.teaching.exercises import generate_exercises
from course_utils.teaching.faulty_folder import write_faulty_folder
from course_utils.teaching.grading import grade, make_limits, read_delivery, summary, write_marks
from course_utils.teaching.lessons import (
    lesson_notebooks,
    new_output_folder,
    plan_parameters,
    read_value,
    record,
    results_table,
    run_folder,
    run_lesson,
    run_lessons,
)
from course_utils.teaching.quizzes import write_quizzes
from course_utils.teaching.slides import write_slides
from course_utils.teaching.stored_outputs import refresh_outputs, write_front_picture
from course_utils.teaching.student_files import students_repository
from course_utils.teaching.sweep_results import draw_means, means_over_seeds
from course_utils.teaching.sweeps import sweep, sweep_folder
from course_utils.teaching.uploads import upload_button

__all__ = [
    "describe_machine",
    "draw_means",
    "generate_exercises",
    "grade",
    "lesson_notebooks",
    "make_limits",
    "means_over_seeds",
    "new_output_folder",
    "plan_parameters",
    "read_delivery",
    "read_value",
    "record",
    "refresh_outputs",
    "results_table",
    "run_folder",
    "run_lesson",
    "run_lessons",
    "set_repository",
    "students_repository",
    "summary",
    "sweep",
    "sweep_folder",
    "upload_button",
    "write_faulty_folder",
    "write_front_picture",
    "write_marks",
    "write_quizzes",
    "write_slides",
]
