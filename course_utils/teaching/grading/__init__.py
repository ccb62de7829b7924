"""Grading: notebooks that nobody trusts are run, shut in, and get their marks and a page of feedback each.

`grader` is where it begins: it finds what was handed in (`submissions`, `answers`), has each run by
`sandbox` in a `workspace` of its own, shut in by one of the `engines`, names what somebody should look at
(`review`), and writes `results` and `feedback`. `watch` and `executor` are what goes on meanwhile.
`delivery` makes of it what a teacher needs: marks by the `roster`, `questions` for a person, files for
`platforms`, which name submissions as `exports` knows. docs/grading.md tells how far the protection goes.
"""

from course_utils.teaching.grading.delivery import deliver, read_delivery
from course_utils.teaching.grading.grader import grade, limits_of
from course_utils.teaching.grading.results import summary

__all__ = ["deliver", "grade", "limits_of", "read_delivery", "summary"]
