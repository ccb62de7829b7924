"""The part of the course that students get, and a repository of it.

It is what is committed, as `git archive` gives it, without solutions, tests and whatever else is for those
who teach.
"""

import io
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from course_teaching.address import check_address, check_ref, set_repository
from course_utils.errors import ConfigError
from course_utils.files import make_folder
from course_utils.settings import REPOSITORY_FOLDER

FOR_TEACHERS = (
    *("course_teaching", "tests", "notebooks/exercises/solutions", "notebooks/conftest.py"),
    *("benchmarks/*.py", ".ci", ".github"),
    *("docs/index.md", "docs/_*", "docs/conf.py", "docs/api.md", "docs/exercises.md"),
    *("docs/contributing.md", "docs/grading.md", "docs/instructors.md", "docs/classroom.md"),
    *("docs/routes.md", "docs/routes", "docs/quizzes"),  # the quizzes have their answers in them
)
PARTS_FOR_TEACHERS = re.compile(
    r"<!-- teachers -->\n.*?<!-- /teachers -->\n+|^make (?:run|test) .*?\n", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()#\s]+)(?:#[^()\s]*)?\)")


def write_student_files(folder: Path, repository: str = "", ref: str = "") -> None:
    """Write what students get, of what is committed, into an empty folder.

    Args:
        folder: Where to. Links of its texts and notebooks to what is left out become plain words.
        repository: OWNER/NAME on GitHub, for the links to Colab and Binder. "": they stay as they are.
        ref: Where in the repository these links lead to. "": to its newest state.

    Raises:
        ConfigError: If git cannot give the files, or OWNER/NAME is none.
    """
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".").decode().splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:5]) + " ..." * (len(changed) > 5)
        print(f"Not committed, so taken as it was before: {names}", file=sys.stderr)
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", "HEAD"))) as archive:
        archive.extractall(folder, filter="data")
    if repository:
        # While the solutions are there: the exercises are made from them.
        set_repository(repository, folder, ref)
    before = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    for path in [path for pattern in FOR_TEACHERS for path in folder.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    left_out = {name for name in before if not (folder / name).exists()}
    for path in [*folder.rglob("*.md"), *folder.rglob("*.ipynb")]:
        at = path.parent.relative_to(folder).as_posix()

        def without_dead_end(link: re.Match, at: str = at) -> str:
            return link[1] if posixpath.normpath(posixpath.join(at, link[2])) in left_out else link[0]

        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            text = PARTS_FOR_TEACHERS.sub("", text)
        path.write_text(LINK.sub(without_dead_end, text), encoding="utf-8", newline="\n")


def students_repository(name: str, folder: str | Path, ref: str = "") -> Path:
    """Make a git repository for students, with one commit, to be pushed to an address of its own.

    A fork of the course has the solutions and the wrong answers of the tests in it, also in its history.

    Args:
        name: OWNER/NAME that it will have on GitHub: its links to Colab and Binder lead there.
        folder: Where to; a new or an empty folder.
        ref: A tag that the commit gets, and to which the links lead, so that a class stays on it.

    Returns:
        The folder.

    Raises:
        ConfigError: If there is something in the folder, OWNER/NAME or the ref is none, or git fails, for
            example because it does not know your name.
    """
    check_address(name)
    check_ref(ref)
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            "A students' repository cannot be made there.",
            where=folder,
            expected="a new or an empty folder",
            found="a folder that holds other things" if folder.is_dir() else "a file",
            do="Choose another folder.",
        )
    make_folder(folder, ConfigError)
    write_student_files(folder, name, ref)
    _git("init", "--quiet", "--initial-branch=main", folder=folder)
    _git("add", "--all", "--force", folder=folder)
    _git("commit", "--quiet", "--message", "The course, as students get it", folder=folder)
    if ref:
        _git("tag", ref, folder=folder)
    return folder


def _git(*arguments: str, folder: Path | None = None) -> bytes:
    """Return what a git command prints in a folder, by default the course's own."""
    folder = folder or REPOSITORY_FOLDER
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        output = getattr(error, "stderr", b"").decode(errors="replace") or str(error)
        raise ConfigError(
            "git could not do its part.",
            where=folder,
            expected=f"git, and `git {arguments[0]}` to work in this folder",
            found=" ".join(output.split())[:500],
            do="Read what git says. If this is not a repository, clone the course instead of copying it.",
        ) from error
