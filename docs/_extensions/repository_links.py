"""Let a link to a file or folder of the repository lead somewhere on the site, too.

On GitHub each of them is a page. Here, a folder is the page that tells about it; without one, it is a link to
the repository, if that has an address, and else only words.
"""

import posixpath
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from course_teaching.address import HOST, repository, repository_ref

PAGES = {"README.md": "index", "course_utils": "docs/api", "notebooks/exercises": "docs/exercises"}


def page_of(path: str, pages: set[str]) -> str | None:
    """Return the name of the page that tells about a file or folder, if there is one."""
    if path in PAGES:
        return PAGES[path]
    return f"{path}/README" if f"{path}/README" in pages else None


def lead_somewhere(app: Sphinx, document: nodes.document) -> None:
    here, pages = posixpath.dirname(app.env.docname), app.env.found_docs
    for link in list(document.findall(addnodes.pending_xref)):
        if link["reftype"] != "myst" or link["reftarget"] in pages:
            continue
        if link.get("refdomain") == "doc":
            path = link["reftarget"] + ".md"
        else:
            path = posixpath.normpath(posixpath.join(here, link["reftarget"]))
        if page := page_of(path, pages):
            link.attributes |= {"refdomain": "doc", "reftarget": page, "reftargetid": None}
        elif Path(app.srcdir, path).is_dir():
            address = f"{HOST}/{repository()}/tree/{repository_ref() or 'HEAD'}/{path}"
            link.replace_self(
                nodes.reference("", "", *link.children, refuri=address) if repository() else link.children
            )


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", lead_somewhere)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
