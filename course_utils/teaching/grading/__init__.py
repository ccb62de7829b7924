"""Grading: notebooks that nobody trusts are run, shut in, and get their marks and a page of feedback each.

`grader` is where it begins: it finds what was handed in (`submissions`, `answers`), has each run by
`sandbox` in a `workspace` of its own, shut in by one of the `engines`, names what somebody should look at
(`review`), and writes `results` and `feedback`. `watch` and `executor` are what goes on meanwhile.
docs/grading.md tells how far the protection goes.
"""

from course_utils.teaching.grading.grader import grade, limits_of
from course_utils.teaching.grading.results import summary

__all__ = ["grade", "limits_of", "summary"]
