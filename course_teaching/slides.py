"""Slides: a deck for each lesson, made of what the lesson has stored, by nbconvert and reveal.js.

What is on a slide follows from rules here, not from metadata in the notebooks: whoever changes a lesson need
not think of its slides, and no text is written twice.

A heading begins a slide. An output that is stored has a slide of its own, without its code. What is asked
("Predict", "What do you expect") is shown, and so are the first sentences of the paragraph after a heading or
an output; below an output they wait for a click. All other text becomes the speaker's notes.
"""

import copy
import html
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output

from course_teaching.lessons import write_file
from course_utils.errors import ConfigError
from course_utils.files import make_folder
from course_utils.notebook.records import METRICS_TYPE

CDN = "https://unpkg.com/reveal.js@5.2.1"
PREDICTIONS = ("**Predict:**", "**What do you expect")
LEAD = 260  # characters of the sentences that are shown of a paragraph; the first one may be longer
ROOM = {"text": 600, "list": 500, "table": 1300}  # characters that fit below a heading
BLOCK = re.compile(r"<details>.*?</details>|```.*?```|(?:(?!\n\n|\n```|\n<details>).)+", re.DOTALL)
LIST, TABLE = re.compile(r"- |\d+\. "), re.compile(r"\|")
NO_PROSE = re.compile(r"```|<|\$\$|>")
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


@dataclass
class Slide:
    kind: str  # "slide", or "subslide": it is below the one before
    shown: list[NotebookNode]
    full: bool = False  # nothing that is asked fits on it any more
    notes: list[str] = field(default_factory=list)


def write_slides(notebooks: Iterable[Path], output: Path, reveal: Path | None = None) -> list[Path]:
    """Write a deck of slides for each lesson, as it is stored, and return their paths.

    Args:
        notebooks: The lessons. They are only read, and nothing of them is run.
        output: The folder for the decks; older ones there are replaced.
        reveal: A folder with reveal.js, of which a copy is laid beside the decks. Without one they load it
            from the network whenever they are opened.

    Raises:
        ConfigError: If the folder has no reveal.js, or a deck cannot be written.
    """
    from nbconvert import SlidesExporter  # takes a second to import

    make_folder(output, ConfigError)
    if reveal:
        _copy_reveal(reveal, output / "reveal.js")
    hidden = ("input", "input_prompt", "output_prompt", "anchor_links")
    exporter = SlidesExporter(
        raw_template=TEMPLATE,
        reveal_url_prefix="reveal.js" if reveal else CDN,
        reveal_theme="white",  # some of the others load their fonts from the network
        **{f"exclude_{part}": True for part in hidden},
    )
    written = []
    for path in notebooks:
        written.append(output / f"{path.stem}.slides.html")
        text, _ = exporter.from_notebook_node(deck(nbformat.read(path, as_version=4)))
        write_file(written[-1], text, ConfigError)
    return written


def _copy_reveal(reveal: Path, to: Path) -> None:
    needed = ("dist/reveal.js", "plugin/notes/notes.js")
    if missing := [name for name in needed if not (reveal / name).exists()]:
        raise ConfigError(
            "There is no reveal.js.",
            where=reveal,
            expected=f"a folder with {' and '.join(needed)}",
            found=f"no {' and no '.join(missing)}",
            do="Get it with `npm pack reveal.js@5`, unpack the file, and name the folder `package` in it.",
        )
    for part in ("dist", "plugin/notes"):
        shutil.copytree(reveal / part, to / part, dirs_exist_ok=True)
    if (reveal / "LICENSE").exists():
        shutil.copyfile(reveal / "LICENSE", to / "LICENSE")


def deck(lesson: NotebookNode) -> NotebookNode:
    """Return the slides of a lesson: a notebook whose cells have the metadata that nbconvert looks for."""
    slides, fresh = [], False  # fresh: what comes next is about what is above
    for cell in lesson.cells:
        if cell.cell_type == "code":
            kept = [output for output in cell.outputs if METRICS_TYPE not in output.get("data", {})]
            if outputs := [_as_shown(output) for output in kept]:
                slides.append(Slide("subslide", [copy.deepcopy(cell)], full=True))
                slides[-1].shown[0].outputs, fresh = outputs, True
            continue
        for block in filter(None, map(str.strip, BLOCK.findall(LINK_WITHIN.sub(r"\1", cell.source)))):
            if block.startswith("#"):
                kind = "subslide" if block.startswith("###") else "slide"
                slides.append(Slide(kind, [new_markdown_cell(block)]))
                fresh = True
            elif any(words in block for words in PREDICTIONS):
                if slides[-1].full or not _fits(block, slides[-1], "text"):
                    slides.append(Slide("subslide", []))
                slides[-1].shown.append(new_markdown_cell(block))
                slides[-1].full, fresh = True, False
            else:
                shown, rest = _lead(block, slides[-1]) if fresh else ("", block)
                slides[-1].shown += [new_markdown_cell(shown)] if shown else []
                slides[-1].notes += [rest] if rest else []
                fresh = shown.endswith((".", ":")) and not rest and not slides[-1].full
    return _joined(slides, title=lesson.cells[0].source.splitlines()[0].lstrip("# "))


def _joined(slides: list[Slide], title: str) -> NotebookNode:
    cells = []
    for slide in slides:
        first, *others = slide.shown
        notes = [new_markdown_cell("\n\n".join(slide.notes))] if slide.notes else []
        below = "fragment" if first.cell_type == "code" else "-"
        for group, kind in (([first], slide.kind), (notes, "notes"), (others, below)):
            for cell in group:
                cell.metadata["slideshow"] = {"slide_type": kind}
            cells += group
    return nbformat.v4.new_notebook(cells=cells, metadata={"title": title})


def _lead(block: str, slide: Slide) -> tuple[str, str]:
    """Return what is shown of a block of text, first sentences or a whole list or table, and the rest."""
    for kind, begin in (("list", LIST), ("table", TABLE)):
        if begin.match(block):
            return (block, "") if not slide.full and _fits(block, slide, kind) else ("", block)
    if NO_PROSE.match(block) or len(slide.shown) > 1:
        return "", block
    sentences = re.split(r"(?<=[.!?])\s+(?=[^\w\s]*[A-Z0-9])", block)
    counts = range(2, len(sentences) + 1)
    count = max((n for n in counts if len(" ".join(sentences[:n])) <= LEAD), default=1)
    return " ".join(sentences[:count]), " ".join(sentences[count:])


def _fits(block: str, slide: Slide, kind: str) -> bool:
    return len(block) + sum(len(cell.source) for cell in slide.shown) <= ROOM[kind]


def _as_shown(output: NotebookNode) -> NotebookNode:
    """Return an output; nbconvert drops the alternative text of a picture, so it becomes HTML here."""
    if not (png := output.get("data", {}).get("image/png")):
        return output
    text = html.escape(output.metadata["image/png"]["alt"])
    return new_output("display_data", {"text/html": f'<img src="data:image/png;base64,{png}" alt="{text}">'})
