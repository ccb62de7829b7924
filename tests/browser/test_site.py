"""The site in a real browser: every page loads, fits, can be read by ear, leads on, and asks nobody else.

`make site` builds it first. Pictures of every page in both widths lie in build/screenshots/site, and what was
found on each in build/browser/site.txt.
"""

import re
from pathlib import Path

import pytest
from serving import serve
from visitor import (
    FROM_ELSEWHERE,
    cut_in_print,
    dead_links,
    links,
    loads_from_elsewhere,
    look,
    places,
    read,
    visit,
    watch,
)

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
PAGES = sorted(
    page.relative_to(SITE).as_posix() for page in SITE.rglob("*.html") if "_static" not in page.parts
)
LESSONS = [page for page in PAGES if re.match(r"notebooks/\d\d_", page)]

needs_site = pytest.mark.skipif(not PAGES, reason="no page was opened: there is no site yet (make site)")


@pytest.fixture(scope="session")
def address():
    """Give the address of the site."""
    with serve(SITE) as address:
        yield address


@pytest.fixture
def opened(browser):
    """Give a page in a window, and a list to which all that goes wrong in it is added."""
    page = browser.new_page(color_scheme="light")
    yield page, watch(page)
    page.close()


@needs_site
@pytest.mark.parametrize("page", PAGES)
def test_page_loads_fits_and_shuts_nobody_out(page, opened, address, screenshots, report):
    (screenshots / "site").mkdir(exist_ok=True)
    seen = visit(opened[0], address + page, screenshots / "site")
    faults = all_faults(opened, seen, SITE, page)
    if page in LESSONS:
        faults += [f"cut in print: {line}" for line in cut_in_print(opened[0])]
    tolerated = {name for sight in seen.values() for name in sight.tolerated}
    report(
        "site",
        f"{page}: {seen['wide'].pictures} pictures, {seen['wide'].links} links, {len(faults)} faults, "
        f"tolerated: {', '.join(sorted(tolerated)) or 'nothing'}" + "".join(f"\n    {f}" for f in faults),
    )
    assert not faults, "\n".join(faults)


def all_faults(opened, seen, site, page):
    """Give what is wrong with a page that was visited in each width, and with its file."""
    faults = [*opened[1], *(f"{size}: {fault}" for size, sight in seen.items() for fault in sight.faults)]
    faults += [f"dead: {target}" for target in dead_links(site, page)]
    return faults + [f"elsewhere: {target}" for target in loads_from_elsewhere(site, page)]


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
def test_each_lesson_lists_its_exercises_and_quiz_below_it():
    for page in LESSONS:
        (entry,) = read(SITE, "index.html").select(f"nav.bd-links a[href='{page}']")
        below = [link["href"] for link in entry.find_parent("li").ul.select("a[href]")]
        name = Path(page).name
        assert below == [f"notebooks/exercises/{name}", f"docs/quizzes/{name}"]


@needs_site
def test_an_output_that_answers_a_prediction_is_folded(opened, address):
    folded = {page: len(read(SITE, page).select("details.hide.below-input")) for page in LESSONS}
    assert sum(folded.values()) > 60
    shown, _ = opened
    shown.goto(address + LESSONS[2], wait_until="load")
    answer = shown.locator("details.hide.below-input").first
    assert not answer.locator(".cell_output").is_visible()
    answer.locator("summary").click()
    assert answer.locator(".cell_output").is_visible()


@needs_site
def test_a_link_to_a_term_shows_what_it_means():
    (link,) = read(SITE, LESSONS[0]).select("a[href$='glossary.html#term-backbone']")
    assert link["title"] == "the part of a network that turns a picture into features"


@needs_site
def test_no_word_of_a_table_head_breaks(opened, address):
    """Each word of a head is as high as one line, also on a phone."""
    shown, _ = opened
    shown.set_viewport_size({"width": 390, "height": 844})
    for page in ("index.html", "docs/setup.html", "docs/measurements.html", "docs/exercises.html"):
        shown.goto(address + page, wait_until="load")
        assert shown.evaluate(BROKEN_WORDS) == []


