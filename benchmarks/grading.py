"""Marks of 60 submissions, five of them hostile, and whether anything outside of them was changed.

    python benchmarks/grading.py [--submissions 60] [--workers 2] [--seconds 60] [--output FILE]

55 students hand in a small exercise with marks that are known beforehand; the others loop without end, eat
memory, remove the teacher's files, end their kernel and print without end, and get what they had earned
before. Everything around the submissions - a folder that anybody may write to, the solutions, the submissions
themselves - is compared to the byte, and the processes that run afterwards are looked through.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

from small_submissions import (
    RIGHT,
    fingerprint,
    handed_in,
    hostile_answers,
    running,
    write_solution,
    write_submission,
)

from course_teaching.grading import Limits, grade, summary
from course_teaching.grading.sandbox import FIRST_USER, USERS, find_isolation

RESULTS = Path(__file__).parent / "results" / "grading.csv"
HOSTILE = ("loops", "eats_memory", "removes_files", "exits", "prints")
# Answers, and the points that they earn.
KNOWN = (
    (RIGHT, 5),
    (RIGHT[:1], 2),
    ((), 0),
    (("answer = 41", RIGHT[1]), 3),
    (("answer = '42'", "def double(x):\n    return x ** 2"), 0),
)


def write_submissions(folder: Path, sentinel: Path, count: int) -> dict[str, float]:
    """Write submissions, hostile ones in between; return the points that each of them earns."""
    hostile, earned = hostile_answers(sentinel), {}
    places = {(number + 1) * count // (len(HOSTILE) + 1): name for number, name in enumerate(HOSTILE)}
    for number in range(count):
        name = f"{number:02}-{places.get(number, 'known')}"
        if number in places:
            answers, earned[name] = (RIGHT[0], hostile[places[number]]), 2
        else:
            answers, earned[name] = KNOWN[number % len(KNOWN)]
        write_submission(folder, name, handed_in(*answers))
    return earned


def main() -> int:
    """Grade, compare and write the table; return 0 if everything was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--submissions", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--memory-gb", type=float, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    # Not where temporary files usually are, since submissions do not see that.
    place = "/var/tmp" if os.path.isdir("/var/tmp") else None
    with tempfile.TemporaryDirectory(prefix="sixty-", dir=place) as name:
        base = Path(name)
        base.chmod(0o755)
        sentinel = base / "teachers-own"
        sentinel.mkdir()
        for number in range(20):
            (sentinel / f"{number}.txt").write_text("mine")
        for path in (sentinel, *sentinel.iterdir()):
            path.chmod(0o777)
        solutions = write_solution(base / "solutions")
        earned = write_submissions(base / "submissions", sentinel, options.submissions)
        before = {part: fingerprint(base / part) for part in ("teachers-own", "solutions", "submissions")}
        started = time.perf_counter()
        results = grade(
            base / "submissions",
            base / "out",
            limits=Limits(
                seconds=options.seconds,
                cell_seconds=options.seconds / 4,
                memory=int(options.memory_gb * 1e9),
                workers=options.workers,
            ),
            solutions=solutions,
        )
        seconds = time.perf_counter() - started
        unchanged = sum(fingerprint(base / part) == print_ for part, print_ in before.items())
    right = sum(one.total == earned[one.student] for one in results)
    left = running("runner.py", users=range(FIRST_USER, FIRST_USER + USERS))
    hostile = [one for one in results if not one.student.endswith("known")]
    rows = [
        ("submissions with the marks that they had earned", right, len(earned)),
        ("folders around them that are the same to the byte", unchanged, len(before)),
        ("processes left behind", len(left), 0),
        (f"seconds with {options.workers} workers", f"{seconds:.0f}", ""),
        *(
            (
                f"{one.student.split('-')[1]}: {one.status}, {one.happened.replace(name, '...')}",
                f"{one.total:g}",
                2,
            )
            for one in hostile
        ),
    ]
    table = pd.DataFrame(rows, columns=["what", "found", "expected"])
    print(f"\n{table.to_string(index=False)}\n{summary(results)}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", encoding="utf-8") as file:
        file.write(f"# made: {date.today()}\n# machine: {os.cpu_count()} cores, {platform.system()}\n")
        file.write(f"# command: python benchmarks/grading.py --submissions {options.submissions}")
        file.write(f" --workers {options.workers}\n# confined by: {find_isolation()}\n")
        table.to_csv(file, index=False)
    return 0 if right == len(earned) and unchanged == len(before) and not left else 1


if __name__ == "__main__":
    sys.exit(main())
