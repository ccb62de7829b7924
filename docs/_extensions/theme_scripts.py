"""Leave out the theme's script for icons, half of what a page loads: the icon font draws them as well."""

import re
from pathlib import Path

from sphinx.application import Sphinx

SCRIPT = re.compile(r'\s*<script defer src="[^"]*/fontawesome\.js[^"]*"></script>')


def leave_out(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if SCRIPT.search(text):
            page.write_text(SCRIPT.sub("", text), encoding="utf-8")
    for file in Path(app.outdir, "_static", "scripts").glob("fontawesome.js*"):
        file.unlink()


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", leave_out)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
