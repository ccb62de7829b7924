"""Launching: run a function in several processes from a notebook.

Outside a notebook, use `torchrun` or `accelerate launch`: see `python -m course_utils train`.
"""

import io
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout

import torch

from course_utils.errors import ConfigError, TrainingError


def launch(function: Callable, *arguments: object, processes: int) -> None:
    """Run a function in several processes from a notebook, and wait until all have ended.

    This is accelerate's `notebook_launcher`, with a clear error. In Colab with fewer than two GPUs, it starts
    only one process. Each process computes with one thread.

    Args:
        function: It may be defined in the notebook. Its result is lost, so it should write files.
        arguments: The arguments with which each process calls it.
        processes: How many to start.

    Raises:
        ConfigError: On Windows.
        TrainingError: If a process fails or is killed. It names the first one.
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

    # Reset the state that an earlier `fit` of this notebook has left: each copy is a process of its own.
    AcceleratorState._reset_state(reset_partial_state=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given, before = (os.getpid(), sys.stdout, function, arguments), logging.root.manager.disable
    logging.disable(logging.ERROR)  # the launcher's own messages about GPUs and failures
    try:
        with redirect_stdout(io.StringIO()):
            notebook_launcher(_run_process, given, processes, use_port=port)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        reason = failure.message if isinstance(failure.message, str) else failure.message["message"]
        raise TrainingError(
            "A process ended before its work was done, so the others were stopped.",
            where=f"process {rank} of {processes}",
            expected="a process that runs to its end",
            found=f"the signal {failure.signal_name()}" if failure.exitcode < 0 else reason,
            do="Find out what ended it (SIGKILL often means that memory ran out), and run the cell again, "
            "with fewer processes if you like. Training goes on from the last checkpoint.",
        ) from error
    finally:
        logging.disable(before)


def _run_process(notebook: int, output: object, function: Callable, arguments: tuple) -> None:
    sys.stdout = output
    logging.disable(logging.NOTSET)
    if os.getpid() == notebook:  # the launcher has started no others
        function(*arguments)
        return
    os.environ["TQDM_DISABLE"] = "1"  # a forked process cannot show anything in the notebook
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # or accelerate warns that it was not set
    torch.set_num_threads(1)  # a forked process has lost its threads and must not wait for them
    try:
        function(*arguments)
    except RuntimeError:
        # Another process may have died. The launcher looks ten times a second, and should find that one
        # first.
        time.sleep(0.5)
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
