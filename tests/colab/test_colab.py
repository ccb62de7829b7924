"""Every lesson runs by itself in what can be had of Colab: its packages, its old IPython, and nothing else.

    make test-colab

makes an environment in build/colab with the versions of image.txt, and a stand-in for `google.colab`. Each
lesson is opened as Colab opens it, a notebook alone in a folder; its first cell clones the course from a
repository on this machine. Set COLAB_PYTHON to choose a Python, else a 3.12 is taken, or this one. On 3.13,
numpy and pandas are one version newer, since only then there are wheels.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from local_remote import commit, copy_course, where_git_finds_it
from nbclient import NotebookClient

from course_teaching.address import set_repository
from course_utils.settings import REPOSITORY_FOLDER

IMAGE = Path(__file__).with_name("image.txt")
PLACE = REPOSITORY_FOLDER / "build" / "colab"
OTHER = shutil.which("python3.12")
if OTHER and subprocess.run([OTHER, "--version"], capture_output=True).returncode:
    OTHER = None  # a name that version managers leave for a Python that is not switched on
PYTHON = os.environ.get("COLAB_PYTHON") or OTHER or sys.executable
NAME = "jane/course"
LESSONS = sorted((REPOSITORY_FOLDER / "notebooks").glob("*.ipynb"))


def versions(python):
    """Return what is installed: {name in lower case: version}."""
    command = [python, "-m", "pip", "list", "--format", "json"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    return {one["name"].lower(): one["version"] for one in json.loads(listed.stdout)}


@pytest.fixture(scope="session")
def colab(tmp_path_factory):
    """The Python of an environment as Colab has it, its kernels' environment variables, and a GitHub."""
    shutil.rmtree(PLACE, ignore_errors=True)
    subprocess.run([PYTHON, "-m", "venv", PLACE], check=True)
    python = str(PLACE / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", IMAGE], check=True)
    (stand_in,) = (PLACE / "lib").glob("python*/site-packages")
    (stand_in / "google" / "colab").mkdir(parents=True)
    (stand_in / "google" / "colab" / "__init__.py").write_text('"""A stand-in."""\n')
    # Colab's kernels have imported it before the first cell runs.
    startup = tmp_path_factory.mktemp("ipython") / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-colab.py").write_text("import google.colab\n")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("COURSE_", "PYTHON"))}
    github = tmp_path_factory.mktemp("github")
    set_repository(NAME, copy_course(github / NAME))
    commit(github / NAME)
    own |= where_git_finds_it(github) | {"IPYTHONDIR": str(startup.parents[1])}
    return python, own, github


def run_in_colab(path, folder, colab):
    """Run a notebook with Colab's kernel in a folder, and return it."""
    python, own, _ = colab
    kernel = folder / ".kernels" / "colab"
    kernel.mkdir(parents=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "", "language": "python"}))
    found = KernelSpecManager(kernel_dirs=[str(kernel.parent)], ensure_native_kernel=False)
    manager = AsyncKernelManager(kernel_name="colab", kernel_spec_manager=found)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, km=manager, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env=own)
    return notebook


@pytest.mark.parametrize("lesson", LESSONS, ids=[path.stem for path in LESSONS])
def test_lesson_runs_by_itself_in_colab(lesson, colab, tmp_path):
    before = versions(colab[0])
    # The notebook as it stands in the repository, with its address, alone in an empty folder.
    published = colab[2] / NAME / "notebooks" / lesson.name
    executed = run_in_colab(published, tmp_path, colab)
    after = versions(colab[0])
    assert {name: after[name] for name in before} == before, "Colab's own packages were changed"
    first, *rest = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert "REPOSITORY" in first.source
    told = "".join(output.get("text", "") for output in first.outputs)
    assert ("Installed:" in told) == (set(after) != set(before))
    assert (tmp_path / "course" / "course_utils").is_dir()
    assert all(cell.execution_count for cell in rest)
    print(f"{lesson.stem}: {told.strip() or 'nothing was missing'}; {len(rest) + 1} cells ran")


def test_it_is_colab_s_old_ipython(colab):
    found = versions(colab[0])
    assert found["ipython"] == "7.34.0" and found["ipywidgets"] == "7.7.1"
    assert "course-utils" not in found
