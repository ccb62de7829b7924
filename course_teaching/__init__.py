"""For instructors and maintainers of the course: `python -m course_teaching`. Students do not get it.

Running lessons, exercises, quizzes, slides, grading, sweeps, students' copies, and the course's address.
"""
