"""What the browser tests share: Chromium, a JupyterLab of their own, and a place for screenshots."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import own_environment, where_it_answers

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


@pytest.fixture(scope="session")
def jupyterlab(browser, tmp_path_factory):
    """Start a real JupyterLab on loopback, which neither reads nor changes anything of its user's."""
    place = tmp_path_factory.mktemp("jupyterlab")
    folder = place / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    environment = own_environment(place)
    log = place / "log.txt"
    with socket.socket() as free:  # not a fixed one: two servers that start at once would both find it free
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *(f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={secrets.token_hex(16)}"),
        *("--LabApp.extension_manager=readonly", "--LabApp.news_url=None"),
    ]
    with open(log, "wb") as written:
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=written, stderr=written)
    try:
        server = where_it_answers(place / "runtime", process, log)
        yield JupyterLab(folder, server["url"], server["token"])
    finally:
        process.terminate()  # which ends the kernels, too
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
