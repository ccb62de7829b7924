"""Several processes of one program, as a launcher starts them, for the tests of lesson 11."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent


class Ended(NamedTuple):
    """How one process ended."""

    code: int
    """As `subprocess` has it: minus the signal, if one ended it."""
    said: str


def said_by(rank: int) -> str:
    """Return the name of the file of what a process said."""
    return f"said_by_{rank}.txt"


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def job(case: str, folder: Path, processes: int, **environment: str) -> dict:
    """Return what `run_together` is to do: a case of `together_cases.py` on so many processes."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
    told |= {"MASTER_PORT": free_port(), "COURSE_FEATURES": folder / "features", "COURSE_FEATURES_GB": 1}
    told = {name: str(value) for name, value in {**told, **environment}.items()}
    return {"case": case, "folder": str(folder), "environment": told}


def run_together(*jobs: dict) -> list[list[Ended]]:
    """Do one job after the other; return for each how its processes ended."""
    command = [sys.executable, "-W", "ignore", str(TESTS / "together_cases.py"), json.dumps(jobs)]
    own = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        [Ended(code, (Path(one["folder"]) / said_by(rank)).read_text()) for rank, code in enumerate(codes)]
        for one, codes in zip(jobs, found, strict=True)
    ]
