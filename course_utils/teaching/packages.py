"""Packages that the lessons need, and wheels of them for a classroom without a network."""

import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

# The part of requirements.txt that students need; what is below its next heading is for those who teach.
LESSONS = "# The lessons"
BUILDS = "70.1"  # the first setuptools that builds the course's package by itself, without `wheel`


def package_floors() -> dict[str, str]:
    """Return the names and the lowest versions of the packages that the lessons need."""
    text = (REPOSITORY_FOLDER / "requirements.txt").read_text(encoding="utf-8")
    lines = text.split(LESSONS)[1].split("\n#")[0].splitlines()
    return dict(line.split(">=") for line in lines if ">=" in line)


def fill_wheelhouse(folder: Path) -> Path:
    """Fill a folder with wheels of all packages of requirements.txt, in the versions installed here.

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
    lines = (REPOSITORY_FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    asked = [line for line in lines if line.strip() and not line.startswith(("#", "-"))]
    own = (
        "setuptools",
        "course-utils",
    )  # setuptools, which builds the course's own package, may be too old here
    here = {
        one.metadata["Name"]: one.version.split("+")[0] for one in distributions() if one.metadata["Name"]
    }
    _pip(
        ["wheel", "--quiet", "--wheel-dir", str(folder), f"setuptools>={BUILDS}", *asked],
        {name: found for name, found in here.items() if name not in own},
        "Read what pip says, and try again with a network.",
    )
    return folder


def _pip(arguments: list[str], here: dict[str, str], do: str) -> None:
    """Run pip, with these packages in these versions alone."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.txt"
        kept.write_text("".join(f"{name}=={found}\n" for name, found in here.items()), encoding="utf-8")
        command = [sys.executable, "-m", "pip", *arguments, "--constraint", str(kept)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            "pip could not get packages that the course needs.",
            where=", ".join(name for name in arguments if ">=" in name),
            expected="a network, and versions that go with what is here",
            found=done.stderr.strip()[-800:] or f"pip ended with {done.returncode}",
            do=do,
        )