@needs_site
def test_pages_load_no_script_for_icons(opened, address):
    assert not [page for page in PAGES if "fontawesome.js" in str(read(SITE, page))]
    shown, faults = opened
    shown.goto(f"{address}index.html", wait_until="load")
    icon = shown.locator(".search-button-field i, .search-button i").first
    assert icon.evaluate("e => getComputedStyle(e, '::before').content") not in ("none", "normal")
    assert not faults


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
@pytest.mark.parametrize(
    ("word", "term"),
    [
        *(("backbone", "backbone"), ("overfitting", "overfitting"), ("finetuning", "fine-tune")),
        *(("hyperparameter", "setting"), ("color", "channel"), ("layer", "layer")),
    ],
)
def test_search_finds_a_term_and_leads_to_it(opened, address, word, term):
    shown, faults = opened
    shown.goto(f"{address}search.html?q={word}", wait_until="load")
    found = shown.locator(f"#search-results a[href*='docs/glossary.html#term-{term}']").first
    found.wait_for(timeout=10_000)
    found.click()
    shown.wait_for_url("**/docs/glossary.html*")
    assert shown.locator(f"tr#term-{term}").is_visible()
    assert not faults, "\n".join(faults)


@needs_site
def test_search_results_can_be_read_in_the_dark(opened, address):
    shown, faults = opened
    shown.goto(f"{address}search.html?q=backbone", wait_until="load")
    shown.locator("#search-results .highlighted").first.wait_for(timeout=10_000)
    faults += look(shown).faults
    assert not faults, "\n".join(faults)


BROKEN_WORDS = """[...document.querySelectorAll('th')].flatMap(head => {
  const texts = document.createTreeWalker(head, NodeFilter.SHOW_TEXT), broken = [];
  while (texts.nextNode())
    for (const word of texts.currentNode.data.matchAll(/[\\w]+/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  return broken;
})"""

SOUND = (
    "<!doctype html><html lang='en'><head><title>A page</title><link rel='icon' href='data:,'></head>"
    "<body><main><h1>A page</h1>{}</main></body></html>"
)
DARK = "<style>@media (prefers-color-scheme: dark) {p {color: #444; background: #222}}</style><p>dark</p>"
ON_A_PHONE = "<style>@media (max-width: 600px) {p {color: #bbb; background: #fff}}</style><p>pale</p>"


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("<p>Nothing is wrong.</p>", None),
        ("<img src='dot.svg'>", "wide: no alternative text"),
        ("<img src='gone.svg' alt='A dot.'>", "wide: not shown"),
        ("<script>console.error('planted')</script>", "console: planted"),
        ("<script>throw new Error('planted')</script>", "script: planted"),
        ("<script>if (innerWidth < 600) throw new Error('planted')</script>", "script: planted"),
        ("<p style='width: 3000px'>wide</p>", "wide: 1728 pixels wider"),
        ("<p style='width: 600px'>wider than a phone</p>", "narrow: 218 pixels wider"),
        ("<h3>A heading that skips a level</h3>", "wide: heading-order"),
        ("<p style='color: #bbb; background: #fff'>pale</p>", "wide: light: color-contrast"),
        ("<p>sound</p>" * 9 + "<p style='color: #bbb'>pale</p>", "wide: light: color-contrast"),
        ("<p>sound</p>" * 9 + "<div style='opacity: 0.3'><p>pale</p></div>", "wide: light: color-contrast"),
        (
            "<p hidden>out of sight</p>" * 9 + "<style>p {color: #bbb}</style><p>pale</p>",
            "wide: light: color-c",
        ),
        (DARK, "wide: dark: color-contrast"),
        (ON_A_PHONE, "narrow: light: color-contrast"),
        ("<a href='a.html'></a>", "wide: link-name"),
        ("<script src='https://cdn.example/x.js'></script>", "asks the network for https://cdn.example/x.js"),
        ("<script src='https://cdn.example/x.js'></script>", "elsewhere: https://cdn.example/x.js"),
        ("<a href='nowhere.html'>on</a>", "dead: nowhere.html"),
        ("<a href='#nowhere'>on</a>", "dead: #nowhere"),
        ("<a href='a.html#here'>on</a><p id='here'>here</p>", None),
        (f"<pre style='width: 800px; overflow: auto'>{'long ' * 300}</pre>", "cut in print: long"),
    ],
)
def test_a_planted_fault_is_seen(planted, found, opened, tmp_path):
    pytest.importorskip("bs4", reason="no link was followed: the site's packages are missing (make site)")
    (tmp_path / "a.html").write_text(SOUND.format(planted))
    (tmp_path / "dot.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9' height='9'/></svg>"
    )
    with serve(tmp_path) as address:
        seen = visit(opened[0], f"{address}a.html")
    faults = all_faults(opened, seen, tmp_path, "a.html")
    faults += [f"cut in print: {line}" for line in cut_in_print(opened[0])]
    assert any(found in fault for fault in faults) if found else faults == [], faults
