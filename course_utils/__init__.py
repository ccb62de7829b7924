"""The package behind the transfer-learning course. Its parts, in the order in which they import each other:

errors, settings -> data -> models -> training -> evaluation -> text, scale -> figures -> checks, teaching

docs/contributing.md says what is in each of them. A part's `__init__.py` lists what notebooks import from it.
Nothing large is imported here, so that `import course_utils` is fast.
"""

import os

# OpenMP reads these when torch is imported. By default its idle threads spin, and on a busy machine they take
# the cores from threads that compute. If they slept at once, they would wake slowly, so they spin for a
# moment first (benchmarks/waiting.py).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}
