"""Lead from the first use of a term in a lesson to the glossary, and from there to the lesson.

Over the link, the lesson shows what the term means. The glossary is a table, for those who read it on GitHub.
A lesson links the terms that it or an earlier lesson introduces; before that, a word such as "point" or
"recall" may stand for something else. A term in the table may end with a part in brackets, which a lesson
need not repeat: "cosine (schedule)".
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

PAGE = "docs/glossary"
LESSON = re.compile(r"notebooks/(\d\d)_")
ROW = re.compile(r"^\| (.+?) \| (.+) \| (\d\d)[\d, ]* \|$", re.MULTILINE)
ALSO_CALLED = re.compile(r"\. Also called: (.+)$")
# Where a link would be in the way, or where nobody reads a sentence; a code cell is a container.
LEFT_ALONE = (nodes.title, nodes.literal, nodes.reference, nodes.container, addnodes.pending_xref)

logger = logging.getLogger(__name__)


def read_terms(table: str) -> dict[str, int]:
    """Return each term of the glossary, with the number of the lesson that introduces it."""
    return {term: int(lesson) for term, _, lesson in ROW.findall(table)}


def read_meanings(table: str) -> dict[str, str]:
    """Return each term of the glossary, with what it means, in plain words."""
    return {
        term: re.sub(r"[*`]", "", ALSO_CALLED.sub("", meaning)) for term, meaning, _ in ROW.findall(table)
    }


def other_names(meaning: str) -> list[str]:
    """Return what else a term is called, without what stands in brackets."""
    found = ALSO_CALLED.search(meaning)
    return [name.split(" (")[0] for name in found[1].split(", ")] if found else []


def searched_for(name: str) -> list[str]:
    """Return what readers type to find a name: singular or plural, without what stands in brackets."""
    name = name.split(" (")[0]
    if name.endswith("y"):
        return [name, f"{name[:-1]}ies"]
    return [name, f"{name}es" if name.endswith(("tch", "x")) else f"{name}s"]


def uses(terms: list[str]) -> re.Pattern[str]:
    """Return a pattern with one group for each term, in any case, singular or plural, also over two lines."""
    spellings = [
        r"[\s-]+".join(re.escape(word) for word in re.split(r"[\s-]", term.split(" (")[0])) for term in terms
    ]
    return re.compile("|".join(rf"(?<!\w)({words}(?:s|es)?)(?!\w)" for words in spellings), re.IGNORECASE)


def longest_first(terms: Iterable[str]) -> list[str]:
    """Order terms so that "confidence interval" is found before "confidence"."""
    return sorted(terms, key=len, reverse=True)


def sentences(document: nodes.document) -> Iterator[nodes.Text]:
    """Give the texts of a lesson in which a term may be linked."""
    for text in list(document.findall(nodes.Text)):
        node, plain = text, True
        while plain and (node := node.parent) is not None:
            plain = not isinstance(node, LEFT_ALONE) and node.get("names") != ["exercises"]
        if plain:
            yield text


def link_first_uses(app: Sphinx, document: nodes.document) -> None:
    """Link the first use of each term in a lesson; remember which terms these were."""
    lesson = LESSON.match(app.env.docname)
    if not lesson:
        return
    table = Path(app.env.doc2path(PAGE))
    app.env.note_dependency(str(table))
    rows = table.read_text(encoding="utf-8")
    introduced, meanings = read_terms(rows), read_meanings(rows)
    terms = longest_first(term for term, first in introduced.items() if first <= int(lesson[1]))
    pattern, linked = uses(terms), set()
    for text in sentences(document):
        parts, end = [], 0
        for found in pattern.finditer(text):
            term = terms[found.lastindex - 1]
            if term not in linked:
                linked.add(term)
                parts += [nodes.Text(text[end : found.start()]), link(term, found[0], meanings[term])]
                end = found.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text[end:])])
    app.env.metadata[app.env.docname]["linked_terms"] = sorted(linked)


def link(term: str, shown: str, meaning: str) -> addnodes.pending_xref:
    """Return a link to a term, which Sphinx resolves when it has read all pages."""
    inner = nodes.inline("", shown, classes=["term"], meaning=meaning)
    return addnodes.pending_xref(
        "", inner, refdomain="std", reftype="term", reftarget=term, refexplicit=True, refwarn=True
    )


def show_meanings(app: Sphinx, document: nodes.document, page: str) -> None:
    """Let each link to a term show what it means when the mouse is over it."""
    for inner in document.findall(nodes.inline):
        if "meaning" in inner and isinstance(inner.parent, nodes.reference):
            inner.parent["reftitle"] = inner["meaning"]


def anchor_terms(app: Sphinx, document: nodes.document) -> None:
    """Make each row of the glossary a place to link to and to find, and its numbers links to lessons."""
    if app.env.docname != PAGE:
        return
    pages = {found[1]: name for name in app.env.found_docs if (found := LESSON.match(name))}
    for body in document.findall(nodes.tbody):
        for row in body:
            term, anchor = row[0].astext(), "term-" + nodes.make_id(row[0].astext())
            row["ids"].append(anchor)
            app.env.domains["std"].note_object("term", term, anchor, location=row)
            names = [term, *other_names(row[1].astext())]
            words = [word for name in names for word in searched_for(name)]
            entries = [("single", word, anchor, "main", None) for word in words]
            row[0][0].insert(0, addnodes.index(entries=entries))
            cell = row[2][0]
            numbers = re.split(r"(, )", cell.astext())
            cell.children = []
            cell.extend(to_lesson(text, pages) if text in pages else nodes.Text(text) for text in numbers)


def to_lesson(number: str, pages: dict[str, str]) -> addnodes.pending_xref:
    """Return a link to the lesson of that number."""
    target = "/" + pages[number]
    inner = nodes.inline("", number)
    return addnodes.pending_xref(
        "", inner, refdomain="std", reftype="doc", reftarget=target, refexplicit=True, refwarn=True
    )


def warn_of_unlinked(app: Sphinx, env: BuildEnvironment) -> None:
    """Complain about terms that no lesson leads to."""
    linked = {term for page in env.metadata.values() for term in page.get("linked_terms", [])}
    for term in read_terms(Path(env.doc2path(PAGE)).read_text(encoding="utf-8")):
        if term not in linked:
            logger.warning("no lesson uses the term %r in its text", term, location=PAGE)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", link_first_uses)
    app.connect("doctree-read", anchor_terms)
    app.connect("doctree-resolved", show_meanings)
    app.connect("env-check-consistency", warn_of_unlinked)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
