"""The packages that the lessons need: list them, and install those that are missing.

In Colab, notebooks/colab.py runs this file by its path, so it imports nothing that might be missing there.
"""

import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from course_utils.errors import ConfigError

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
LAB = "jupyterlab"  # Colab has its own notebook interface


def package_floors(pyproject: Path = PYPROJECT) -> dict[str, str]:
    """Return the name and lowest version of each package that the lessons need, except JupyterLab."""
    described = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    floors = dict(line.split(">=") for line in described["project"]["dependencies"])
    return {name: floor for name, floor in floors.items() if name != LAB}


def missing_packages() -> list[str]:
    """Return the requirements, such as "captum>=0.8", of the packages that are not installed."""
    floors = package_floors().items()
    return [f"{name}>={floor}" for name, floor in floors if not any(distributions(name=name))]


def install(missing: list[str]) -> None:
    """Install packages, and keep every installed package at its version.

    Colab has its own torch, built for its GPUs. An upgrade would take minutes and might break it.

    Raises:
        ConfigError: If pip cannot install one, for example because an installed package is too old for it.
    """
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        lines = [f"{one.name}=={one.version}\n" for one in distributions() if one.name]
        held.write_text("".join(lines), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", *missing, "--constraint", str(held)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            "pip could not install packages that the course needs.",
            where=", ".join(missing),
            expected="a network, and versions that fit the installed packages",
            found=done.stderr.strip()[-800:] or f"pip exited with status {done.returncode}",
            do="Read pip's message; in Colab, try Runtime > Disconnect and delete runtime, and start again.",
        )
    names = [one.split(">=")[0] for one in missing]
    print(f"Installed: {', '.join(names)}. All other packages are unchanged.")
