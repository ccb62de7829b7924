"""The kernel that runs a lesson, and the file for its messages."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

from course_utils.settings import REPOSITORY_FOLDER


class OwnKernel(AsyncKernelManager):
    """A kernel with the Python and the `course_utils` of this process.

    Jupyter would use the kernel registered as `python3`, which may be another Python.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        paths = [str(REPOSITORY_FOLDER), os.environ.get("PYTHONPATH")]
        return KernelSpec(**get_kernel_dict(), env={"PYTHONPATH": os.pathsep.join(filter(None, paths))})


@contextmanager
def kernel_messages_in(log: Path) -> Iterator[None]:
    """Send the error stream of this process, which a kernel inherits, to a file."""
    sys.stderr.flush()
    saved = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
