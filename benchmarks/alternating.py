"""Timing that is fair to all: the candidates take turns, and a slow minute of the machine meets them all."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import pandas as pd
from transfer_grid import this_machine

RESULTS = Path(__file__).resolve().parent / "results"


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


def in_a_process(script: str, *arguments: str, threads: int | None = None) -> dict:
    """Run a script of this folder in a process of its own; return what it printed last, as JSON."""
    own = {**os.environ, "COURSE_FEATURES_GB": "0", "TQDM_DISABLE": "1"}
    if threads:
        own["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-W", "ignore", script, *arguments]
    done = subprocess.run(command, env=own, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float]) -> dict[str, float]:
    """Return the median, the minimum and the maximum."""
    series = pd.Series(values)
    return {"median": series.median(), "minimum": series.min(), "maximum": series.max()}


def keep(name: str, rows: list[dict]) -> None:
    """Write the rows of a table to results/NAME.csv with the date and the machine, and print it."""
    print(pd.DataFrame(rows).round(4).to_string(index=False))
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*rows[0], "date", "machine"])
        for row in rows:
            values = [f"{value:.6g}" if isinstance(value, float) else value for value in row.values()]
            writer.writerow([*values, date.today().isoformat(), this_machine()])
