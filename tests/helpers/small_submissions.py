"""A small exercise in the course's format, and submissions to it: good, bad and hostile."""

import copy
import hashlib
import json
import textwrap
import zipfile

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from small_notebooks import KERNEL

from course_teaching.grading.answers import fill_in, read_cells

RIGHT = ("answer = 42", "def double(x):\n    return 2 * x")
STUB = "# YOUR CODE HERE"
TITLE = "Question 5 – Is it honest?"

SET_UP = "import math\nimport course_utils.errors"
TESTS = (
    """
    assert isinstance(answer, int), "answer is a whole number"
    ### BEGIN HIDDEN TESTS
    assert answer == 42, "answer is another number"
    ### END HIDDEN TESTS
    """,
    """
    assert double(3) == 6, "double(3) is 6"
    ### BEGIN HIDDEN TESTS
    assert all(double(x) == x + x for x in (-1, 0, 2.5)), "double fails on other numbers"
    ### END HIDDEN TESTS
    """,
)
POINTS = (2, 3)


def _cell(source, grade_id, **metadata):
    kinds = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    return new_code_cell(source, metadata={"nbgrader": {**kinds, "grade_id": grade_id, **metadata}})


def small_solution(set_up=SET_UP, tests=TESTS):
    """Return a solution notebook with two exercises, worth two points and three."""
    cells = [new_markdown_cell("# Small"), _cell(set_up, "lesson01-set-up", locked=True)]
    for number, (answer, test, points) in enumerate(zip(RIGHT, tests, POINTS, strict=True), 1):
        source = f"### BEGIN SOLUTION\n{answer}\n### END SOLUTION"
        cells.append(_cell(source, f"lesson01-answer-{number}", solution=True))
        graded = {"grade": True, "locked": True, "points": points}
        cells.append(_cell(textwrap.dedent(test).strip(), f"lesson01-test-{number}", **graded))
    return new_notebook(metadata=KERNEL, cells=cells)


def asking_solution():
    """Return the small exercise with a question for a person at its end."""
    solution = small_solution()
    kinds = {"grade": True, "solution": True, "locked": False, "task": False, "schema_version": 3}
    nbgrader = {**kinds, "grade_id": "lesson01-answer-5", "points": 3}
    solution.cells += [
        new_markdown_cell(f"## {TITLE} (marked by a person)\nSay *why*.", id="question"),
        new_markdown_cell("The model answer.", id="answer", metadata={"nbgrader": nbgrader}),
    ]
    return solution


def other_solution():
    """Return a second lesson that shares no cell with the first."""
    solution = small_solution(set_up="import os", tests=("assert answer", "assert double"))
    for number, cell in enumerate(solution.cells):
        cell["id"] = f"other-{number}"
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader["grade_id"] = cell.metadata.nbgrader["grade_id"].replace("01", "02")
    solution.cells[0].source = "# Other"
    return solution


def handed_in(*answers, solution=None):
    """Return the student's version with these answers; what is missing is left blank."""
    notebook = copy.deepcopy(solution or small_solution())
    left = list(answers)
    for cell in notebook.cells:
        nbgrader = cell.metadata.get("nbgrader", {})
        if nbgrader.get("solution"):
            cell.source = left.pop(0) if left else STUB
        cell.source = cell.source.split("\n### BEGIN HIDDEN TESTS")[0]
    return notebook


def filled_in(*answers):
    """Return the small exercise with answers as it is executed."""
    solution = small_solution()
    cells = read_cells(json.dumps(handed_in(*answers)).encode())
    return fill_in(solution, cells)[0]


