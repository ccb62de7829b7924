"""What every test run shares, the unit tests and the notebooks alike."""

import os

# Kernels inherit the environment. Two of them at once on two cores are three times as fast with one thread
# each as with two, and a progress bar that is redrawn too often fails nbval.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_MININTERVAL", "5")
# What a lesson says is computed anew, not read from an earlier run's features.
os.environ["COURSE_FEATURES_GB"] = "0"


def pytest_configure(config):
    """Give cells longer on a slow machine. xdist's processes are handed the limit."""
    if config.getoption("nbval", False) and not hasattr(config, "workerinput"):
        from course_utils.teaching.speed import slowness

        config.option.nbval_cell_timeout = float(config.option.nbval_cell_timeout) * slowness()


def pytest_terminal_summary(terminalreporter):
    """Say what to do about a cell that ran out of time."""
    if any("seconds exceeded" in failed.longreprtext for failed in terminalreporter.getreports("failed")):
        from course_utils.teaching.speed import longer

        terminalreporter.write_line(longer(terminalreporter.config.option.nbval_cell_timeout))
