"""What every test run shares, the unit tests and the notebooks alike."""

import os

# Kernels inherit the environment. Two of them at once on two cores are three times as fast with one thread
# each as with two, and a progress bar that is redrawn too often fails nbval.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_MININTERVAL", "5")
# What a lesson says is computed anew, not read from an earlier run's features.
os.environ["COURSE_FEATURES_GB"] = "0"
