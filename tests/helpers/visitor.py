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
    """What was seen of a page, in one width."""

    pictures: int = 0
    links: int = 0
    faults: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)


# What axe finds on some pages, and what shuts nobody out: an empty corner of pandas' tables, Sphinx's frame.
TOLERATED = {"empty-table-header", "region"}
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


def visit(page, address: str, photographs: Path | None = None) -> dict[str, Sight]:
    """Load a page in each width, and look at it; keep a picture of each width in a folder."""
    seen = {}
    for name, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.goto(address, wait_until="load")
        seen[name] = look(page)
        if photographs:
            path = urlsplit(address).path.strip("/").removesuffix(".html").replace("/", ".")
            page.screenshot(path=photographs / f"{path}-{name}.jpg", full_page=True, type="jpeg")
    return seen


def look(page) -> Sight:
    """Look at an open page in its dark colours and in its light ones."""
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
    page.evaluate(axe())
    for violation in page.evaluate(ALL_BUT_CONTRAST):
        if violation["id"] in TOLERATED:
            seen.tolerated.append(violation["id"])
        else:
            seen.faults += in_words(violation)
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate("Promise.allSettled(document.getAnimations().map(change => change.finished))")
        for violation in page.evaluate(CONTRAST):
            seen.faults += [f"{scheme}: {fault}" for fault in in_words(violation)]
    return seen


@functools.cache
def axe() -> str:
    """Return the script that finds what shuts people out."""
    reason = "axe is missing (pip install '.[browser]')"
    return pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason).Axe().axe_script


def in_words(violation: dict) -> list[str]:
    return [f"{violation['id']}: {node['html'][:200]}" for node in violation["nodes"][:3]]


# Not preloaded: axe would look for a style sheet's imports beside the page, where they are not.
ALL_BUT_CONTRAST = """axe.run({
  preload: false, resultTypes: ['violations'], rules: {'color-contrast': {enabled: false}},
}).then(found => found.violations)"""

# Contrast takes axe a millisecond for each element, and a lesson's code has a thousand that look the same.
# What decides is the colour, size and weight of the letters, and what lies behind them: five elements of each
# such look are judged, in case something hides one. Looks are remembered from one width to the next.
CONTRAST = """() => {
  const plain = 'rgba(0, 0, 0, 0)|none|1|static', behind = new Map([[null, '']]);
  const ground = element => {
    if (!behind.has(element)) {
      const style = getComputedStyle(element);
      const own = [style.backgroundColor, style.backgroundImage, style.opacity, style.position].join('|');
      behind.set(element, ground(element.parentElement) + (own === plain ? '' : own + '/'));
    }
    return behind.get(element);
  };
  const looks = JSON.parse(sessionStorage.looks ?? '{}'), judged = [];
  for (const element of document.body.querySelectorAll('*')) {
    const words = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!words || !element.checkVisibility({visibilityProperty: true})) continue;
    const {color, fontSize, fontWeight, textShadow} = getComputedStyle(element);
    const look = [color, fontSize, fontWeight, textShadow, ground(element)].join();
    looks[look] = (looks[look] ?? 0) + 1;
    if (looks[look] <= 5) judged.push(element);
  }
  sessionStorage.looks = JSON.stringify(looks);
  if (!judged.length) return [];
  const options = {preload: false, resultTypes: ['violations'], runOnly: ['color-contrast']};
  return axe.run({include: judged}, options).then(found => found.violations);
}"""

# The width of A4 at 96 dots an inch, less margins of 1 cm.
ON_PAPER = {"width": 718, "height": 1000}
CUT_OFF = """[...document.querySelectorAll("pre")].filter(e => e.scrollWidth > e.clientWidth)
    .map(e => e.textContent.slice(0, 60))"""


def cut_in_print(page) -> list[str]:
    """Return the beginnings of an open page's blocks of code and output that are wider than paper."""
    page.set_viewport_size(ON_PAPER)
    page.emulate_media(media="print")
    return page.evaluate(CUT_OFF)
