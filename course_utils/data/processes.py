"""Which processes work together, and how do they agree?

`torchrun`, `accelerate launch` and `launching.launch` start several processes of the same program, and tell
each its number and how many there are. The rooms ask here and do their part of the work. Where one process
was started, nothing is sent and nothing is waited for: everything here gives back what it was given.

What is told to all is waited for by all: every process calls these functions, and in the same order.
"""

import atexit
import functools
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed, nn

from course_utils.errors import CourseError, TrainingError

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The environment variables in which every launcher tells a process its place."""

WAIT = timedelta(hours=1)
"""How long a process waits for the others before it takes them for lost. One that dies is noticed at once."""


def count() -> int:
    """Return how many processes work together: 1 if only one was launched."""
    return distributed.get_world_size() if _joined() else 1


def number() -> int:
    """Return which of them this is, from 0. It is also called the rank."""
    return distributed.get_rank() if _joined() else 0


def is_first() -> bool:
    """Return whether this is the process that writes files and speaks: number 0, or the only one."""
    return number() == 0


def progress_bar_options() -> dict[str, bool]:
    """Return the options with which tqdm shows a bar on the first process only."""
    # `disable=False` would overrule TQDM_DISABLE, which tqdm reads once; `launching` sets it later.
    return {"disable": True} if not is_first() or os.environ.get("TQDM_DISABLE") else {}


def _joined() -> bool:
    """Return whether there are others, and join them if a launcher says that there are."""
    if not distributed.is_available():
        return False
    if not distributed.is_initialized() and all(os.environ.get(name) for name in TOLD):
        if int(os.environ["WORLD_SIZE"]) == 1:
            return False
        if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
            # All on this machine: by itself, gloo looks for its address by name, which may lead nowhere.
            own = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
            if own:
                os.environ.setdefault("GLOO_SOCKET_IFNAME", own)
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        # No backend is named: then tensors on a graphics card travel by NCCL and those on the CPU by gloo.
        distributed.init_process_group(timeout=WAIT)
        atexit.register(leave)
        _members()
    return distributed.is_initialized()


def leave() -> None:
    """Part from the others: this process's work is done."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@functools.cache
def _members() -> list[tuple[str, int]]:
    """Return the machine and the process id of every process: asked once, while all are there."""
    return everybodys((socket.gethostname(), os.getpid()))


def sums(*numbers: float) -> tuple[float, ...]:
    """Return each number summed over all processes, in float64.

    Raises:
        TrainingError: If a process is lost.
    """
    if count() == 1:
        return numbers
    total = torch.tensor(numbers, dtype=torch.float64)
    with lost_is_told():
        distributed.all_reduce(total)
    return tuple(total.tolist())


def everybodys(value: object) -> list:
    """Return the value of every process, in the order of their numbers. It must be one that pickle knows."""
    if count() == 1:
        return [value]
    values = [None] * count()
    with lost_is_told():
        distributed.all_gather_object(values, value)
    return values


def from_first(work: Callable[[], object]) -> object:
    """Let the first process do something, for example write a file, and give its answer to all.

    Raises:
        CourseError: On every process, if the first one fails; the message names it.
    """
    if count() == 1:
        return work()
    answer, problem = None, None
    if is_first():
        try:
            answer = work()
        except Exception as error:
            problem = error
    told = [answer, _as_told(problem)]
    with lost_is_told():
        distributed.broadcast_object_list(told, src=0)
    if told[1] is not None:
        raise _named(told[1], 0) from problem
    return told[0]


@contextmanager
def all_or_none() -> Iterator[None]:
    """Do something on every process; if it fails on one, it fails on all, with a message that names the one.

    Raises:
        CourseError: That of the process with the lowest number that failed.
    """
    if count() == 1:
        yield
        return
    problem = None
    try:
        yield
    except Exception as error:
        problem = error
    told = everybodys(_as_told(problem))
    for place, found in enumerate(told):
        if found is not None:
            raise _named(found, place) from problem


def _as_told(problem: Exception | None) -> CourseError | None:
    """Return an error that can be sent to the other processes; None for None."""
    if problem is None or isinstance(problem, CourseError):
        return problem
    return TrainingError(
        "A process has failed.",
        where="its own part of the work",
        expected="no error",
        found=f"{type(problem).__name__}: {problem}",
        do="Mend what it says, and start again: finished epochs and shards are kept.",
    )


def named(error: CourseError) -> CourseError:
    """Return an error with the number of this process in it, if there are several and it names none yet."""
    if not _was_joined() or error.where.startswith(("process ", "a process ")):
        return error
    return _named(error, number())


def _named(error: CourseError, place: int) -> CourseError:
    """Return the same error with the process in it."""
    where = f"process {place} of {count()}: {error.where}"
    return type(error)(error.failed, where=where, expected=error.expected, found=error.found, do=error.do)


@contextmanager
def lost_is_told() -> Iterator[None]:
    """Say which process is gone, if one is, instead of how its connection broke.

    Raises:
        TrainingError: With the numbers of the processes of this machine that no longer exist.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        if not _was_joined() or not any(word in words for word in ("gloo", "nccl", "connection", "socket")):
            raise
        raise _lost(error) from error


def _was_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _lost(error: Exception) -> TrainingError:
    own, here = distributed.get_rank(), socket.gethostname()
    words = re.sub(r"\[/\S+\] ", "", " ".join(str(error).split()))  # without the place in PyTorch's sources
    gone = [
        str(place)
        for place, (machine, pid) in enumerate(_members())
        if machine == here and place != own and not _lives(pid)
    ]
    others = sorted({machine for machine, _ in _members() if machine != here})
    unknown = f"one on {', '.join(others)}" if others else "one that is ending just now"
    return TrainingError(
        "A process was lost, and so the others have stopped.",
        where=f"process {', '.join(gone)} of {count()}" if gone else f"a process of {count()}: {unknown}",
        expected="an answer from every process",
        found=f"{type(error).__name__}: {words[:200]}",
        do="Look for what ended it (often: too little memory), and start again with the same command: it "
        "goes on from the last checkpoint and the shards that are kept, also with fewer processes.",
    )


def _lives(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def weights_of_first(network: nn.Module) -> None:
    """Give every process the parameters and buffers that the first one has, in place."""
    if count() == 1:
        return
    for tensor in network.state_dict().values():
        sent = tensor.detach().contiguous()
        with lost_is_told():
            distributed.broadcast(sent, src=0)
        tensor.detach().copy_(sent)


def in_turn(parts: dict[int, list[torch.Tensor]], total: int) -> Iterator[list[torch.Tensor]]:
    """Give the parts that the processes made, in order, each to all: part n is that of process n % `count()`.

    Args:
        parts: This process's own parts: lists of tensors on the CPU, of any type, by their numbers.
        total: How many parts all processes have together.
    """
    for part in range(total):
        if count() == 1:
            yield parts[part]
            continue
        owner, mine = part % count(), [tensor.contiguous() for tensor in parts.get(part, [])]
        shapes = [[(tensor.dtype, tensor.shape) for tensor in mine]]
        with lost_is_told():
            distributed.broadcast_object_list(shapes, src=owner)
            tensors = mine or [torch.empty(shape, dtype=dtype) for dtype, shape in shapes[0]]
            for tensor in tensors:
                # As bytes: not every way to send knows every type of number.
                distributed.broadcast(tensor.view(-1).view(torch.uint8), src=owner)
        yield tensors
