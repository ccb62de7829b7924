"""What `pytest --nbval notebooks` shares: no cell has a network, and no kernel too many threads."""

import os
import tempfile
from pathlib import Path

HELPERS = Path(__file__).resolve().parents[1] / "tests" / "helpers"

# Kernels inherit the environment. Two of them at once on two cores are three times as fast with one thread
# each as with two, and a progress bar that is redrawn too often fails nbval.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_MININTERVAL", "5")


def pytest_configure(config):
    """Give no cell a network. xdist's processes are handed that."""
    if config.getoption("nbval", False) and not hasattr(config, "workerinput"):
        file, os.environ["COURSE_CONNECTIONS"] = tempfile.mkstemp()
        os.close(file)
        config.add_cleanup(Path(os.environ["COURSE_CONNECTIONS"]).unlink)
        paths = [str(HELPERS / "without_network"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def pytest_sessionfinish(session):
    """Let no lesson pass that has asked for the network, whatever it did without it."""
    if refused_connections(session.config) and session.exitstatus == 0:
        session.exitstatus = 1


def refused_connections(config):
    """Return what kernels were refused, a line each; nothing where none was watched."""
    if not config.getoption("nbval", False) or hasattr(config, "workerinput"):
        return ""
    return Path(os.environ["COURSE_CONNECTIONS"]).read_text(encoding="utf-8")


def pytest_terminal_summary(terminalreporter):
    """Say which connections were refused."""
    if refused := refused_connections(terminalreporter.config):
        terminalreporter.write_line(f"A lesson has asked for the network, which none needs:\n{refused}")
