"""What the browser tests share: Chromium."""

import shutil
from pathlib import Path

import pytest

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
