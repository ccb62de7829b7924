"""Speed of this machine, by which limits of time grow: what hangs is ended, and what is only slow is not."""

import os
import time

import torch
from torch.nn import functional

from course_utils.errors import ConfigError

REFERENCE = 0.09
"""Seconds that `small_computation` took at best, on one thread with torch 2.13, where the course was made."""

VARIABLE = "COURSE_SLOWNESS"


def slowness() -> float:
    """Return how many times as long as on the reference machine a small computation takes here, at least 1.

    `COURSE_SLOWNESS` in the environment, a number from 1, takes the place of the measurement.

    Raises:
        ConfigError: If it is something else.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return max(1.0, small_computation() / REFERENCE)
    try:
        factor = float(given)
    except ValueError:
        factor = 0.0
    if not 1 <= factor < float("inf"):
        raise ConfigError(
            "It is not known how slow this machine is.",
            where=f"the environment variable {VARIABLE}",
            expected="a number from 1",
            found=repr(given),
            do="Set it to 4, for example, for four times as long; or take it out of the environment.",
        )
    return factor


def small_computation() -> float:
    """Return the seconds that a few convolutions take, the best of five times."""
    images, weights = torch.ones(32, 64, 16, 16), torch.ones(64, 64, 3, 3)
    seconds = []
    with torch.inference_mode():
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(10):
                functional.conv2d(images, weights, padding=1)
            seconds.append(time.perf_counter() - started)
    return min(seconds)


def longer(seconds: float) -> str:
    """Return what to say of a cell that was ended after so many seconds."""
    return (
        f"A cell was ended after {seconds:.0f} s. Either it hangs, or this machine is slow or busy: "
        f"set {VARIABLE}=4 in the environment, for example, for four times as long as on a fast machine."
    )
