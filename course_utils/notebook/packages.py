"""Packages that the lessons need: their names, installed where they are missing.

In Colab, notebooks/colab.py runs this file by itself: it imports nothing that may be missing there.
"""

import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from course_utils.errors import ConfigError

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
LAB = "jupyterlab"  # Colab has its own in its place


def package_floors(pyproject: Path = PYPROJECT) -> dict[str, str]:
    """Return the names and the lowest versions of the packages that the lessons need, in Colab too."""
    described = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    floors = dict(line.split(">=") for line in described["project"]["dependencies"])
    return {name: floor for name, floor in floors.items() if name != LAB}


def missing_packages() -> list[str]:
    """Return the requirements of the lessons, such as "captum>=0.8", whose packages this Python lacks."""
    floors = package_floors().items()
    return [f"{name}>={floor}" for name, floor in floors if not any(distributions(name=name))]


def install(missing: list[str]) -> None:
    """Install packages, with every one that is here held at its version.

    Colab brings its own torch, made for its own graphics cards: an upgrade would cost minutes, and may break
    it.

    Raises:
        ConfigError: If pip cannot install one, for example because something here is too old for it.
    """
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        lines = [f"{one.name}=={one.version}\n" for one in distributions() if one.name]
        held.write_text("".join(lines), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", *missing, "--constraint", str(held)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            "pip could not get packages that the course needs.",
            where=", ".join(missing),
            expected="a network, and versions that go with what is here",
            found=done.stderr.strip()[-800:] or f"pip ended with {done.returncode}",
            do="Read what pip says; in Colab, try Runtime > Disconnect and delete runtime, and begin again.",
        )
    names = [one.split(">=")[0] for one in missing]
    print(f"Installed: {', '.join(names)}. Everything else is as it was.")
