"""The site: its pages look right to a browser and to axe, and no link of any page leads nowhere.

`make site` builds it first.
"""

import posixpath
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from serving import serve
from visitor import look, watch

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
PAGES = {
    page.relative_to(SITE).as_posix(): page.read_text(encoding="utf-8")
    for page in SITE.rglob("*.html")
    if "_static" not in page.parts
}
ONE_OF_EACH_KIND = (
    "index.html",
    "notebooks/05_evaluate.html",
    "notebooks/exercises/05_evaluate.html",
    "docs/quizzes/05_evaluate.html",
    "docs/glossary.html",
    "docs/measurements.html",
    "search.html?q=head",
)

pytestmark = pytest.mark.skipif(not PAGES, reason="no page was opened: there is no site yet (make site)")


@pytest.mark.parametrize("page", ONE_OF_EACH_KIND)
def test_page_loads_fits_and_shuts_nobody_out(page, browser):
    shown = browser.new_page()
    faults = watch(shown)
    with serve(SITE) as address:
        for width in (1280, 390):
            shown.set_viewport_size({"width": width, "height": 900})
            shown.goto(address + page, wait_until="networkidle")
            faults += [f"{width} pixels: {fault}" for fault in look(shown)]
    shown.close()
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("words, term", [("learning rates", "learning-rate"), ("logit", "logits")])
def test_search_gives_the_glossary_first(words, term, browser):
    shown = browser.new_page()
    with serve(SITE) as address:
        shown.goto(f"{address}search.html?q={words}")
        first = shown.locator("#search-results li a").first.get_attribute("href")
    shown.close()
    assert first == f"docs/glossary.html#term-{term}"


def test_no_link_of_a_page_leads_nowhere_and_nothing_is_loaded_from_elsewhere():
    places = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in PAGES.items()}
    dead, elsewhere = [], []
    for page, text in PAGES.items():
        for tag, target in re.findall(r'<(a|link|img|script|iframe)\b[^>]*? (?:href|src)="([^"]+)"', text):
            url = urlsplit(target)
            if url.scheme or url.netloc:
                elsewhere += [(page, target)] * (tag != "a" and url.scheme != "data")
                continue
            to = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(url.path)))
            to = to if url.path else page
            in_page = not url.fragment or to not in places or unquote(url.fragment) in places[to]
            dead += [(page, target)] * (not (SITE / to).is_file() or not in_page)
    assert (dead, elsewhere) == ([], [])
