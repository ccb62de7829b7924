"""Pages of feedback: what a student reads about a graded notebook. They run no script and load nothing.

Everything a submission wrote is text here: HTML, JavaScript and SVG among its outputs are left out, pictures
are shown if they are PNG or JPEG, and the page itself forbids the browser whatever else there might be.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping

from nbformat import NotebookNode

from course_utils.teaching.grading.answers import nbgrader_of, split_hidden
from course_utils.teaching.grading.results import Graded

# Characters of one output, of one picture and of all that is shown.
SHOWN, PICTURE, PAGE = 20_000, 3_000_000, 20_000_000
PICTURES = {"image/png", "image/jpeg"}
# Shorter lines of a hidden test, such as `else:`, tell nothing.
HIDDEN_LINE = 8
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; line-height: 1.4 }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .6em; margin: .3em 0; background: #f4f4f4 }}
pre.text {{ background: none; font-family: inherit }}
pre.error {{ background: #fdeaea }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2em .8em; text-align: left; border-bottom: 1px solid #ccc }}
img {{ max-width: 100% }} .full {{ color: #1b6e2e }} .lost {{ color: #a11818 }}
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
    parts = [f"<p><strong>{row.total:g} of {row.of:g} points</strong></p>"]
    if row.happened:
        parts.append(f'<p class="lost">What happened: {_text(row.happened, hidden)}</p>')
    if row.review:
        parts.append(f'<p class="lost">Your teacher is asked to look at this one: {_text(row.review)}</p>')
    errors = {nbgrader_of(cell).get("grade_id"): first_error(cell) for cell in cells if _is_test(cell)}
    table = []
    for name, (points, most) in row.points.items():
        full = points == most
        texts = (name, f"{points:g} of {most:g}", errors.get(name) or ("" if full else "not reached"))
        columns = "".join(f"<td>{_text(text, hidden)}</td>" for text in texts)
        table.append(f'<tr class="{"full" if full else "lost"}">{columns}</tr>')
    parts.append(f"<table><tr><th>test</th><th>points</th><th>output</th></tr>{''.join(table)}</table>")
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


def first_error(cell: Mapping) -> str:
    """Return the first error among a cell's outputs; "" if there was none."""
    for output in cell.get("outputs", []):
        if output.get("output_type") == "error":
            return f"{output.get('ename')}: {output.get('evalue')}"
    return ""


class _Hidden:
    """The lines of hidden tests that a notebook was run with, and what stands on the page instead."""

    def __init__(self, cells: Iterable[Mapping]):
        split = [split_hidden(cell.source) for cell in cells if _is_test(cell)]
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
        return f'<pre class="text">{_text(cell.source)}</pre>'
    outputs = cell.get("outputs", [])
    source = split_hidden(cell.source)[0] if _is_test(cell) else cell.source
    shown = "".join(_output(output, hidden, of_test=_is_test(cell)) for output in outputs)
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


def _is_test(cell: Mapping) -> bool:
    return bool(nbgrader_of(cell).get("grade"))


def _joined(text: object, between: str = "") -> str:
    return text if isinstance(text, str) else between.join(str(part) for part in text)


def _text(text: object, hidden: _Hidden | None = None) -> str:
    """Return text that HTML shows as it is, without a terminal's colours, and not endlessly long."""
    text = str(text)
    more = len(text) - SHOWN
    text = COLOURS.sub("", text[: 10 * SHOWN].encode("utf-8", "replace").decode())
    text = "".join(c for c in text if c in "\n\t" or c.isprintable() or c == "\xa0")
    if hidden is not None:
        # Before the text is cut, and a little beyond, so that no line goes unseen for being cut in two.
        text = hidden.left_out(text[: SHOWN + max(map(len, hidden.lines), default=0)])
    if more > 0:
        text = f"{text[:SHOWN]}\n... and {more} characters more"
    return html.escape(text)
