"""`make lab`: copy the lessons and exercises to my_course, and open the copies in JupyterLab."""

import os
from functools import partial
from pathlib import Path

import nbformat

from course_utils.errors import ConfigError
from course_utils.files import write_atomically
from course_utils.settings import REPOSITORY_FOLDER

COPIES = "my_course"  # beside notebooks/, so that relative links still work
UPLOAD_MB = 256  # for the upload button; tornado's limit of 10 MB would drop a photograph of 16 MB


def copy_notebooks(course: Path = REPOSITORY_FOLDER) -> list[Path]:
    """Copy the lessons, without their outputs, and the exercises to my_course; keep existing copies.

    Args:
        course: The folder of the course.

    Returns:
        The paths of the new copies.

    Raises:
        ConfigError: If there are no notebooks, or a copy cannot be written.
    """
    source, copies = course / "notebooks", course / COPIES
    found = sorted([*source.glob("[0-9]*.ipynb"), *source.glob("exercises/[0-9]*.ipynb")])
    if not found:
        raise ConfigError(
            "The folder has no lessons to open.",
            where=source,
            expected="the lessons of the course",
            found="no notebook",
            do="Clone or download the whole course, and run this in its folder after `pip install -e .`.",
        )
    new = {path: copies / path.relative_to(source) for path in found}
    new = {path: copy for path, copy in new.items() if not copy.exists()}
    for path, copy in new.items():
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        write_atomically(copy, partial(nbformat.write, notebook), ConfigError)
    return list(new.values())


def start_lab(options: list[str]) -> None:
    """Copy the notebooks that have no copy yet, and start JupyterLab; Ctrl-C stops it.

    Args:
        options: Further options for JupyterLab, such as --no-browser.
    """
    new = copy_notebooks()
    print(f"Your notebooks: {REPOSITORY_FOLDER / COPIES} ({len(new)} new; the others are unchanged)")
    from jupyterlab.labapp import LabApp  # a second to import

    os.environ["COURSE_UPLOAD_MB"] = str(UPLOAD_MB)  # kernels inherit it
    lab_options = [
        f"--ServerApp.root_dir={REPOSITORY_FOLDER}",
        f"--LabApp.default_url=/lab/tree/{COPIES}/00_start_here.ipynb",
        f"--ServerApp.tornado_settings={{'websocket_max_message_size': {UPLOAD_MB * 2**20}}}",
    ]
    LabApp.launch_instance([*lab_options, *options])
