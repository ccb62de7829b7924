"""Somebody who visits a site: looks at its pages, has them read aloud, and follows each link.

A site here is a folder of HTML files. What the browser is asked is asked of an open page of Playwright's.
"""

import functools
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

OURS = "http://127.0.0.1:"
# What a page loads by itself; a link that somebody may follow is another matter.
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
FROM_ELSEWHERE = re.compile(r"(@import|url\()\s*[\"']?(https?:)?//")


@functools.cache
def read(site: Path, page: str):
    """Return a page of a site, parsed."""
    bs4 = pytest.importorskip(
        "bs4", reason="no link was followed: the site's packages are missing (make site)"
    )
    return bs4.BeautifulSoup((site / page).read_text(encoding="utf-8"), "html.parser")


@functools.cache
def places(site: Path, page: str) -> set[str]:
    """Return what a link may name after a #."""
    return {"", *(tag["id"] for tag in read(site, page).find_all(id=True))}


def links(site: Path, page: str, tag: str = "a", attribute: str = "href") -> list[str]:
    """Return where the links of a page lead, or what it loads with another tag."""
    return [found[attribute] for found in read(site, page).find_all(tag, **{attribute: True})]


def loaded(site: Path, page: str) -> list[str]:
    """Return the addresses of all that a page loads: scripts, style sheets, pictures."""
    return [target for tag, attribute in LOADED.items() for target in links(site, page, tag, attribute)]


def leads_nowhere(site: Path, page: str, target: str) -> bool:
    """Say whether a link within a site names a file or a place in it that is not there."""
    url = urlsplit(target)
    if url.scheme or url.netloc:
        return False
    path = posixpath.join(posixpath.dirname(page), unquote(url.path)) if url.path else page
    path = posixpath.normpath(path)
    if not (site / path).is_file():
        return True
    return path.endswith(".html") and unquote(url.fragment) not in places(site, path)


def dead_links(site: Path, page: str) -> list[str]:
    """Return the links of a page, and the addresses of what it loads, that lead nowhere within the site."""
    return [target for target in links(site, page) + loaded(site, page) if leads_nowhere(site, page, target)]


def loads_from_elsewhere(site: Path, page: str) -> list[str]:
    """Return what a page loads from another place than its own."""
    found = [target for target in loaded(site, page) if urlsplit(target).netloc]
    return found + [match[0] for match in FROM_ELSEWHERE.finditer(str(read(site, page)))]


def watch(page) -> list[str]:
    """Keep an open page from asking other machines; return a list to which all that goes wrong is added."""
    faults = []

    def guard(route):
        if route.request.url.startswith((OURS, "data:", "blob:")):
            route.continue_()
        else:
            faults.append(f"asks the network for {route.request.url}")
            route.abort()

    page.route("**/*", guard)
    page.on("console", lambda said: faults.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("response", lambda got: faults.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    return faults


@dataclass
class Sight:
    """What was seen of a page."""

    pictures: int = 0
    links: int = 0
    faults: list[str] = field(default_factory=list)
    serious: list[str] = field(default_factory=list)
    """What axe finds to shut people out, seriously or worse, in light and in dark."""
    lesser: list[str] = field(default_factory=list)
    """The names of axe's other findings."""


def look(page, photograph: Path | None = None, dark: bool = True) -> Sight:
    """Look at an open page in its light colours, keep a picture of them, and look at its dark ones."""
    seen = Sight(links=page.locator("a[href]").count())
    if not page.locator("h1").count():
        seen.faults.append("a page without a title")
    pictures = page.evaluate(
        "Promise.all([...document.images].map(async i => {"
        " i.loading = 'eager'; await i.decode().catch(() => {});"
        " return [i.src.slice(-60), i.getAttribute('alt'), i.naturalWidth]; }))"
    )
    seen.pictures = len(pictures)
    seen.faults += [f"no alternative text: {name}" for name, text, _ in pictures if not (text or "").strip()]
    seen.faults += [f"not shown: {name}" for name, _, width in pictures if not width]
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if over > 0:
        seen.faults.append(f"{over} pixels wider than the window")
    colours(page, "light")
    seen.serious, seen.lesser = shut_out(page)
    if photograph:
        page.screenshot(path=photograph, full_page=True)
    if not dark:  # colours do not depend on the width
        return seen
    colours(page, "dark")
    seen.serious += [f"dark: {fault}" for fault in shut_out(page, runOnly=["color-contrast"])[0]]
    return seen


def colours(page, scheme: str) -> None:
    """Let a page turn light or dark, and wait until nothing changes any more."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("Promise.allSettled(document.getAnimations().map(change => change.finished))")


def shut_out(page, **options) -> tuple[list[str], list[str]]:
    """Return what axe finds to shut people out, seriously or worse, and the names of lesser findings."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is missing (pip install '.[browser]')"
    ).Axe()
    # Not preloaded: axe would look for a style sheet's imports beside the page, where they are not.
    found = axe.run(page, options={"preload": False, "resultTypes": ["violations"], **options}).response[
        "violations"
    ]
    bad = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    told = [f"{fault['id']}: {node['html'][:200]}" for fault in bad for node in fault["nodes"][:3]]
    return told, [fault["id"] for fault in found if fault not in bad]