def fingerprint(folder):
    """Return the names, modes, times and contents of everything in a folder, as one SHA-256."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest.update(f"{path.relative_to(folder)} {status.st_mode} {status.st_mtime_ns}".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def running(word, users=()):
    """Return the commands of running processes that have a word, or belong to one of these users."""
    left = []
    for process in psutil.process_iter(["cmdline", "status", "uids"]):
        command, uids = " ".join(process.info["cmdline"] or []), process.info["uids"]
        is_meant = word in command or (uids and uids.real in users)
        if is_meant and process.info["status"] != psutil.STATUS_ZOMBIE:
            left.append(command)
    return left


def hostile_answers(sentinel, port=9):
    """Return answers that do harm, each as what stands in for the second exercise's answer.

    Args:
        sentinel: A folder of the teacher's that some try to destroy.
        port: Of a server on this machine that one tries to reach.
    """
    codes = {
        "loops": "while True:\n    pass",
        "loops_on": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "asks_memory": "x = bytearray(10**12)",
        "eats_memory": "x = []\nwhile True:\n    x.append(bytearray(b'1') * 10**7)",
        "shares_memory": """
            import mmap
            x = []
            while True:
                x.append(mmap.mmap(-1, 10**7)); x[-1].write(b'1' * 10**7)
            """,
        "removes_files": f"""
            import os, shutil
            for name in os.listdir({str(sentinel)!r}):
                try: os.remove(os.path.join({str(sentinel)!r}, name))
                except OSError as error: print(error)
            shutil.rmtree({str(sentinel)!r}, ignore_errors=True)
            open(os.path.join({str(sentinel)!r}, 'mine'), 'w')
            """,
        "exits": "import os\nos._exit(0)",
        "exits_in_test": "import os\ndef double(x):\n    os._exit(0)",
        "prints": "while True:\n    print('again and again ' * 100)",
        "forks": "import os\nwhile True:\n    os.fork()",
        "leaves_process": """
            import os, time
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execlp('sleep', 'sleep', '98765')
                os._exit(0)
            time.sleep(0.5)
            def double(x): return 2 * x
            """,
        "fills_disk": """
            for number in range(10**6):
                with open(f'file-{number}', 'wb') as file: file.write(b'1' * 10**7)
            """,
        "hides_in_memfd": """
            import os, time
            files = [os.memfd_create('hidden') for _ in range(150)]
            for file in files: os.write(file, b'1' * 10**7)
            time.sleep(2)
            def double(x): return 2 * x
            """,
        "calls_out": f"""
            import socket
            socket.create_connection(('127.0.0.1', {port}), timeout=2).send(b'here')
            """,
    }
    codes = {name: textwrap.dedent(code).strip() for name, code in codes.items()}
    refused = [codes.pop(name) for name in ("asks_memory", "calls_out")]
    return {**codes, "is_refused": _in_turn(codes["removes_files"], *refused)}


def _in_turn(*codes):
    """Return an answer that tries all of these codes, and then tells what became of each."""
    return f"""\
told = []
for code in {codes!r}:
    try: exec(code)
    except Exception as error: told.append(getattr(error, 'strerror', None) or type(error).__name__)
raise RuntimeError(', '.join(told))"""


def cheating_answers(*solution_files):
    """Return answers that know nothing, and try to get points all the same; one tries to read these files."""
    read = """\
import json
for path in {!r}:
    try:
        for cell in json.load(open(path))['cells']:
            if '### BEGIN SOLUTION' in ''.join(cell['source']): exec(''.join(cell['source']))
    except OSError as error: print(error)"""
    codes = {
        "drops_source": "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass'])",
        "hides_errors": """
            get_ipython().showtraceback = lambda *a, **k: None
            get_ipython().set_custom_exc((Exception,), lambda *a, **k: [])
            """,
        "transforms_cells": """
            import re
            shell = get_ipython()
            shell.transform_cell = lambda cell: re.sub('(?m)^assert.*', 'pass', cell)
            """,
    }
    codes = {name: textwrap.dedent(code).strip() for name, code in codes.items()}
    return {**codes, "reads_solutions": read.format(tuple(map(str, solution_files)))}


def write_submission(folder, student, notebook, name="01_small.ipynb"):
    """Write a notebook, or a text that is none, into a student's folder."""
    (folder / student).mkdir(parents=True, exist_ok=True)
    text = notebook if isinstance(notebook, str) else json.dumps(notebook)
    (folder / student / name).write_text(text, encoding="utf-8")


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    """Write a zip file of pairs, or a dictionary, of names and contents; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in dict(members).items():
            archive.writestr(name, content)
    return path


def write_solution(folder, solution=None, name="01_small.ipynb"):
    """Write the solution notebook and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(solution or small_solution(), folder / name)
    return folder
