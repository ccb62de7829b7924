"""Run one notebook inside the sandbox: the job comes in as a line of JSON, outputs go out as lines of JSON.

It imports nothing of the course. What a test cell shows is not believed by itself, since the kernel is the
student's: a test counts as passed if the kernel says so, no error was shown, and a word that only this test
was given came back at its end.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output

PROOF_TYPE = "application/vnd.transfer-learning-course.proof+json"
# How many times as much as one cell a whole notebook may show.
ALL_CELLS = 5
# How long a kernel that was interrupted, or has answered, may take to say that it is idle.
IDLE_SECONDS = 15
# Runs before each test: names of built-in functions mean again what they do in Python.
RESTORE_BUILTINS = """
import builtins as _builtins
for _name in _builtins.dir(_builtins):
    if _name[0] != "_" and _name not in ("display", "exit", "get_ipython", "open", "quit"):
        if _builtins.callable(_builtins.globals().get(_name)):
            del _builtins.globals()[_name]
"""
IMPORTS_OF_CHECKS = re.compile(r"^from course_utils(?: import checks|\.checks import)[^(\n]*$", re.MULTILINE)


class _OutOfTimeError(Exception):
    """The time of the whole notebook is over."""


class Runner(NotebookClient):
    """The execution of one notebook, which tells after every cell what came of it."""

    def __init__(self, notebook: nbformat.NotebookNode, limits: dict):
        self.limits, self.deadline = limits, time.monotonic() + limits["seconds"]
        self.number, self.status, self.happened = 0, "graded", ""  # of the cell that runs
        self.shown, self.shown_in_all, self.killing, self.proof = 0, 0, None, ""
        super().__init__(
            notebook,
            allow_errors=True,
            timeout_func=lambda cell: max(
                1, int(min(limits["cell_seconds"], self.deadline - time.monotonic()))
            ),
            interrupt_on_timeout=True,
            error_on_timeout={"ename": "CellTimeoutError", "evalue": "", "traceback": []},
            iopub_timeout=max(4, min(IDLE_SECONDS, int(limits["cell_seconds"]))),
            raise_on_iopub_timeout=True,
            store_widget_state=False,
            record_timing=False,
            skip_cells_with_tag="",
            on_cell_start=self._start_cell,
            on_cell_execute=self._before_cell,
            on_cell_executed=self._after_cell,
        )

    def run(self) -> None:
        """Execute the notebook, and tell how it ended."""
        try:
            self.execute(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except DeadKernelError:
            self.stop("died", "the kernel died in cell {cell}")
        except CellTimeoutError:
            self.stop(
                "stopped",
                "cell {cell} did not end: it went on after an interrupt, or printed too much at once",
            )
        except _OutOfTimeError:
            pass
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self.stop("failed", f"the notebook could not be run: {text}")
        tell(status=self.status, happened=self.happened)

    def stop(self, status: str, happened: str) -> None:
        """Note why no more marks are to be had, or why one was lost; the first reason counts."""
        if self.status == "graded":
            self.status, self.happened = status, happened.replace("{cell}", str(self.number))

    async def _start_cell(self, cell, cell_index: int) -> None:
        self.number = cell_index + 1
        if time.monotonic() > self.deadline:
            self.stop("stopped", f"{self.limits['seconds']:.0f} s were over before cell {self.number}")
            raise _OutOfTimeError
        tell(cell=cell_index)

    async def _before_cell(self, cell, cell_index: int) -> None:
        """Give a test cell its word, after the names that it relies on were put back."""
        self.shown, self.proof = 0, ""
        if _nbgrader(cell).get("grade"):
            locked = [one.source for one in self.nb.cells[:cell_index] if _nbgrader(one).get("locked")]
            imports = IMPORTS_OF_CHECKS.findall("\n".join(locked))
            with contextlib.suppress(Exception):  # no answer in time, or one that no kernel would give
                code = "\n".join([*imports, RESTORE_BUILTINS])
                options = {"silent": True, "store_history": False, "reply": True, "timeout": IDLE_SECONDS}
                await self.kc.execute(code, **options)
            self.proof = secrets.token_hex(16)
            word = json.dumps({PROOF_TYPE: self.proof})
            cell.source += f"\n__import__('IPython').display.display({word}, raw=True)"

    async def _after_cell(self, cell, cell_index: int, execute_reply: dict) -> None:
        content = execute_reply["content"]
        if content.get("ename") == "CellTimeoutError" and not content["traceback"]:
            limit = f"{self.limits['cell_seconds']:.0f} s"
            self.stop("stopped", f"cell {self.number} was interrupted after {limit}")
        proofs = [out.data.pop(PROOF_TYPE, None) for out in cell.outputs if "data" in out]
        outputs = [out for out in cell.outputs if "data" not in out or out.data]
        if not any(out.output_type == "error" for out in outputs):
            if content.get("status") != "ok":
                outputs.append(_error(str(content.get("ename", "Error")), str(content.get("evalue", ""))))
            elif self.proof and self.proof not in proofs:
                outputs.append(_error("Unproved", "this test did not run to its end"))
        tell(cell=cell_index, outputs=outputs)

    def process_message(self, msg, cell, cell_index: int):
        """Take a kernel's message, unless the cell has shown too much already."""
        size, most = len(str(msg["content"])), self.limits["output"]
        self.shown, self.shown_in_all = self.shown + size, self.shown_in_all + size
        if self.shown > most or self.shown_in_all > ALL_CELLS * most:
            if self.killing is None:
                limit = (most if self.shown > most else ALL_CELLS * most) / 1e6
                self.stop("stopped", f"more than {limit:g} MB were printed, in cell {{cell}}")
                self.killing = asyncio.ensure_future(self.km.signal_kernel(9 if os.name == "posix" else 15))
            return None
        try:
            return super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            raise
        except Exception:  # a message that no kernel would send
            return None

    def handle_comm_msg(self, outs, msg, cell_index: int) -> None:
        """Widgets are not shown in feedback, and what is sent to them is not kept."""


def _nbgrader(cell) -> dict:
    return cell.metadata.get("nbgrader", {}) if cell.cell_type == "code" else {}


def _error(name: str, value: str) -> nbformat.NotebookNode:
    return new_output("error", ename=name, evalue=value, traceback=[f"{name}: {value}"])


def tell(**message) -> None:
    """Write one line of JSON, which the grader reads."""
    print(json.dumps(message), flush=True)


def hold_to(process_limits: dict) -> None:
    """Hold this process, and all that it starts, to limits, by the names of `resource` without RLIMIT_."""
    with contextlib.suppress(ImportError):  # Windows has none
        import resource

        for name, value in process_limits.items():
            kind = getattr(resource, f"RLIMIT_{name}", None)
            if kind is not None:
                hard = resource.getrlimit(kind)[1]
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                with contextlib.suppress(OSError, ValueError):  # macOS takes some only in part
                    resource.setrlimit(kind, (value, value))


def main() -> None:
    """Run the job on standard input, whose end says that nobody is left to run for."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    for name, content in job["files"].items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content, encoding="utf-8")
    work = Path(job["work"])
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    hold_to(job["process_limits"])
    Runner(nbformat.from_dict(job["notebook"]), job["limits"]).run()
    os._exit(0)


if __name__ == "__main__":
    main()
