"""What the browser tests share: Chromium, a place for screenshots, and lists of what was found."""

import shutil
from collections import defaultdict
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
