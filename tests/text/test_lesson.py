"""Lessons 10 and 13 as a whole: `quick` needs no network, and its stored table shows what the text says."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from course_utils.evaluation.comparison import aggregate_runs
from course_utils.settings import REPOSITORY_FOLDER
from course_utils.teaching.lessons import lesson_notebooks

pytest.importorskip("transformers", reason="lesson 10 is not installed: pip install -e '.[text]'")

RESULTS = REPOSITORY_FOLDER / "benchmarks" / "results"

# Runs the code cells of a notebook in a plain Python: a kernel would need sockets for itself. Sockets are
# counted rather than only refused, since a library may go on without the network that it has asked for.
WITHOUT_SOCKETS = """
import json, sys

opened = []


def refuse(event, arguments):
    if event in ("socket.__new__", "socket.getaddrinfo", "socket.connect"):
        opened.append(event)
        raise OSError(f"{event}: there is no network in this test")


sys.addaudithook(refuse)
namespace = {"__name__": "__main__"}
try:
    for source in json.loads(sys.stdin.read()):
        exec(compile(source, "cell", "exec"), namespace)
finally:
    print("sockets:", opened)
"""


def run_without_sockets(sources: list[str], folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_SOCKETS]
    return subprocess.run(
        command, cwd=folder, input=json.dumps(sources), capture_output=True, text=True, timeout=1200
    )


@pytest.mark.kernels
@pytest.mark.parametrize("lesson", ["10", "13"])
def test_the_quick_lesson_opens_no_socket(lesson, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)  # it must not need them
    (path,) = lesson_notebooks([lesson])
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    sources = [cell.source for cell in cells]
    (place,) = (place for place, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    sources[place] += "\nimages_per_class, epochs = 20, 1"  # whichever, it opens the same files
    done = run_without_sockets(sources, path.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "sockets: []"


def test_a_socket_would_be_seen_also_where_its_error_is_swallowed(tmp_path):
    swallowed = "import socket\ntry: socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass"
    done = run_without_sockets([swallowed], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] != "sockets: []"


@pytest.mark.parametrize("domain", ["films", "products"])
def test_the_stored_grid_shows_that_transfer_pays_with_a_hundred_texts_of_each_class(domain):
    grid = pd.read_csv(RESULTS / "text_grid.csv", comment="#", dtype={"asked": str, "right": str})
    grid = grid[grid.dataset == domain]
    assert all(len(right) == 400 for right in grid.right)
    shares = [right.count("1") / 400 for right in grid.right]
    assert shares == pytest.approx(grid.test_accuracy.tolist(), abs=1e-4)
    table = aggregate_runs(grid[grid.asked == "100"]).set_index("start")
    frozen, scratch = table.loc["frozen"], table.loc["from scratch"]
    assert frozen.seeds >= 3 and scratch.seeds >= 3
    assert frozen.low > scratch.high
