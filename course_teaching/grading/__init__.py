"""Grading: run untrusted notebooks in a sandbox, and give each its marks and a page of feedback.

Begin with `grader`. It finds the submissions (`submissions`, `answers`) and their authors (`roster`), lets
`sandbox` run each notebook, in which one of the `engines` confines `runner`, lists the cells that a teacher
should look at (`review`), and writes `results`, the `questions` to mark by hand, and `feedback`.
docs/grading.md says how far the protection goes.
"""

from course_teaching.grading.engines import Limits
from course_teaching.grading.grader import grade
from course_teaching.grading.results import summary

__all__ = ["Limits", "grade", "summary"]
