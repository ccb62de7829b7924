"""Pages of feedback: what a student reads about a graded notebook. They run no script and load nothing.

Everything a submission wrote is text here, but for the Markdown of its answers, of which only harmless tags
are left. HTML, JavaScript and SVG among its outputs are left out, pictures are shown if they are PNG or JPEG,
and the page itself forbids the browser whatever else there might be.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping

from nbformat import NotebookNode

from course_teaching.exercises import is_test, nbgrader_of, title_above
from course_teaching.grading.answers import split_hidden
from course_teaching.grading.results import Graded

# Characters of one output, of one picture and of all that is shown.
SHOWN, PICTURE, PAGE = 20_000, 3_000_000, 20_000_000
PICTURES = {"image/png", "image/jpeg"}
# Shorter lines of a hidden test, such as `else:`, tell nothing.
HIDDEN_LINE = 8
MARKS_BEGIN, MARKS_END = "<!-- marks -->", "<!-- end of marks -->"
HINT = "→ "  # how a check begins what is wrong
TAGS = {"a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "hr", "i", "li"}
TAGS |= {"ol", "p", "pre", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"}
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --back: #fff; --text: #1c1c1c; --code: #f4f4f4; --line: #ccc;
 --wrong: #fdeaea; --full: #1b6e2e; --lost: #a11818; --link: #0b57d0 }}
@media (prefers-color-scheme: dark) {{ :root {{ --back: #161616; --text: #e6e6e6; --code: #262626;
 --line: #555; --wrong: #4a2323; --full: #7fd494; --lost: #ff9c9c; --link: #8ab4f8 }} }}
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; line-height: 1.5;
 background: var(--back); color: var(--text) }}
pre, code {{ background: var(--code) }} a {{ color: var(--link) }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .6em; margin: .3em 0 }}
pre.error {{ background: var(--wrong) }}
table {{ border-collapse: collapse; margin: 1em 0 }} td {{ white-space: pre-line }}
td, th {{ padding: .3em .8em; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }}
.own {{ border-left: .3em solid var(--line); padding-left: 1em }}
img {{ max-width: 100% }} .full {{ color: var(--full) }} .lost {{ color: var(--lost) }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def feedback_page(row: Graded, notebook: NotebookNode | None, isolation: str) -> str:
    """Return an HTML page with the points, what went wrong, and the notebook as it was executed.

    Lines of hidden tests are left out, of the tests themselves and of whatever a cell printed.
    """
    cells = notebook.cells if notebook is not None else []
    hidden = _Hidden(cells)
    title = f"{row.student}: {row.lesson or 'unknown lesson'}"
    parts = [_marks(row)]
    if row.happened:
        parts.append(f'<p class="lost">What happened: {_text(row.happened, hidden)}</p>')
    if row.review:
        parts.append(f'<p class="lost">Your teacher is asked to look at this one: {_text(row.review)}</p>')
    left = PAGE
    for number, cell in enumerate(cells, 1):
        shown = _cell(cell, number, hidden)
        left -= len(shown)
        if left < 0:
            parts.append("<p>The rest is left out: the page would be too long.</p>")
            break
        parts.append(shown)
    parts.append(f"<hr><p>Graded in a kernel that was shut in: {_text(isolation)}.</p>")
    return _PAGE.format(title=_text(title), body="\n".join(parts))


def with_marks(page: str, row: Graded) -> str:
    """Return a page with the points of a row in place of its own, which a person may have given since."""
    start, _, rest = page.partition(MARKS_BEGIN)
    _, found, end = rest.partition(MARKS_END)
    return f"{start}{_marks(row)}{end}" if found else page


def _marks(row: Graded) -> str:
    """Return the part of a page with the points: those of the tests, and those that a person gives."""
    total = f"{row.shown_total or 'none'} of {row.max_points:g} points"
    if row.unmarked:
        total += f": your teacher has not marked {' and '.join(one.title for one in row.unmarked)} yet"
    parts = [f"<p><strong>{_text(total)}</strong></p>"]
    lines = []
    for name, (points, most) in row.points.items():
        title, hint = row.exercises.get(name, (name, ""))
        lines.append(("full" if points == most else "lost", (title, f"{points:g} of {most:g}", hint)))
    parts.append(_table(("exercise", "points", "what its check says"), lines))
    lines = []
    for one in row.questions.values():
        level = f"{one.level} of {one.of:g}" if one.level is not None else "not marked yet"
        colour = "" if one.level is None else "full" if one.level == one.of else "lost"
        lines.append((colour, (one.title, level, one.comment)))
    if lines:
        parts.append(_table(("question for a person", "points", "comment"), lines))
    return "\n".join([MARKS_BEGIN, *parts, MARKS_END])


def _table(heads: Iterable[str], lines: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    rows = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"]
    for colour, texts in lines:
        columns = "".join(f"<td>{_text(text)}</td>" for text in texts)
        rows.append(f'<tr class="{colour}">{columns}</tr>')
    return f"<table>{''.join(rows)}</table>"


def exercises_of(notebook: NotebookNode) -> dict[str, tuple[str, str]]:
    """Return for each test of an executed notebook its exercise's title, and what to do if it failed.

    That is the hint of the check above it, or the test's own error. No line of a hidden test is in it.
    """
    hidden, exercises, hints = _Hidden(notebook.cells), {}, []
    for place, cell in enumerate(notebook.cells):
        if not is_test(cell):
            if nbgrader_of(cell).get("locked"):
                shown = "".join(_joined(one.get("text", "")) for one in cell.get("outputs", []))
                hints += [line[2:] for line in shown.splitlines() if line.startswith(HINT)]
            continue
        error = first_error(cell)
        if error.strip() == "AssertionError:":
            error = "A test that is not shown failed."
        told = "\n".join(hints) or error if error else "" if cell.get("execution_count") else "not reached"
        exercises[nbgrader_of(cell)["grade_id"]] = (title_above(notebook, place), _plain(told, hidden))
        hints = []
    return exercises


def first_error(cell: Mapping) -> str:
    """Return the first error among a cell's outputs; "" if there was none."""
    for output in cell.get("outputs", []):
        if output.get("output_type") == "error":
            return f"{output.get('ename')}: {output.get('evalue')}"
    return ""


