"""The package behind the transfer-learning course. These modules carry the lessons; read them in this order:

settings -> data -> backbones -> features -> checkpoints -> training -> evaluation -> figures -> runs

docs/api.md lists all modules, by subject. Nothing is imported here, so that `import course_utils` costs
nothing: a notebook imports each name from the module that it lives in, and you see at once where to read on.
"""
