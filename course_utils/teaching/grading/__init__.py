"""Notebooks that nobody trusts are run, shut in, and get their marks and a page of feedback each.

`marking` is where it begins: it finds what was handed in (`submissions`) and not graded before (`progress`),
has each run by `sandbox` within what this machine can offer (`protection`), names what somebody should look
at (`review`), and writes marks and `feedback`. `watch`, `kernel_run` and `kernel_guard` are what goes on
meanwhile. docs/grading.md tells how far the protection goes.
"""

from course_utils.teaching.grading.marking import grade, limits_of, say, summary

__all__ = ["grade", "limits_of", "say", "summary"]
