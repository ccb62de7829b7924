"""Grading: run untrusted notebooks in a sandbox, and give each its marks and a page of feedback.

Begin with `grader`. It finds what was handed in (`submissions`, `answers`) and by whom (`roster`), has each
notebook run by `sandbox`, in which one of the `engines` confines `runner`, names what a teacher should look
at (`review`), and writes `results`, `questions` for a person and `feedback`. docs/grading.md says how far
the protection goes.
"""

from course_teaching.grading.engines import Limits
from course_teaching.grading.grader import grade
from course_teaching.grading.results import summary

__all__ = ["Limits", "grade", "summary"]
