"""What the first cell of each notebook runs in Colab, once it has cloned the course.

The packages that the lessons need are installed where they are missing, and none that is here is changed.
"""

import runpy
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(COURSE))

# Run by its path: to import the package around it takes packages that may be missing.
packages = runpy.run_path(str(COURSE / "course_utils" / "notebook" / "packages.py"))
if missing := packages["missing_packages"]():
    packages["install"](missing)
