"""Launching: several processes of a function, started from a notebook.

Outside a notebook this is the work of `torchrun` or `accelerate launch`: see `python -m course_utils train`.
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
    """Start processes of a function from a notebook, and wait until all have ended.

    This is accelerate's `notebook_launcher`, with a clear error. In Colab, where there are fewer than
    two GPUs, it starts one process only. Each process computes with one thread.

    Args:
        function: It may be defined in the notebook. Its result is lost: let it write files.
        arguments: What each process calls it with.
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

    # What an earlier `fit` of this notebook has left: the copies are to be processes of their own.
    AcceleratorState._reset_state(reset_partial_state=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given, before = (os.getpid(), sys.stdout, function, arguments), logging.root.manager.disable
    logging.disable(logging.ERROR)  # the launcher's own words about graphics cards and failures
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
    if os.getpid() == notebook:  # it was not worth while to start others
        function(*arguments)
        return
    os.environ["TQDM_DISABLE"] = "1"  # the copy of a notebook cannot show anything in it
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # or accelerate warns that it was not set
    torch.set_num_threads(1)  # a copy of a process has lost its threads and must not wait for them
    try:
        function(*arguments)
    except RuntimeError:
        # Perhaps another process has died. The launcher looks ten times a second, and is to find that first.
        time.sleep(0.5)
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
