"""Tables in benchmarks/results: rows are added, put in the place of older ones, or written anew."""

import os
import platform
import shlex
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import torch

from course_utils.evaluation.metrics import Evaluation

RESULTS = Path(__file__).resolve().parent / "results"


def this_machine() -> str:
    """Return the machine's cores, processor and system, and the version of torch."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    return f"{os.cpu_count()} cores, {processor}, {platform.system()}, torch {torch.__version__}"


def this_run() -> dict[str, str]:
    """Return the columns that tell how a row was made: the date, the machine and the command."""
    # Where a folder lies is yours.
    given = ["folder:PATH" if part.startswith("folder:") else part for part in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *given])
    return {"date": date.today().isoformat(), "machine": this_machine(), "command": command}


def add_rows(name: str, rows: list[dict], command: str) -> None:
    """Append rows to a table, which begins with its date, machine and command in lines with a #."""
    path = RESULTS / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        about = [f"made: {date.today()}", f"machine: {this_machine()}", f"command: {command}"]
        path.write_text("".join(f"# {line}\n" for line in about) + ",".join(rows[0]) + "\n")
    pd.DataFrame(rows).round(4).to_csv(path, mode="a", header=False, index=False)


def runs_done(name: str, *columns: str) -> set[tuple]:
    """Return the runs that a table has, each by the values of these columns."""
    if not (RESULTS / name).exists():
        return set()
    table = pd.read_csv(RESULTS / name, comment="#", dtype={"asked": str})
    return set(table[list(columns)].itertuples(index=False, name=None))


def replace_rows(name: str, rows: pd.DataFrame, same: list[str], **reading: object) -> pd.DataFrame:
    """Put rows in the place of those that have the same values in these columns; return the whole table.

    The options are those with which `pandas.read_csv` reads what is there.
    """
    path = RESULTS / name
    if path.exists():
        rows = pd.concat([pd.read_csv(path, **reading), rows]).drop_duplicates(same, keep="last")
    rows.to_csv(path, index=False)
    return rows


def write_table(name: str, rows: list[dict]) -> None:
    """Write rows anew, each with the date and the machine, and print them."""
    table = pd.DataFrame(rows)
    print(table.round(4).to_string(index=False))
    table = table.assign(date=date.today().isoformat(), machine=this_machine())
    table.to_csv(RESULTS / name, index=False, float_format="%.6g")


def right_or_wrong(result: Evaluation) -> str:
    """Return for each sample, in order, whether it was right (1) or wrong (0)."""
    return "".join("01"[right] for right in (result.predictions == result.labels).tolist())
