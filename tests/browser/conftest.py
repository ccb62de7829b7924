"""What the browser tests share: Chromium, a JupyterLab of their own, and a place for screenshots."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium asks nobody but the pages that the tests open.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    """Give a running Chromium: the system's, or the one that Playwright has downloaded."""
    reason = "no browser test was run: Playwright is not installed (pip install '.[browser]')"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    with sync_api.sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)
        if not Path(found).exists():
            pytest.skip("no browser test was run: there is no Chromium (apt-get install chromium)")
        running = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def screenshots():
    """Give the folder of the screenshots, which git ignores."""
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def report(request):
    """Return a function that adds a line to a list of that name; all are in build/browser at the end."""
    return lambda name, line: request.node.user_properties.append((name, line))


def pytest_terminal_summary(terminalreporter):
    """Write the lists down, in the one process that hears of all tests, whichever process ran them."""
    ended = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lists = defaultdict(list)
    for name, line in (said for test in ended if test.when == "call" for said in test.user_properties):
        lists[name].append(line)
    folder = ROOT / "build" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join([*sorted(lines), ""]), encoding="utf-8")


# What stands in place of JupyterLab's own defaults. All cells are in the page, so that a test sees them all;
# each cell keeps when it ran, so that a stored output is not taken for a new one; nothing asks the network.
OVERRIDES = {
    "@jupyterlab/notebook-extension:tracker": {
        "windowingMode": "none",
        "recordTiming": True,
        "scrollPastEnd": False,
    },
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/extensionmanager-extension:plugin": {"enabled": False},
}


@dataclass
class JupyterLab:
    """A JupyterLab that runs, with copies of the notebooks in its folder."""

    folder: Path
    address: str
    token: str

    def page(self, path: str = "lab") -> str:
        return f"{self.address}{path}?token={self.token}&reset"

    def ask(self, path: str, method: str = "GET"):
        """Ask the server's API; give what it answers."""
        request = urllib.request.Request(f"{self.address}api/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        # A proxy has no business between this machine and itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def end_kernels(self) -> None:
        """End every kernel: two lessons at once would take each other's cores and memory."""
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")


def where_it_answers(runtime: Path, process: subprocess.Popen, log: Path, seconds: float = 120) -> str:
    """Wait until a server has written its address down, and give it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # written to at this moment
                return json.loads(file.read_text())["url"]
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def jupyterlab(browser, tmp_path_factory):
    """Start a real JupyterLab on loopback, which neither reads nor changes anything of its user's."""
    place = tmp_path_factory.mktemp("jupyterlab")
    folder = place / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (place / "config" / "labconfig").mkdir(parents=True)
    (place / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(OVERRIDES))
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(place / "config"),
        "JUPYTER_DATA_DIR": str(place / "data"),
        "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(place / "workspaces"),
        "IPYTHONDIR": str(place / "ipython"),
        "COURSE_FEATURES": str(place / "features"),
    }
    # Bars are drawn and features kept as they are for a student: see the conftest.py of the repository. Under
    # the last name a kernel does not show what compiled code writes to stderr, which a student would see.
    for name in ("TQDM_MININTERVAL", "COURSE_FEATURES_GB", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    token, log = secrets.token_hex(16), place / "log.txt"
    with socket.socket() as free:  # not a fixed one: two servers that start at once would both find it free
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *(f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}"),
        *("--LabApp.extension_manager=readonly", "--LabApp.news_url=None"),
    ]
    with open(log, "wb") as written:
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=written, stderr=written)
    try:
        address = where_it_answers(place / "runtime", process, log)
        yield JupyterLab(folder, address, token)
    finally:
        process.terminate()  # which ends the kernels, too
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
