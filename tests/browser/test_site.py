"""The site in a real browser: every page loads, fits, can be read by ear, leads on, and asks nobody else.

`make site` builds it first. Pictures of every page in both widths lie in build/screenshots/site, and what was
found on each in build/browser/site.txt.
"""

import re
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from visitor import FROM_ELSEWHERE, OURS, dead_links, links, loads_from_elsewhere, look, places, read, watch

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
PAGES = sorted(
    page.relative_to(SITE).as_posix() for page in SITE.rglob("*.html") if "_static" not in page.parts
)
LESSONS = [page for page in PAGES if re.match(r"notebooks/\d\d_", page)]
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}

needs_site = pytest.mark.skipif(not PAGES, reason="no page was opened: there is no site yet (make site)")
each_page = pytest.mark.parametrize("page", PAGES)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def serve():
    """Return a function that serves a folder on loopback and gives its address."""
    servers = []

    def begin(folder):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"{OURS}{servers[-1].server_port}/"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def address(serve):
    """Give the address of the site."""
    return serve(SITE)


@pytest.fixture(scope="session")
def windows(browser):
    """Give an open browser window of each size."""
    contexts = {
        name: browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        for name, (width, height) in SIZES.items()
    }
    yield contexts
    for context in contexts.values():
        context.close()


@pytest.fixture(params=SIZES)
def size(request):
    return request.param


@pytest.fixture
def opened(windows, size):
    """Give a page in a window, and a list to which all that goes wrong in it is added."""
    page = windows[size].new_page()
    yield page, watch(page)
    page.close()


@pytest.fixture(scope="session")
def kept(screenshots, report):
    """Give the folder for pictures, and a list of what was seen, which is written down at the end."""
    folder, sights = screenshots / "site", []
    folder.mkdir(exist_ok=True)
    yield folder, sights
    report("site").extend(summary(sights))


def summary(sights: list) -> list[str]:
    """Put into words what was seen of the pages: a line for each, and the sums."""
    lines = [
        f"{page} ({size}): {seen.pictures} pictures, {seen.links} links, axe: {len(seen.serious)} serious, "
        f"{len(seen.lesser)} lesser, {len(seen.faults)} other faults"
        + "".join(f"\n    {fault}" for fault in seen.faults + seen.serious)
        for page, size, seen in sights
    ]
    wide = [seen for _, size, seen in sights if size == "wide"]
    lesser = Counter(name for *_, seen in sights for name in seen.lesser)
    return [
        *lines,
        "",
        f"{len({page for page, *_ in sights})} pages, opened {len(sights)} times",
        f"pictures: {sum(seen.pictures for seen in wide)}, links: {sum(seen.links for seen in wide)}",
        f"serious findings of axe: {sum(len(seen.serious) for *_, seen in sights)}",
        f"lesser findings of axe, by name and number of page views: {dict(lesser)}",
        f"other faults: {sum(len(seen.faults) for *_, seen in sights)}",
    ]


@needs_site
@each_page
def test_page_loads_fits_and_shuts_nobody_out(page, size, opened, address, kept):
    shown, faults = opened
    shown.goto(address + page, wait_until="load")
    folder, sights = kept
    picture = folder / f"{page.removesuffix('.html').replace('/', '.')}-{size}.png"
    seen = look(shown, picture, dark=size == "wide")
    seen.faults += faults
    sights.append((page, size, seen))
    assert not seen.faults + seen.serious, "\n".join(seen.faults + seen.serious)


# The width of A4 at 96 dots an inch, less margins of 1 cm.
ON_PAPER = {"width": 718, "height": 1000}
CUT_OFF = """[...document.querySelectorAll("pre")].filter(e => e.scrollWidth > e.clientWidth)
    .map(e => e.textContent.slice(0, 60))"""


@needs_site
@pytest.mark.parametrize("page", LESSONS)
def test_no_line_of_a_lesson_is_cut_in_print(page, browser, address):
    shown = browser.new_page(viewport=ON_PAPER)
    shown.goto(address + page, wait_until="load")
    shown.emulate_media(media="print")
    assert shown.evaluate(CUT_OFF) == []
    shown.close()


@needs_site
@each_page
def test_no_link_is_dead(page):
    assert dead_links(SITE, page) == []


@needs_site
@each_page
def test_page_loads_nothing_from_elsewhere(page):
    assert loads_from_elsewhere(SITE, page) == []