def first_error_of_answers(notebook: NotebookNode) -> str:
    """Return the first error of a cell that is no test, in one line; "" if there was none.

    No line of a hidden test is in it: they are left out before the text is cut, and its spaces are closed up.
    """
    hidden = _Hidden(notebook.cells)
    for number, cell in enumerate(notebook.cells, 1):
        if not is_test(cell) and (error := first_error(cell)):
            return f"error in cell {number}: {' '.join(_plain(error, hidden).split())[:150]}"
    return ""


class _Hidden:
    """The lines of hidden tests that a notebook was run with, and what stands on the page instead."""

    def __init__(self, cells: Iterable[Mapping]):
        split = [split_hidden(cell.source) for cell in cells if is_test(cell)]
        seen = {line.strip() for shown, _ in split for line in shown.splitlines()}
        lines = {line.strip() for _, lines in split for line in lines} - seen
        # As they are, and as Python and JSON write them inside quotes: In[-1] shows a cell on one line.
        spelled = {s for line in lines for s in (line, repr(line)[1:-1], json.dumps(line)[1:-1])}
        spelled |= {text.replace("'", "\\'") for text in spelled}
        self.lines = sorted((text for text in spelled if len(text) >= HIDDEN_LINE), key=len, reverse=True)

    def left_out(self, text: str) -> str:
        """Return a text without these lines."""
        for line in self.lines:
            text = text.replace(line, "(a test that is not shown)")
        return text


def _cell(cell: NotebookNode, number: int, hidden: _Hidden) -> str:
    if cell.cell_type != "code":
        own = "<small>your answer</small>" if nbgrader_of(cell).get("solution") else ""
        return f"{own}<div{' class=own' if own else ''}>{_markdown(cell.source)}</div>"
    outputs = cell.get("outputs", [])
    source = split_hidden(cell.source)[0] if is_test(cell) else cell.source
    shown = "".join(_output(output, hidden, of_test=is_test(cell)) for output in outputs)
    return f"<small>cell {number}</small><pre><code>{_text(source)}</code></pre>{shown}"


def _output(output: Mapping, hidden: _Hidden, *, of_test: bool) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return f"<pre>{_text(_joined(output.get('text', '')), hidden)}</pre>"
    if kind == "error":
        # The lines around the error of a test would show tests that are hidden.
        lines = _joined(output.get("traceback", []), "\n")
        lines = f"{output.get('ename')}: {output.get('evalue')}" if of_test or not lines else lines
        return f'<pre class="error">{_text(lines, hidden)}</pre>'
    data = output.get("data", {})
    for kind in PICTURES & data.keys():
        encoded = _joined(data[kind])
        if len(encoded) > PICTURE:
            return "<p>(a picture that is too large)</p>"
        return f'<img alt="a picture that the cell made" src="data:{kind};base64,{html.escape(encoded)}">'
    if "text/plain" in data:
        return f"<pre>{_text(_joined(data['text/plain']), hidden)}</pre>"
    return "<p>(an output that is not shown here)</p>" if data else ""


def _markdown(source: str) -> str:
    """Return Markdown as HTML: of its tags, only those that load nothing and run nothing."""
    import bleach  # with mistune, what nbconvert is made of
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    if len(source) > SHOWN:
        return f"<pre>{_text(source)}</pre>"
    try:
        renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
        made = MarkdownWithMath(renderer=renderer).render(source)
        return bleach.clean(made, TAGS, {"a": ["href"]}, protocols=["http", "https", "mailto"], strip=True)
    except Exception:  # nested without end, for example
        return f"<pre>{_text(source)}</pre>"


def _joined(text: object, between: str = "") -> str:
    return text if isinstance(text, str) else between.join(str(part) for part in text)


def _text(text: object, hidden: _Hidden | None = None) -> str:
    """Return text that HTML shows as it is, without a terminal's colours, and not endlessly long."""
    return html.escape(_plain(text, hidden))


def _plain(text: object, hidden: _Hidden | None = None) -> str:
    text = str(text)
    more = len(text) - SHOWN
    text = COLOURS.sub("", text[: 10 * SHOWN].encode("utf-8", "replace").decode())
    text = "".join(c for c in text if c in "\n\t" or c.isprintable() or c == "\xa0")
    if hidden is not None:
        # Before the text is cut, and a little beyond, so that no line goes unseen for being cut in two.
        text = hidden.left_out(text[: SHOWN + max(map(len, hidden.lines), default=0)])
    if more > 0:
        text = f"{text[:SHOWN]}\n... and {more} characters more"
    return text
