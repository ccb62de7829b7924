"""The course's address on GitHub and the tag that a class stays on, and every place that repeats them."""

import re
import tomllib
from pathlib import Path

import nbformat

from course_teaching.exercises import students_version
from course_teaching.lessons import write_file
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

HOST = "https://github.com"
# What a link and a code cell can contain; GitHub and git allow less.
ADDRESS = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9._-]+")
REF_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ENTRIES = re.compile(r'^(repository|ref) = ".*"$', re.MULTILINE)
README_PART = re.compile(r"(<!-- address -->\n).*?(<!-- /address -->)", re.DOTALL)
OPEN_IT = "**Open it elsewhere:** "

# The first code cell of every notebook. In Colab the course is not there yet, so this cell cannot import it.
FIRST_CELL = """\
# @title Get the course (in Colab; elsewhere this cell only checks that it is installed)
import importlib.util
import runpy
import subprocess
import sys

REPOSITORY = "{repository}"  # OWNER/NAME on GitHub; `python -m course_teaching set-repository` writes it
REF = "{ref}"  # the tag that your class stays on; "": the newest

if importlib.util.find_spec("course_utils") is None:
    if "google.colab" not in sys.modules:
        raise ModuleNotFoundError(
            f"Expected a kernel with the course installed, got {{sys.executable}}. Try, in VS Code, "
            "Select Kernel > Python Environments > .venv. Or start JupyterLab from there: `make lab`."
        )
    if not REPOSITORY:
        raise RuntimeError("Expected OWNER/NAME of the course in REPOSITORY, got none. Try writing it above.")
    tag = ["--branch", REF] if REF else []
    clone = ["git", "clone", "--quiet", "--depth", "1", *tag, f"https://github.com/{{REPOSITORY}}", "course"]
    cloned = subprocess.run(clone, capture_output=True, text=True)
    if cloned.returncode and "already exists" not in cloned.stderr:
        raise RuntimeError(f"The course could not be cloned from {{clone[-2]}}: {{cloned.stderr}}")
    runpy.run_path("course/notebooks/colab.py", run_name="__main__")"""
# Its source is collapsed: in Colab, in JupyterLab, and on the site.
COLLAPSED = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["hide-input"]}


def repository(folder: Path = REPOSITORY_FOLDER) -> str:
    """Return OWNER/NAME of the course on GitHub; "" until it is set."""
    return _entries(folder)["repository"]


def repository_ref(folder: Path = REPOSITORY_FOLDER) -> str:
    """Return the tag that links and the cell for Colab lead to; "" for the newest state."""
    return _entries(folder)["ref"]


def _entries(folder: Path) -> dict[str, str]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course-utils"]


def set_repository(name: str, folder: Path = REPOSITORY_FOLDER, ref: str = "") -> list[Path]:
    """Write an address wherever the course repeats it: notebooks, README and pyproject.toml.

    Args:
        name: OWNER/NAME on GitHub, or "" to remove it.
        folder: The folder of the course.
        ref: Links lead to this tag or branch, and the cell for Colab clones it. "": the newest state.

    Returns:
        The paths of the files that have changed.

    Raises:
        ConfigError: If this is not a valid name of a repository or of a tag, or a file cannot be written.
    """
    for text, pattern, example in (
        (name, ADDRESS, "jane/transfer-learning-course"),
        (ref, REF_NAME, "v1.0.0"),
    ):
        if text and not pattern.fullmatch(text):
            raise ConfigError(
                "This cannot be the address of the course.",
                where=repr(text),
                expected=f"a name such as {example}",
                found="a name that cannot stand in a link",
                do="Copy it from the page of the repository, after github.com/.",
            )
    texts = {}
    for path in [*folder.glob("notebooks/*.ipynb"), *folder.glob("notebooks/exercises/solutions/*.ipynb")]:
        notebook = nbformat.read(path, as_version=4)
        # Even a solution's links lead to the student's version.
        student = path.parents[1] / path.name if path.parent.name == "solutions" else path
        write_address(notebook, name, student.relative_to(folder).as_posix(), ref)
        texts[path] = nbformat.writes(notebook) + "\n"
        if student != path:
            texts[student] = nbformat.writes(students_version(notebook)) + "\n"
    path = folder / "pyproject.toml"
    entries = {"repository": name, "ref": ref}
    texts[path] = ENTRIES.sub(lambda entry: f'{entry[1]} = "{entries[entry[1]]}"', path.read_text("utf-8"))
    path = folder / "README.md"
    texts[path] = README_PART.sub(rf"\1{readme_part(name, ref)}\n\2", path.read_text("utf-8"))
    changed = [path for path, text in texts.items() if text != path.read_text(encoding="utf-8")]
    for path in changed:
        write_file(path, texts[path], ConfigError)
    return sorted(changed)


def write_address(notebook: nbformat.NotebookNode, name: str, path: str, ref: str) -> None:
    """Write an address into a notebook's first text and its cell for Colab, in place."""
    first, second = notebook.cells[:2]
    parts = [part for part in first.source.split("\n\n") if not part.startswith(OPEN_IT)]
    # The links stand before a lesson's last line, "Know first"; in an exercise they stand at the end.
    place = next((n for n, part in enumerate(parts) if part.startswith("**Know first:**")), len(parts))
    links = [OPEN_IT + launch_links(name, path, ref)] if name else []
    first.source = "\n\n".join([*parts[:place], *links, *parts[place:]])
    if second.get("id") == "get-the-course":
        second.source = FIRST_CELL.format(repository=name, ref=ref)
        second.metadata.update(COLLAPSED)


def launch_links(name: str, path: str, ref: str = "") -> str:
    """Return the links that open a notebook in Colab and Binder."""
    at = ref or "HEAD"
    colab = f"https://colab.research.google.com/github/{name}/blob/{at}/{path}"
    return f"[Colab]({colab}) · [Binder](https://mybinder.org/v2/gh/{name}/{at}?urlpath=lab/tree/{path})"


def readme_part(name: str, ref: str = "") -> str:
    """Return the README's lines on where the course is; "" without an address."""
    if not name:
        return ""
    owner, folder = name.split("/")
    page = f"[Try it](https://{owner}.github.io/{folder}/docs/try.html)"
    links = f"{page} · {launch_links(name, 'notebooks/00_start_here.ipynb', ref)}"
    clone = f"git clone {f'--branch {ref} ' * bool(ref)}{HOST}/{name}\ncd {folder}"
    return f"```\n{clone}\n```\n\nOr in a browser, without installing anything: {links}"