@needs_site
def test_style_sheets_load_nothing_from_elsewhere():
    sheets = list((SITE / "_static").rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert not FROM_ELSEWHERE.search(sheet.read_text(encoding="utf-8")), sheet.name


@needs_site
def test_no_page_names_a_path_of_this_machine():
    for page in PAGES:
        assert str(ROOT) not in str(read(SITE, page)), page


@needs_site
def test_every_picture_of_a_lesson_says_what_it_shows():
    texts = [
        picture.get("alt", "")
        for page in LESSONS
        for picture in read(SITE, page).select("div.cell_output img")
    ]
    assert len(texts) > 30
    assert min(map(len, texts)) > 30


@needs_site
def test_every_term_is_linked_from_a_lesson_once():
    terms = {place for place in places(SITE, "docs/glossary.html") if place.startswith("term-")}
    linked = [
        [target.split("#")[1] for target in links(SITE, page) if "docs/glossary.html#term-" in target]
        for page in LESSONS
    ]
    assert terms and set().union(*linked) == terms
    for names in linked:
        assert len(names) == len(set(names))


@needs_site
def test_lessons_come_in_their_order():
    side_bar = read(SITE, "index.html").select("nav.bd-links a[href]")
    order = [link["href"] for link in side_bar if re.match(r"notebooks/\d\d_", link["href"])]
    assert order == LESSONS


@needs_site
def test_mathematics_is_drawn_by_the_browser_itself():
    formulas = sum(len(read(SITE, page).find_all("math")) for page in LESSONS)
    assert formulas >= 4
    scripts = {script for page in PAGES for script in links(SITE, page, "script", "src")}
    assert not [script for script in scripts if re.search("mathjax|katex", script, re.IGNORECASE)]


@needs_site
def test_a_page_turns_dark_with_its_reader(opened, address):
    shown, _ = opened
    shown.goto(f"{address}index.html", wait_until="load")
    brightness = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert shown.evaluate(brightness) > 200
    shown.emulate_media(color_scheme="dark")
    shown.wait_for_function(f"{brightness} < 60", timeout=5_000)


@needs_site
def test_search_finds_a_term_and_leads_to_it(opened, address):
    shown, faults = opened
    shown.goto(f"{address}search.html?q=backbone", wait_until="load")
    term = shown.locator("#search-results a[href*='docs/glossary.html#term-backbone']").first
    term.wait_for(timeout=10_000)
    term.click()
    shown.wait_for_url("**/docs/glossary.html*")
    assert shown.locator("tr#term-backbone").is_visible()
    assert not faults, "\n".join(faults)


SOUND = (
    "<!doctype html><html lang='en'><head><title>A page</title><link rel='icon' href='data:,'></head>"
    "<body><main><h1>A page</h1>{}</main></body></html>"
)


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("<p>Nothing is wrong.</p>", None),
        ("<img src='dot.svg'>", "no alternative text"),
        ("<img src='gone.svg' alt='A dot.'>", "not shown"),
        ("<script>console.error('planted')</script>", "console: planted"),
        ("<script>throw new Error('planted')</script>", "script: planted"),
        ("<p style='width: 3000px'>wide</p>", "wider than the window"),
        ("<p style='color: #bbb; background: #fff'>pale</p>", "color-contrast"),
        (
            "<style>@media (prefers-color-scheme: dark) {p {color: #444; background: #222}}</style>"
            "<p>dark</p>",
            "dark: color-contrast",
        ),
        ("<a href='a.html'></a>", "link-name"),
        ("<script src='https://cdn.example/x.js'></script>", "asks the network for https://cdn.example/x.js"),
        ("<a href='nowhere.html'>on</a>", "dead: nowhere.html"),
        ("<a href='#nowhere'>on</a>", "dead: #nowhere"),
        ("<a href='a.html#here'>on</a><p id='here'>here</p>", None),
    ],
)
def test_a_planted_fault_is_seen(planted, found, opened, serve, tmp_path):
    pytest.importorskip("bs4", reason="no link was followed: the site's packages are missing (make site)")
    (tmp_path / "a.html").write_text(SOUND.format(planted))
    (tmp_path / "dot.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9' height='9'/></svg>"
    )
    shown, faults = opened
    shown.goto(f"{serve(tmp_path)}a.html", wait_until="load")
    seen = look(shown)
    told = [*faults, *seen.faults, *seen.serious]
    told += [f"dead: {target}" for target in dead_links(tmp_path, "a.html")]
    told += [f"elsewhere: {target}" for target in loads_from_elsewhere(tmp_path, "a.html")]
    if found is None:
        assert told == []
    else:
        assert any(fault.startswith(found) or found in fault for fault in told), told
