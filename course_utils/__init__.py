"""The package behind the transfer-learning course: one room per lesson, read in the order below.

settings -> data -> backbones -> features -> training -> checkpoints -> evaluation -> figures -> runs

Nothing is imported here, so that `import course_utils` costs nothing: a notebook imports each name from
the room that it lives in, and you see at once where to read on.
"""
