"""Somebody who visits a page of the site: with an open page of Playwright's, and with axe."""

import pytest

OURS = ("http://127.0.0.1:", "http://localhost:", "ws://127.0.0.1:", "ws://localhost:", "data:", "blob:")
# What axe finds on some pages, and what shuts nobody out: an empty corner of pandas' tables, Sphinx's frame.
TOLERATED = {"empty-table-header", "region"}


def watch(page) -> list[str]:
    """Keep an open page from asking other machines; return a list to which all that goes wrong is added."""
    faults = []

    def guard(route):
        if route.request.url.startswith(OURS):
            route.continue_()
        else:
            faults.append(f"asks the network for {route.request.url}")
            route.abort()

    page.route("**/*", guard)
    page.on("console", lambda said: faults.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("response", lambda got: faults.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    return faults


def look(page) -> list[str]:
    """Look at an open page in its dark colours and in its light ones; return what is wrong."""
    reason = "axe is missing (pip install '.[browser]')"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason).Axe().axe_script
    page.evaluate(axe)
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    faults = [f"{over} pixels wider than the window" for over in [page.evaluate(width)] if over > 0]
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate("Promise.allSettled(document.getAnimations().map(change => change.finished))")
        # Not preloaded: axe would look for a style sheet's imports beside the page, where they are not.
        found = page.evaluate("axe.run({preload: false, resultTypes: ['violations']})")["violations"]
        faults += [
            f"{scheme}: {violation['id']}: {node['html'][:200]}"
            for violation in found
            if violation["id"] not in TOLERATED
            for node in violation["nodes"][:3]
        ]
    return faults
