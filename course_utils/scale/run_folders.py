"""Folders of runs, under `runs/` in the course's folder."""

import re
import secrets
from datetime import datetime
from pathlib import Path

from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER


def new_output_folder(kind: str) -> Path:
    """Return a new folder under `runs/`, named by the time, the kind of run, and eight random digits."""
    return run_folder(f"{datetime.now():%Y-%m-%d_%H%M%S}_{kind}_{secrets.token_hex(4)}")


def run_folder(name: str) -> Path:
    """Return the absolute path of the folder of a run under `runs/`.

    Raises:
        ConfigError: If the name could lead anywhere else.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or set(name) == {"."} or len(name) > 200:
        raise ConfigError(
            "A run cannot have this name.",
            where="name",
            expected="letters from A to Z, digits, dots, _ and -, at most 200, so that it stays inside runs/",
            found=repr(name),
            do="Choose a name such as first-try; to write elsewhere, give the folder with --output.",
        )
    return REPOSITORY_FOLDER / "runs" / name
