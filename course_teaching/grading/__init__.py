"""Grading: notebooks that nobody trusts are run, shut in, and get their marks and a page of feedback each.

`grader` is where it begins: it finds what was handed in (`submissions`, `answers`), has each run by
`sandbox`, in which `runner` is shut in by one of the `engines`, names what somebody should look at
(`review`), and writes `results` and `feedback`. `workspace` has the folders that are removed at the end.
`delivery` makes of it what a teacher needs: marks by the `roster`, `questions` for a person, files for
`platforms`, which name submissions as `exports` knows. docs/grading.md tells how far the protection goes.
"""

from course_teaching.grading.delivery import read_delivery, write_marks
from course_teaching.grading.grader import grade, make_limits
from course_teaching.grading.results import summary

__all__ = ["grade", "make_limits", "read_delivery", "summary", "write_marks"]
