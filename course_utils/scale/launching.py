"""How are several processes started from a notebook, and what is told when one of them fails?

Outside a notebook this is the work of `torchrun` or `accelerate launch`: see `python -m course_utils train`.
"""

import io
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from course_utils import errors
from course_utils.data import leave, named, number
from course_utils.errors import ConfigError, CourseError, TrainingError


def launch(function: Callable, *arguments: object, processes: int) -> None:
    """Start processes of a function from a notebook, and wait until all have ended.

    This is accelerate's `notebook_launcher`, with messages. In Colab, where there are fewer than two graphics
    cards, it starts one process only. Where there is no graphics card, each process computes with one thread.

    Args:
        function: It may be defined in the notebook. What it returns is lost: let it write files.
        arguments: What each process calls it with.
        processes: How many to start.

    Raises:
        ConfigError: If accelerate is not installed, or on Windows.
        CourseError: What the first process to fail raised. If one was killed, a TrainingError that names it.
    """
    if not hasattr(os, "fork"):
        raise ConfigError(
            "Several processes cannot be started from here.",
            where=sys.platform,
            expected="a system on which a running notebook can be copied",
            found="one on which it cannot",
            do="Start them from the command line: torchrun --nproc-per-node 2 -m course_utils train",
        )
    try:
        from accelerate import notebook_launcher
    except ImportError as error:
        raise ConfigError(
            "Several processes cannot be started from here.",
            where="accelerate",
            expected="the package accelerate",
            found=str(error),
            do='Install it: pip install "accelerate>=1.0".',
        ) from error
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    with TemporaryDirectory() as folder:
        given = (os.getpid(), folder, function, arguments)
        try:
            with _silent():
                notebook_launcher(_as_one_of_several, given, processes, use_port=str(_free_port()))
        except ChildFailedError as error:
            raise _why(error, Path(folder), processes) from error


_stdout = sys.stdout


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the launcher from telling of graphics cards that are not there, and of failures in its words."""
    global _stdout
    _stdout = sys.stdout
    logging.disable(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _as_one_of_several(notebook: int, folder: str, function: Callable, arguments: tuple) -> None:
    sys.stdout = _stdout  # what the function says is wanted
    logging.disable(logging.NOTSET)
    if os.getpid() == notebook:  # it was not worth while to start others
        function(*arguments)
        return
    os.environ["TQDM_DISABLE"] = "1"  # the copy of a notebook cannot show anything in it
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # a copy of a process has lost its threads, and must not wait for them
    try:
        function(*arguments)
    except CourseError as error:
        # Written first and then named, so that it is never read half.
        written = Path(folder) / f".{number()}"
        told = named(error)
        kind, said = type(told).__name__, (told.failed, told.where, told.expected, told.found, told.do)
        written.write_text(json.dumps([kind, *said]), encoding="utf-8")
        written.rename(Path(folder) / str(number()))
        # The launcher looks ten times a second. If another process was killed, it is to find that one first.
        time.sleep(0.5)
        raise SystemExit(1) from error
    finally:
        leave()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def _why(error: Exception, folder: Path, processes: int) -> CourseError:
    """Return the error that a process left behind, or one that says how it ended."""
    place, failure = error.get_first_failure()
    # The first to fail: the others only say that it is gone.
    left = [path for path in folder.iterdir() if path.name.isdigit()]
    left.sort(key=lambda path: path.stat().st_mtime_ns)
    if failure.exitcode >= 0 and left:
        kind, failed, *said = json.loads(left[0].read_text(encoding="utf-8"))
        return getattr(errors, kind)(
            failed, **dict(zip(("where", "expected", "found", "do"), said, strict=True))
        )
    ended = f"the signal {failure.signal_name()}" if failure.exitcode < 0 else f"exit code {failure.exitcode}"
    return TrainingError(
        "A process has ended before its work was done, and so the others were stopped.",
        where=f"process {place} of {processes}",
        expected="that it runs to its end",
        found=ended,
        do="Look for what ended it (SIGKILL is often: too little memory), and run the cell again: it goes on "
        "from the last checkpoint and the shards that are kept, also with fewer processes.",
    )
