"""Launching: several processes of a function, started from a notebook.

Outside a notebook this is the work of `torchrun` or `accelerate launch`: see `python -m course_utils train`.
"""

import io
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from course_utils import errors
from course_utils.errors import ConfigError, CourseError, TrainingError


def launch(function: Callable, *arguments: object, processes: int) -> None:
    """Start processes of a function from a notebook, and wait until all have ended.

    This is accelerate's `notebook_launcher`, with the course's errors. In Colab, where there are fewer than
    two GPUs, it starts one process only. Each process computes with one thread.

    Args:
        function: It may be defined in the notebook. Its result is lost: let it write files.
        arguments: What each process calls it with.
        processes: How many to start.

    Raises:
        ConfigError: On Windows.
        CourseError: What the first process to fail raised. If one was killed, a TrainingError that names it.
    """
    if not hasattr(os, "fork"):
        raise ConfigError(
            "Several processes cannot be started from a notebook on this system.",
            where=sys.platform,
            expected="a system with os.fork: Linux or macOS",
            found="a system without it",
            do="Start them from the command line: torchrun --nproc-per-node 2 -m course_utils train",
        )
    from accelerate import notebook_launcher
    from accelerate.state import AcceleratorState
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # What an earlier `fit` of this notebook has left: the copies are to be processes of their own.
    AcceleratorState._reset_state(reset_partial_state=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with TemporaryDirectory() as folder:
        output, before = sys.stdout, logging.root.manager.disable
        logging.disable(logging.ERROR)  # the launcher's own words about graphics cards and failures
        try:
            with redirect_stdout(io.StringIO()):
                given = (os.getpid(), output, Path(folder), function, arguments)
                notebook_launcher(_run_process, given, processes, use_port=port)
        except ChildFailedError as error:
            raise _first_error(error, Path(folder), processes) from error
        finally:
            logging.disable(before)


def _run_process(notebook: int, output: object, folder: Path, function: Callable, arguments: tuple) -> None:
    sys.stdout = output
    logging.disable(logging.NOTSET)
    if os.getpid() == notebook:  # it was not worth while to start others
        function(*arguments)
        return
    os.environ["TQDM_DISABLE"] = "1"  # the copy of a notebook cannot show anything in it
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # or accelerate warns that it was not set
    torch.set_num_threads(1)  # a copy of a process has lost its threads and must not wait for them
    try:
        function(*arguments)
    except CourseError as error:
        rank = os.environ["RANK"]
        if not error.where.startswith("process "):
            error = error.within(f"process {rank} of {os.environ['WORLD_SIZE']}")
        # Written first and then renamed, so that no reader sees half of it.
        part = folder / f".{rank}"
        parts = {name: getattr(error, name) for name in ("failed", "where", "expected", "found", "do")}
        part.write_text(json.dumps([type(error).__name__, parts]), encoding="utf-8")
        part.rename(folder / rank)
        # The launcher looks ten times a second. If another process was killed, it is to find that one first.
        time.sleep(0.5)
        raise SystemExit(1) from error
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _first_error(error: Exception, folder: Path, processes: int) -> CourseError:
    """Return the error of the process that failed first, or one that says how it ended."""
    rank, failure = error.get_first_failure()
    written = sorted(folder.glob("[0-9]*"), key=lambda path: path.stat().st_mtime_ns)
    if failure.exitcode >= 0 and written:
        kind, parts = json.loads(written[0].read_text(encoding="utf-8"))
        return getattr(errors, kind)(**parts)
    ended = f"the signal {failure.signal_name()}" if failure.exitcode < 0 else f"exit code {failure.exitcode}"
    return TrainingError(
        "A process ended before its work was done, so the others were stopped.",
        where=f"process {rank} of {processes}",
        expected="a process that runs to its end",
        found=ended,
        do="Find out what ended it (SIGKILL often means that memory ran out), and run the cell again, with "
        "fewer processes if you like. Training goes on from the last checkpoint.",
    )
