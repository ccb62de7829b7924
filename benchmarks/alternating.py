"""Timing that is fair to all: the candidates take turns, and a slow minute of the machine meets them all."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median


def take_turns(candidates: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Run each candidate once to warm up, and then all of them in turn; return their seconds."""
    seconds = {name: [] for name in candidates}
    for run in range(runs + 1):
        for name, candidate in candidates.items():
            started = time.perf_counter()
            candidate()
            if run:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def in_a_process(script: str, *arguments: str, threads: int | None = None, processes: int = 1) -> dict:
    """Run a script of this folder in processes of its own; return what was printed last, as JSON."""
    own = {**os.environ, "TQDM_DISABLE": "1"}
    if threads:
        own["OMP_NUM_THREADS"] = str(threads)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, "-W", "ignore", *(launcher if processes > 1 else []), script, *arguments]
    done = subprocess.run(command, env=own, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Return three columns of a table: the median of these values, their minimum and their maximum."""
    found = {"median": median(values), "minimum": min(values), "maximum": max(values)}
    return {f"{name}, {what}": value for what, value in found.items()}
