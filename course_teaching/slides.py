"""Slides: a deck for each lesson, made from the stored lesson by nbconvert and reveal.js.

The rules below decide what is on a slide, so a change to a lesson needs no work on its slides. A cell whose
slide type was set, for example in JupyterLab's property inspector, keeps it.

A heading begins a slide, with the first paragraph, list or table after it. A prediction ("Predict", "What do
you expect") has a slide of its own, and so has an output that is stored, without its code. All other text
becomes the speaker's notes.
"""

import copy
import html
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output

from course_teaching.lessons import write_file
from course_utils.errors import ConfigError
from course_utils.notebook.records import METRICS_TYPE

CDN = "https://unpkg.com/reveal.js@5.2.1"
PREDICTIONS = ("**Predict:**", "**What do you expect")
BLOCK = re.compile(r"<details>.*?</details>|```.*?```|(?:(?!\n\n|\n```|\n<details>).)+", re.DOTALL)
LINK_WITHIN = re.compile(r"\[([^\[\]]+)\]\((?!https?:)[^()\s]+\)")

TEMPLATE = """\
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block notebook_css -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
main { height: 100%; }
.reveal .slides { font-size: 30px; text-align: left; }
.reveal .slides :is(h1, h2, h3) { text-transform: none; font-size: 1.8em; }
.reveal .slides img { display: block; margin: 0; max-height: 500px; object-fit: contain; width: 100%; }
.reveal .slides pre { box-shadow: none; font-size: 0.64em; margin: 0; white-space: pre-wrap; width: 100%; }
.reveal .slides table { font-size: 0.65em; }
.reveal .slides .jp-OutputArea-output { max-height: 550px; overflow: auto; }
.reveal .slides .jp-OutputArea-child + .jp-OutputArea-child img { max-height: 400px; }
</style>
{%- endblock -%}
{%- block footer_js -%}
<script src="{{ resources.reveal.url_prefix }}/dist/reveal.js"></script>
<script src="{{ resources.reveal.url_prefix }}/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({controls: false, hash: true, width: 1280, height: 720, plugins: [RevealNotes]});
</script>
{%- endblock -%}
"""


def write_slides(notebooks: Iterable[Path], output: Path, reveal: str = CDN) -> list[Path]:
    """Write a deck of slides for each stored lesson, and return their paths.

    Args:
        notebooks: The lessons. They are only read, not run.
        output: The folder for the decks; older ones there are replaced.
        reveal: Where the decks find reveal.js: an address, or a folder relative to `output`.

    Raises:
        ConfigError: If a deck cannot be written.
    """
    from nbconvert import SlidesExporter  # takes a second to import

    hidden = ("input", "input_prompt", "output_prompt", "anchor_links")
    exporter = SlidesExporter(
        raw_template=TEMPLATE,
        reveal_url_prefix=reveal,
        reveal_theme="white",  # some of the others load their fonts from the network
        **{f"exclude_{part}": True for part in hidden},
    )
    written = []
    for path in notebooks:
        written.append(output / f"{path.stem}.slides.html")
        text, _ = exporter.from_notebook_node(deck(nbformat.read(path, as_version=4)))
        write_file(written[-1], text, ConfigError)
    return written


def deck(lesson: NotebookNode) -> NotebookNode:
    """Return the slides of a lesson: a notebook whose cells have the metadata that nbconvert looks for."""
    cells, is_first = [], False  # is_first: what comes next is the first block after a heading

    def add(cell: NotebookNode, kind: str) -> None:
        if kind == "notes" and cells and cells[-1].metadata.slideshow.slide_type == "notes":
            cells[-1].source += f"\n\n{cell.source}"
        else:
            cell.metadata["slideshow"] = {"slide_type": kind}
            cells.append(cell)

    for cell in map(copy.deepcopy, lesson.cells):
        own = cell.metadata.get("slideshow", {}).get("slide_type")
        if cell.cell_type == "code":
            kept = [output for output in cell.outputs if METRICS_TYPE not in output.get("data", {})]
            cell.outputs = [_as_shown(output) for output in kept]
            if own or cell.outputs:
                add(cell, own or "subslide")
            continue
        text = LINK_WITHIN.sub(r"\1", cell.source)
        for block in [text] if own else filter(None, map(str.strip, BLOCK.findall(text))):
            if own:
                kind = own
            elif block.startswith("#"):
                kind = "subslide" if block.startswith("###") else "slide"
            elif is_first:
                kind = "-"
            else:
                kind = "subslide" if any(words in block for words in PREDICTIONS) else "notes"
            is_first = block.startswith("#")
            add(new_markdown_cell(block), kind)
    title = lesson.cells[0].source.splitlines()[0].lstrip("# ")
    return nbformat.v4.new_notebook(cells=cells, metadata={"title": title})


def _as_shown(output: NotebookNode) -> NotebookNode:
    """Return an output, with a picture as HTML, because nbconvert drops a picture's alternative text."""
    if not (png := output.get("data", {}).get("image/png")):
        return output
    text = html.escape(output.metadata["image/png"]["alt"])
    return new_output("display_data", {"text/html": f'<img src="data:image/png;base64,{png}" alt="{text}">'})
