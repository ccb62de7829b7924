"""Packages that the lessons need: their names, installed where they are missing, and wheels of them.

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
LAB = {"jupyterlab", "papermill"}  # Colab has its own in their place
BUILDS = "70.1"  # the first setuptools that builds the course's package by itself, without `wheel`


def package_floors(pyproject: str | None = None) -> dict[str, str]:
    """Return the names and the lowest versions of the packages that the lessons need, in Colab too.

    Args:
        pyproject: The text of a pyproject.toml; None for the course's own.
    """
    floors = dict(line.split(">=") for line in _dependencies(pyproject))
    return {name: floor for name, floor in floors.items() if name not in LAB}


def _dependencies(pyproject: str | None = None) -> list[str]:
    text = PYPROJECT.read_text(encoding="utf-8") if pyproject is None else pyproject
    return tomllib.loads(text)["project"]["dependencies"]


def missing_packages(pyproject: str | None = None) -> list[str]:
    """Return the requirements of the lessons, such as "captum>=0.8", whose packages this Python lacks."""
    floors = package_floors(pyproject).items()
    return [f"{name}>={floor}" for name, floor in floors if not any(distributions(name=name))]


def install(missing: list[str]) -> None:
    """Install packages, with every one that is here held at its version.

    Colab brings its own torch, made for its own graphics cards: an upgrade would cost minutes, and may break
    it.

    Raises:
        ConfigError: If pip cannot install one, for example because something here is too old for it.
    """
    do = "Read what pip says; in Colab, try Runtime > Disconnect and delete runtime, and begin again."
    _pip(["install", "--quiet", *missing], {one.name: one.version for one in distributions() if one.name}, do)
    names = [one.split(">=")[0] for one in missing]
    print(f"Installed: {', '.join(names)}. Everything else is as it was.")


def fill_wheelhouse(folder: Path) -> Path:
    """Fill a folder with wheels of all packages that students need, in the versions installed here.

    Whoever installs from it needs no network: what has only a source archive is built to a wheel now. They
    come from where pip's own settings lead; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu gets the
    torch without CUDA on Linux.

    Args:
        folder: It is made if it is missing. The wheels are for this operating system and version of Python.

    Returns:
        The folder.

    Raises:
        ConfigError: If pip cannot get or build one.
    """
    held = {one.name: one.version.split("+")[0] for one in distributions() if one.name}
    for own in ("setuptools", "course-utils"):  # a setuptools that builds the course may have to be newer
        held.pop(own, None)
    command = ["wheel", "--quiet", "--wheel-dir", str(folder), f"setuptools>={BUILDS}", *_dependencies()]
    _pip(command, held, "Read what pip says, and try again with a network.")
    return folder


def _pip(arguments: list[str], held: dict[str, str], do: str) -> None:
    """Run pip, with these packages in these versions alone."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "held.txt"
        lines = [f"{name}=={version}\n" for name, version in held.items()]
        constraints.write_text("".join(lines), encoding="utf-8")
        command = [sys.executable, "-m", "pip", *arguments, "--constraint", str(constraints)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            "pip could not get packages that the course needs.",
            where=", ".join(name for name in arguments if ">=" in name),
            expected="a network, and versions that go with what is here",
            found=done.stderr.strip()[-800:] or f"pip ended with {done.returncode}",
            do=do,
        )
