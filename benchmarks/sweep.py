"""How much faster are two workers than one, and what does a killed worker cost?

    python benchmarks/sweep.py [--runs 40] [--work 30]

One small notebook that computes for about a second is run with so many seeds: by one worker process, by two,
and by two of which one is killed (SIGKILL) in the middle of its run. Each run is a kernel of its own, with
one thread. The seconds are those of a whole sweep, from the start of the workers to the table; after the kill
the sweep is started a second time, and both are counted. They go to `results/sweep.csv`.
"""

import argparse
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from storing import RESULTS, add_rows

from course_teaching.sweeps import sweep

COMPUTE = """
import pathlib
import numpy as np
pathlib.Path("diary").open("a").write(f"{{seed}}\\n")
matrix = np.random.default_rng(seed).normal(size=(1000, 1000))
for step in range({work}):
    matrix = np.tanh(matrix @ matrix / 1000)
    {at_half}
from course_utils.notebook import record
record(mean=float(matrix.mean()))
"""

# Only once: whoever does this run again finds the mark.
KILL = """if step == {half} and seed == {victim} and not pathlib.Path("killed").exists():
        import os, signal
        pathlib.Path("killed").touch()
        os.kill(os.getppid(), signal.SIGKILL)"""


def measure(workers: int, runs: int, work: int, kill: bool) -> dict:
    """Sweep once in a new folder; return a row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        at_half = KILL.format(half=work // 2, victim=runs // 3) if kill else "pass"
        cells = [
            new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
            new_code_cell(COMPUTE.format(work=work, at_half=at_half)),
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        (folder / "lesson").mkdir()
        notebook = folder / "lesson" / "compute.ipynb"
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), notebook)
        (folder / "grid.yaml").write_text(f"seed: {list(range(runs))}\n")
        started = time.perf_counter()
        for _ in range(1 + kill):
            results = sweep(notebook, folder / "grid.yaml", folder / "out", workers=workers)
        seconds = time.perf_counter() - started
        begun = (folder / "lesson" / "diary").read_text().splitlines()
        assert (folder / "lesson" / "killed").exists() == kill
        fine = [result for result in results if result["status"] == "ok"]
        return {
            **{"workers": workers, "killed": int(kill), "runs": runs, "seconds": round(seconds, 1)},
            **{"fine": len(fine), "lost": runs - len(fine), "begun_again": len(begun) - runs},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--work", type=int, default=30, help="products of two matrices in each run")
    options = parser.parse_args()
    rows = []
    for workers, kill in ((1, False), (2, False), (2, True)):
        rows.append(measure(workers, options.runs, options.work, kill))
        rows[-1]["speed_up"] = round(rows[0]["seconds"] / rows[-1]["seconds"], 2)
        print(rows[-1], flush=True)
    (RESULTS / "sweep.csv").unlink(missing_ok=True)
    add_rows("sweep.csv", rows, f"python benchmarks/sweep.py --runs {options.runs} --work {options.work}")


if __name__ == "__main__":
    main()
