"""Execute one submission's notebook in a kernel that is shut in, and note after every cell how far it came.

Run by `watch` as a process of its own, `python executor.py JOB`; it imports nothing of the course. What
a test cell shows is not believed by itself, since the kernel is the student's: a test counts as passed if the
kernel says so, no error was shown, and a word that only this test was given came back at its end.
"""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output

PROOF_TYPE = "application/vnd.transfer-learning-course.proof+json"
START_SECONDS = 60
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


class _OnlySpec(KernelSpecManager):
    """The one kernel of a job, which is shut in."""

    def __init__(self, job: dict):
        super().__init__()
        self.job = job

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(argv=self.job["command"], interrupt_mode=self.job["interrupt_mode"])


class Run(NotebookClient):
    """The execution of one notebook within the limits of a job, which `sandbox` wrote."""

    def __init__(self, job: dict):
        self.job = job
        self.deadline = time.monotonic() + job["seconds"]
        self.state = {"cell": None, "stopped": None, "status": "graded", "done": False}
        self.shown, self.shown_in_all, self.killing, self.proof, self.source = 0, 0, None, "", ""
        super().__init__(
            nbformat.read(job["notebook"], as_version=4),
            km=self._kernel_manager(),
            allow_errors=True,
            timeout_func=self._seconds_left,
            interrupt_on_timeout=True,
            error_on_timeout={"ename": "CellTimeoutError", "evalue": "", "traceback": []},
            iopub_timeout=max(4, min(IDLE_SECONDS, int(job["cell_seconds"]))),
            raise_on_iopub_timeout=True,
            startup_timeout=START_SECONDS,
            store_widget_state=False,
            record_timing=False,
            skip_cells_with_tag="",
            on_cell_start=self._start_cell,
            on_cell_execute=self._before_cell,
            on_cell_complete=self._cell_was_sent,
            on_cell_executed=self._after_cell,
        )

    def _kernel_manager(self) -> AsyncKernelManager:
        own = Path(self.job["own"])
        # Sockets that are files are found from another network namespace; Windows has none.
        place = {"transport": "ipc", "ip": str(own / "k")} if os.name == "posix" else {}
        manager = AsyncKernelManager(
            kernel_name="shut-in",
            kernel_spec_manager=_OnlySpec(self.job),
            connection_file=str(own / "kernel.json"),
            **place,
        )
        manager.write_connection_file()
        if self.job["user"] is not None:
            os.chown(own / "kernel.json", self.job["user"], self.job["user"])
        return manager

    def run(self) -> None:
        """Execute the notebook and write down how it ended."""
        try:
            self.execute(
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=str(Path(self.job["own"]) / "work"),
                env=self.job["environment"],
                preexec_fn=self._limit if os.name == "posix" else None,
            )
        except DeadKernelError:
            if self.state["status"] == "graded":
                self.stop("died", f"the kernel died in cell {self.state['cell']}")
        except CellTimeoutError:
            problem = "did not end: it went on after an interrupt, or printed too much at once"
            self.stop("stopped", f"cell {self.state['cell']} {problem}")
        except _OutOfTimeError:
            pass
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self.stop("failed", f"the notebook could not be run: {text}")
        self.state["done"] = True
        self.write_state()

    def _limit(self) -> None:
        """Hold this process, which becomes the kernel, to its limits, and all that it starts."""
        import resource

        for name, value in self.job["process_limits"].items():
            kind = getattr(resource, f"RLIMIT_{name}", None)
            if kind is not None:
                hard = resource.getrlimit(kind)[1]
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(kind, (value, value))

    def stop(self, status: str, reason: str) -> None:
        """Note why no more marks are to be had, or why one was lost; the first reason counts."""
        if self.state["status"] == "graded":
            self.state["status"], self.state["stopped"] = status, reason

    def write_state(self) -> None:
        """Put the notebook so far where `sandbox` finds it, whatever happens next."""
        part = Path(self.job["state"] + ".part")
        part.write_text(json.dumps({**self.state, "notebook": self.nb}), encoding="utf-8")
        os.replace(part, self.job["state"])

    def _seconds_left(self, cell) -> int:
        return max(1, int(min(self.job["cell_seconds"], self.deadline - time.monotonic())))

    async def _start_cell(self, cell, cell_index: int) -> None:
        self.state["cell"] = cell_index + 1
        if time.monotonic() > self.deadline:
            self.stop("stopped", f"{self.job['seconds']:.0f} s were over before cell {cell_index + 1}")
            raise _OutOfTimeError
        self.write_state()

    async def _before_cell(self, cell, cell_index: int) -> None:
        """Give a test cell its word, after the names that it relies on were put back."""
        self.shown, self.proof = 0, ""
        self.source = cell.source
        if _nbgrader(cell).get("grade"):
            locked = [one.source for one in self.nb.cells[:cell_index] if _nbgrader(one).get("locked")]
            imports = IMPORTS_OF_CHECKS.findall("\n".join(locked))
            await self._run_silently("\n".join([*imports, RESTORE_BUILTINS]))
            self.proof = secrets.token_hex(16)
            word = json.dumps({PROOF_TYPE: self.proof})
            cell.source += f"\n__import__('IPython').display.display({word}, raw=True)"

    async def _cell_was_sent(self, cell, cell_index: int) -> None:
        cell.source = self.source

    async def _after_cell(self, cell, cell_index: int, execute_reply: dict) -> None:
        content = execute_reply["content"]
        cell.execution_count = self.code_cells_executed
        if content.get("ename") == "CellTimeoutError" and not content["traceback"]:
            limit = f"{self.job['cell_seconds']:.0f} s"
            self.stop("stopped", f"cell {cell_index + 1} was interrupted after {limit}")
        proofs = [out.data.pop(PROOF_TYPE, None) for out in cell.outputs if "data" in out]
        cell.outputs = [out for out in cell.outputs if "data" not in out or out.data]
        if any(out.output_type == "error" for out in cell.outputs):
            return
        if content.get("status") != "ok":
            name, value = str(content.get("ename", "Error")), str(content.get("evalue", ""))
            cell.outputs.append(new_output("error", ename=name, evalue=value, traceback=[f"{name}: {value}"]))
        elif self.proof and self.proof not in proofs:
            problem = "this test did not run to its end"
            cell.outputs.append(new_output("error", ename="Unproved", evalue=problem, traceback=[problem]))

    async def _run_silently(self, code: str) -> None:
        with suppress(Exception):  # no answer in time, or one that no kernel would give
            await self.kc.execute(code, silent=True, store_history=False, reply=True, timeout=IDLE_SECONDS)

    def process_message(self, msg, cell, cell_index: int):
        """Take a kernel's message, unless the cell has shown too much already."""
        size, most = len(str(msg["content"])), self.job["output"]
        self.shown, self.shown_in_all = self.shown + size, self.shown_in_all + size
        if self.shown > most or self.shown_in_all > ALL_CELLS * most:
            if self.killing is None:
                limit = (most if self.shown > most else ALL_CELLS * most) / 1e6
                self.stop("stopped", f"more than {limit:g} MB were printed, in cell {cell_index + 1}")
                self.killing = asyncio.ensure_future(self.km.signal_kernel(9 if os.name == "posix" else 15))
            return None
        try:
            return super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            raise
        except Exception:  # a message that no kernel would send
            return None
        finally:
            cell.execution_count = None  # a cell has run when it has ended, not when the kernel says so

    def handle_comm_msg(self, outs, msg, cell_index: int) -> None:
        """Widgets are not shown in feedback, and what is sent to them is not kept."""


class _OutOfTimeError(Exception):
    """The time of the whole notebook is over."""


def _nbgrader(cell) -> dict:
    return cell.metadata.get("nbgrader", {}) if cell.cell_type == "code" else {}


def main(job_file: str) -> None:
    """Run the job that a JSON file describes."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    # Standard input ends when `watch` does: then there is nobody left to run for.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    Run(job).run()


if __name__ == "__main__":
    main(sys.argv[1])
