"""What the first cell of each notebook runs in Colab, once it has cloned the course.

Colab brings its own torch, made for its own graphics cards: an upgrade would cost minutes, and may break it.
So the packages that the lessons need are installed only where they are missing, and none that is here is
changed. This file imports nothing that may be missing.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(COURSE))

from course_utils.errors import ConfigError  # noqa: E402


def missing_packages(requirements: str) -> list[str]:
    """Return the requirements of the lessons, such as "captum>=0.8", whose packages this Python lacks."""
    lines = requirements.split("# The lessons")[1].split("\n#")[0].splitlines()
    here = {_plain(one.name) for one in distributions() if one.name}
    return [line for line in lines if ">=" in line and _plain(line.split(">=")[0]) not in here]


def install(missing: list[str]) -> None:
    """Install packages, with every one that is here held at its version.

    Raises:
        ConfigError: If pip cannot install one, for example because something here is too old for it.
    """
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        held.write_text("".join(f"{one.name}=={one.version}\n" for one in distributions() if one.name))
        command = [sys.executable, "-m", "pip", "install", "--quiet", *missing, "--constraint", str(held)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            "pip could not install packages that the course needs.",
            where=", ".join(missing),
            expected="a network, and versions that go with what is here",
            found=done.stderr.strip()[-800:] or f"pip ended with {done.returncode}",
            do="Read what pip says; in Colab, try Runtime > Disconnect and delete runtime, and begin again.",
        )
    names = [one.split(">=")[0] for one in missing]
    print(f"Installed: {', '.join(names)}. Everything else is as it was.")


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    if missing := missing_packages((COURSE / "requirements.txt").read_text(encoding="utf-8")):
        install(missing)
