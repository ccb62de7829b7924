"""Progress of a lesson while it runs: which cell is running, and for how long."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = 600  # seconds between two signs of life where the output is not a terminal


class Progress:
    """The cell that a lesson has reached, on one line of standard output.

    A terminal's line is redrawn each second. A file or a pipe only gets a few words every ten minutes.
    """

    def __init__(self, lesson: str, cells: int):
        self.lesson, self.cells, self.cell = lesson, cells, 0
        self.started = self.cell_started = time.monotonic()
        self.terminal = sys.stdout.isatty()

    def start_cell(self, cell: object, cell_index: int) -> None:
        """Note which cell starts. nbclient calls this."""
        self.cell, self.cell_started = cell_index + 1, time.monotonic()
        if self.terminal:
            self._write(str(self))

    def __str__(self) -> str:
        now = time.monotonic()
        place = f"cell {self.cell} of {self.cells}" if self.cell else "starting"
        return f"{place}, {now - self.cell_started:.0f} s; {now - self.started:.0f} s in all"

    @contextmanager
    def shown(self) -> Iterator["Progress"]:
        """Show the progress until the block ends."""
        print(self.lesson, end="", flush=True)
        ended = threading.Event()
        thread = threading.Thread(target=self._keep_writing, args=[ended], daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def end(self, text: str) -> None:
        """Put the outcome in the place of the progress."""
        self._write(text)
        print(flush=True)

    def _keep_writing(self, ended: threading.Event) -> None:
        while not ended.wait(1 if self.terminal else QUIET):
            self._write(str(self))

    def _write(self, text: str) -> None:
        line = f"\r{self.lesson} ... {text:<45}" if self.terminal else f" ... {text}"
        print(line, end="", flush=True)
