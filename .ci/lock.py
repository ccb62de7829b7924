"""Write the lock of all packages, and the list of the lowest versions that pyproject.toml allows.

    make lock

The lock holds what is installed here now, which is what the tests ran with, and for other systems and other
Pythons what goes with it. Hashes are those of the index that uv asks, which is the public one by default.
"""

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK, FLOORS = map(Path, sys.argv[1:])
COMPILE = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
# No address, no path of this machine, and not the course itself, which is installed from its folder.
PLAIN = ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-package", "course-utils"]
TESTED = ["pyproject.toml", "--extra", "teach", "--extra", "test"]
ALL = [*TESTED, "--extra", "site", "--extra", "browser"]


def compile_list(head: str, path: Path, *arguments: str) -> None:
    done = subprocess.run([*COMPILE, *PLAIN, *arguments], check=True, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    path.write_text("\n".join([head, *lines]).rstrip() + "\n", encoding="utf-8")


listed = subprocess.run(
    [sys.executable, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
)
# A package of this Python may have no wheel for an older one, so it is held from this one on.
marker = f"python_full_version >= '{platform.python_version()}'"
held = [
    f"{one['name']}=={one['version'].split('+')[0]} ; {marker}\n"
    for one in json.loads(listed.stdout)
    if "editable_project_location" not in one
]
with tempfile.TemporaryDirectory() as folder:
    constraints = Path(folder) / "held.txt"
    constraints.write_text("".join(held), encoding="utf-8")
    head = "# All packages of the course, its site and its tests, as they were tested: `make lock` writes it."
    compile_list(head, LOCK, *ALL, "--generate-hashes", "--constraint", str(constraints))
head = "# The lowest versions that pyproject.toml allows, and what goes with them: `make lock` writes it."
compile_list(head, FLOORS, *TESTED, "--resolution", "lowest-direct")
