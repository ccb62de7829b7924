"""Give a name to the arrows of the side bar, which have none for those who hear the page."""

from bs4 import BeautifulSoup, Tag
from sphinx.application import Sphinx


def named(side_bar: BeautifulSoup | str) -> str:
    """Return a side bar in which each arrow without words says whose pages it opens."""
    soup = BeautifulSoup(str(side_bar), "html.parser")
    for arrow in soup.find_all("summary"):
        if not arrow.get_text(strip=True):
            arrow["aria-label"] = f"Pages below {above(arrow)}"
    return str(soup)


def above(arrow: Tag) -> str:
    """Return the words of the link that an arrow belongs to."""
    return arrow.find_parent("li").a.get_text(strip=True)


def name_arrows(app: Sphinx, page: str, template: str, context: dict, document) -> None:
    if side_bar := context.get("generate_toctree_html"):
        context["generate_toctree_html"] = lambda *args, **options: (
            named(side_bar(*args, **options))
            if options.get("kind") == "sidebar"
            else side_bar(*args, **options)
        )


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", name_arrows, priority=600)  # after the theme
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
