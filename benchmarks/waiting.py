"""Measure what OpenMP's waiting threads cost: they spin by default, and sleep with OMP_WAIT_POLICY=PASSIVE.

    python benchmarks/waiting.py

The course sets PASSIVE in `course_utils/__init__.py`, and GOMP_SPINCOUNT=2000, with which they spin for some
microseconds before they sleep. ResNet-18 is trained at 64 pixels, on a machine that
should be quiet, and beside two busy processes. The variants take turns, each in a process of its own.

Median seconds a batch on two cores (AMD EPYC, torch 2.13). Alone (`chrt -r 1`, two runs): spinning
0.50, sleeping 0.50, one thread 0.73. Beside two busy processes (three runs): 1.75, 1.11, 1.26; on another day
(two runs) spinning 0.87, sleeping 0.51, spinning briefly 0.51. Training a head with `fit` on a quiet machine
takes 3.0 seconds spinning, 3.4 sleeping, 3.1 spinning briefly (`peers.py --only course`, three seeds).
"""

import os
import subprocess
import sys
from statistics import median

RUNS = 5
VARIANTS = {
    "all cores, spinning": {},
    "all cores, sleeping": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "all cores, spinning briefly": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
TRAIN = """
import subprocess, sys, time, torch
from torchvision.models import resnet18
model, images = resnet18(num_classes=10), torch.randn(32, 3, 64, 64)
labels, optimizer = torch.arange(32) % 10, torch.optim.SGD(model.parameters(), lr=0.01)
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(int(sys.argv[1]))]
for batch in range(6):
    if batch == 1:
        started = time.perf_counter()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    optimizer.zero_grad()
print((time.perf_counter() - started) / 5)
for process in busy:
    process.kill()
"""


def seconds_per_batch(variant: dict[str, str], busy: int) -> float:
    """Train in a new process with these environment variables, beside so many busy processes."""
    own = {name: value for name, value in os.environ.items() if "OMP_" not in name} | variant
    command = [sys.executable, "-W", "ignore", "-c", TRAIN, str(busy)]
    return float(subprocess.run(command, env=own, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    for busy in (0, 2):
        seconds = {name: [] for name in VARIANTS}
        for _ in range(RUNS):
            for name, variant in VARIANTS.items():
                seconds[name].append(seconds_per_batch(variant, busy))
        for name, values in seconds.items():
            row = f"{busy} busy processes, {name}: {median(values):.2f} s a batch"
            print(f"{row} ({min(values):.2f} to {max(values):.2f})", flush=True)


if __name__ == "__main__":
    main()
