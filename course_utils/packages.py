"""Which packages do the lessons need, and are they here?"""

import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

# The part of requirements.txt that students need; what is below its next heading is for those who teach.
LESSONS = "# The lessons"


def package_floors() -> dict[str, str]:
    """Return the names and the lowest versions of the packages that the lessons need."""
    text = (REPOSITORY_FOLDER / "requirements.txt").read_text(encoding="utf-8")
    lines = text.split(LESSONS)[1].split("\n#")[0].splitlines()
    return dict(line.split(">=") for line in lines if ">=" in line)


def install_missing() -> list[str]:
    """Install the packages that the lessons need and this Python lacks; change none that is here.

    The first cell of each notebook calls this in Colab, once it has cloned the course. Colab brings
    its own torch, made for its own graphics cards: an upgrade would cost minutes, and may break it.

    Returns:
        The names of the packages that were missing.

    Raises:
        ConfigError: If pip cannot install one, for example because something here is too old for it.
    """
    missing = [f"{name}>={floor}" for name, floor in package_floors().items() if not _is_here(name)]
    if not missing:
        return []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.txt"
        here = {one.metadata["Name"]: one.version for one in distributions() if one.metadata["Name"]}
        kept.write_text("".join(f"{name}=={found}\n" for name, found in here.items()), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(kept), *missing]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            "Packages that the lessons need could not be installed.",
            where=", ".join(missing),
            expected="a network, and versions that go with what is here",
            found=done.stderr.strip()[-800:] or f"pip ended with {done.returncode}",
            do="Read what pip says; in Colab, try Runtime > Disconnect and delete runtime, and begin again.",
        )
    names = [one.split(">=")[0] for one in missing]
    print(f"Installed: {', '.join(names)}. Everything else is as it was.")
    return names


def _is_here(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
