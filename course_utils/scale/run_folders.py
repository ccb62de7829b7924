"""Folders of runs, under `runs/` in the course's folder."""

import secrets
from datetime import datetime
from pathlib import Path

from course_utils.settings import REPOSITORY_FOLDER


def new_output_folder(kind: str) -> Path:
    """Return a new folder under `runs/`, named by the time, the kind of run, and eight random digits."""
    name = f"{datetime.now():%Y-%m-%d_%H%M%S}_{kind}_{secrets.token_hex(4)}"
    return REPOSITORY_FOLDER / "runs" / name
