"""Leave out scripts of the theme that a page does not need.

The icon font draws the icons as well, and only the page of the search needs the search's own.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

ICONS = "fontawesome"
SEARCH = "searchtools|language_data|searchindex"
SCRIPT = r'\s*<script (?:defer )?src="[^"]*\b(?:{names})\.js[^"]*"></script>'


def leave_out(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        names = ICONS if page.name == "search.html" else f"{ICONS}|{SEARCH}"
        page.write_text(re.sub(SCRIPT.format(names=names), "", text), encoding="utf-8")
    for file in Path(app.outdir, "_static", "scripts").glob("fontawesome.js*"):
        file.unlink()


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", leave_out)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
