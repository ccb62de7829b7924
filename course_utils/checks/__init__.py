"""Is the answer to an exercise right, and if not, where is the mistake?

`from course_utils import checks as check` gives every check of every lesson. Each takes the answer first,
prints what it finds and returns a `Verdict`. A module names its checks in `__all__`.
"""

import importlib
import pkgutil

from course_utils.checks.verdict import Verdict

__all__ = ["Verdict"]

for _module in pkgutil.iter_modules(__path__):
    if _module.name != "verdict":
        _checks = importlib.import_module(f"{__name__}.{_module.name}")
        globals().update({name: getattr(_checks, name) for name in _checks.__all__})
        __all__ += _checks.__all__
