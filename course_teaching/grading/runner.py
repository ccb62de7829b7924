"""Run one notebook inside the sandbox: the job comes in as JSON, results go out as lines of JSON.

It imports nothing of the course. The kernel belongs to the student, so a test counts as passed only if no
error was shown, and a word that only this test received was shown at its end.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

PROOF_TYPE = "application/vnd.transfer-learning-course.proof+json"
# Runs before each test: it restores the names of built-in functions and of the checks.
RESTORE_BUILTINS = """
import builtins as _builtins
for _name in _builtins.dir(_builtins):
    if _name[0] != "_" and _name not in ("display", "exit", "get_ipython", "open", "quit"):
        if _builtins.callable(_builtins.globals().get(_name)):
            del _builtins.globals()[_name]
"""
IMPORTS_OF_CHECKS = re.compile(r"^from course_utils(?: import checks|\.checks import)[^(\n]*$", re.MULTILINE)


def run(notebook: nbformat.NotebookNode, seconds: float, cell_seconds: float) -> None:
    """Execute a notebook, and report each cell and the end; the first reason for lost marks counts."""
    end, number, happened = time.monotonic() + seconds, 0, []
    client = NotebookClient(
        notebook,
        allow_errors=True,
        timeout_func=lambda cell: int(max(1, min(cell_seconds, end - time.monotonic()))),
        interrupt_on_timeout=True,
        error_on_timeout={"ename": "Timeout", "evalue": "", "traceback": []},
        iopub_timeout=int(max(4, min(15, cell_seconds))),
        raise_on_iopub_timeout=True,
        store_widget_state=False,
        record_timing=False,
    )
    try:
        with client.setup_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            for number, cell in enumerate(notebook.cells, 1):
                if cell.cell_type != "code":
                    continue
                report(cell=number - 1)
                began, limit = time.monotonic(), client.timeout_func(cell)
                if began > end:
                    happened.append(("stopped", f"{seconds:.0f} s were over before cell {number}"))
                    break
                proof = _add_proof(cell, notebook.cells[: number - 1])
                client.execute_cell(cell, number - 1)
                if time.monotonic() - began >= limit:
                    happened.append(("stopped", f"cell {number} was interrupted after {cell_seconds:.0f} s"))
                report(cell=number - 1, outputs=_checked(cell.outputs, proof))
    except DeadKernelError:
        happened.append(("died", f"the kernel died in cell {number}"))
    except (CellTimeoutError, MemoryError):
        why = "it went on after an interrupt, or printed too much"
        happened.append(("stopped", f"cell {number} did not end: {why}"))
    except BaseException as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        happened.append(("died" if number else "failed", f"the notebook could not be run: {text}"))
    status, text = [*happened, ("graded", "")][0]
    report(status=status, happened=text)


def _add_proof(cell: nbformat.NotebookNode, before: list) -> str:
    """Let a test show a word at its end, and restore the names that it relies on; return the word."""
    if not cell.metadata.get("nbgrader", {}).get("grade"):
        return ""
    locked = [one.source for one in before if one.metadata.get("nbgrader", {}).get("locked")]
    imports = IMPORTS_OF_CHECKS.findall("\n".join(locked))
    proof = secrets.token_hex(16)
    show = f"__import__('IPython').display.display({json.dumps({PROOF_TYPE: proof})}, raw=True)"
    cell.source = "\n".join([RESTORE_BUILTINS, *imports, cell.source, show])
    return proof


def _checked(outputs: list, proof: str) -> list:
    """Return outputs without a test's word, and with an error if the word is missing."""
    found = [out.data.pop(PROOF_TYPE, None) for out in outputs if "data" in out]
    outputs = [out for out in outputs if "data" not in out or out.data]
    if proof and proof not in found and not any(out.output_type == "error" for out in outputs):
        why = "this test did not run to its end"
        outputs.append(nbformat.v4.new_output("error", ename="Unproved", evalue=why, traceback=[why]))
    return outputs


def report(**message) -> None:
    """Write one line of JSON for the grader."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    job = json.load(sys.stdin)
    for name, content in job["files"].items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content, encoding="utf-8")
    Path(job["work"]).mkdir(parents=True, exist_ok=True)
    os.chdir(job["work"])
    run(nbformat.from_dict(job["notebook"]), job["seconds"], job["cell_seconds"])
    os._exit(0)
