"""What does a student read about a graded notebook? One page that runs no script and loads nothing.

Everything a submission wrote is text here: HTML, JavaScript and SVG among its outputs are left out, pictures
are shown if they are PNG or JPEG, and the page itself forbids the browser whatever else there might be.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Mapping

from nbformat import NotebookNode

# Characters of one output, bytes of one picture and of all that are shown.
SHOWN, PICTURE_BYTES, PAGE_BYTES = 20_000, 2_000_000, 20_000_000
PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
FURTHER_TESTS = "# (further tests, which are not shown)"
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


def feedback_page(
    title: str,
    points: Mapping[str, tuple[float, float]],
    notebook: NotebookNode | None,
    *,
    happened: str,
    protection: str,
    review: str = "",
) -> str:
    """Return an HTML page with the points, what went wrong, and the notebook as it was executed.

    Lines of hidden tests are left out, of the tests themselves and of whatever a cell printed.

    Args:
        title: The student and the lesson.
        points: What `exercises.marks` gave.
        notebook: With its outputs; None if nothing was executed.
        happened: What kept the notebook from running to its end, and other notes; may be empty.
        protection: What the submission was shut in by, in words.
        review: Which cells a person should look at, and why; may be empty.
    """
    cells = notebook.cells if notebook is not None else []
    hidden = _Hidden(cells)
    got, of = sum(one[0] for one in points.values()), sum(one[1] for one in points.values())
    parts = [f"<p><strong>{got:g} of {of:g} points</strong></p>"]
    if happened:
        parts.append(f'<p class="lost">What happened: {_text(happened, hidden)}</p>')
    if review:
        parts.append(f'<p class="lost">Your teacher is asked to look at this one: {_text(review)}</p>')
    errors = {_grade_id(cell): _first_error(cell) for cell in cells if _grade_id(cell)}
    rows = []
    for name, (own, most) in points.items():
        told = errors.get(name) or ("" if own == most else "not reached")
        kind = "full" if own == most else "lost"
        cells_of_row = "".join(
            f"<td>{_text(text, hidden)}</td>" for text in (name, f"{own:g} of {most:g}", told)
        )
        rows.append(f'<tr class="{kind}">{cells_of_row}</tr>')
    parts.append(f"<table><tr><th>test</th><th>points</th><th>what it says</th></tr>{''.join(rows)}</table>")
    room = PAGE_BYTES
    for number, cell in enumerate(cells, 1):
        shown = _cell(cell, number, hidden)
        room -= len(shown)
        if room < 0:
            parts.append("<p>The rest is left out: the page would be too long.</p>")
            break
        parts.append(shown)
    parts.append(f"<hr><p>Graded in a kernel that was shut in: {_text(protection)}.</p>")
    return _PAGE.format(title=_text(title), body="\n".join(parts))


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


def split_hidden(source: str) -> tuple[str, list[str]]:
    """Return what a student is shown of a test cell, and the lines that are hidden."""
    shown, hidden, inside = [], [], False
    for line in source.splitlines():
        if not inside and line.strip().startswith("### BEGIN HIDDEN TESTS"):
            shown.append(FURTHER_TESTS)
            inside = True
        elif inside and line.strip().startswith("### END HIDDEN TESTS"):
            inside = False
        else:
            (hidden if inside else shown).append(line)
    return "\n".join(shown), hidden


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
        told = f"{output.get('ename')}: {output.get('evalue')}"
        return f'<pre class="error">{_text(told if of_test or not lines else lines, hidden)}</pre>'
    data = output.get("data", {})
    for name, start in PICTURES.items():
        if name in data:
            return _picture(name, start, _joined(data[name]))
    if "text/plain" in data:
        return f"<pre>{_text(_joined(data['text/plain']), hidden)}</pre>"
    return "<p>(an output that is not shown here)</p>" if data else ""


def _picture(name: str, start: bytes, encoded: str) -> str:
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content.startswith(start) or len(content) > PICTURE_BYTES:
        return "<p>(a picture that is damaged or too large)</p>"
    encoded = base64.b64encode(content).decode()
    return f'<img alt="a picture that the cell made" src="data:{name};base64,{encoded}">'


def _first_error(cell: Mapping) -> str:
    for output in cell.get("outputs", []):
        if output.get("output_type") == "error":
            return f"{output.get('ename')}: {output.get('evalue')}"
    return ""


def _grade_id(cell: Mapping) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "") if _is_test(cell) else ""


def _is_test(cell: Mapping) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


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
