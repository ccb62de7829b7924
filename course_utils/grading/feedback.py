"""What does a student read about a graded notebook? One page that runs no script and loads nothing.

Everything a submission wrote is text here: HTML, JavaScript and SVG among its outputs are left out, pictures
are shown if they are PNG or JPEG, and the page itself forbids the browser whatever else there might be.
"""

import base64
import binascii
import html
import re
from collections.abc import Mapping

from nbformat import NotebookNode

# Characters of one output, bytes of one picture and of all that are shown.
SHOWN, PICTURE_BYTES, PAGE_BYTES = 20_000, 2_000_000, 20_000_000
PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
HIDDEN = re.compile(r"[ \t]*### BEGIN HIDDEN TESTS.*?(### END HIDDEN TESTS[^\n]*\n?|\Z)", re.DOTALL)
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
) -> str:
    """Return an HTML page with the points, what went wrong, and the notebook as it was executed.

    Args:
        title: The student and the lesson.
        points: What `exercises.marks` gave.
        notebook: With its outputs; None if nothing was executed.
        happened: What kept the notebook from running to its end, and other notes; may be empty.
        protection: What the submission was shut in by, in words.
    """
    got, of = sum(one[0] for one in points.values()), sum(one[1] for one in points.values())
    parts = [f"<p><strong>{got:g} of {of:g} points</strong></p>"]
    if happened:
        parts.append(f'<p class="lost">What happened: {_text(happened)}</p>')
    cells = notebook.cells if notebook is not None else []
    errors = {_grade_id(cell): _first_error(cell) for cell in cells if _grade_id(cell)}
    rows = []
    for name, (own, most) in points.items():
        told = errors.get(name) or ("" if own == most else "not reached")
        kind = "full" if own == most else "lost"
        cells_of_row = "".join(f"<td>{_text(text)}</td>" for text in (name, f"{own:g} of {most:g}", told))
        rows.append(f'<tr class="{kind}">{cells_of_row}</tr>')
    parts.append(f"<table><tr><th>test</th><th>points</th><th>what it says</th></tr>{''.join(rows)}</table>")
    room = PAGE_BYTES
    for cell in cells:
        shown = _cell(cell)
        room -= len(shown)
        if room < 0:
            parts.append("<p>The rest is left out: the page would be too long.</p>")
            break
        parts.append(shown)
    parts.append(f"<hr><p>Graded in a kernel that was shut in: {_text(protection)}.</p>")
    return _PAGE.format(title=_text(title), body="\n".join(parts))


def _cell(cell: NotebookNode) -> str:
    if cell.cell_type != "code":
        return f'<pre class="text">{_text(cell.source)}</pre>'
    outputs = cell.get("outputs", [])
    source = HIDDEN.sub("# (further tests, which are not shown)\n", cell.source)
    shown = "".join(_output(output, of_test=_is_test(cell)) for output in outputs)
    return f"<pre><code>{_text(source)}</code></pre>{shown}"


def _output(output: Mapping, *, of_test: bool) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return f"<pre>{_text(_joined(output.get('text', '')))}</pre>"
    if kind == "error":
        # The lines around the error of a test would show tests that are hidden.
        lines = _joined(output.get("traceback", []), "\n")
        told = f"{output.get('ename')}: {output.get('evalue')}"
        return f'<pre class="error">{_text(told if of_test or not lines else lines)}</pre>'
    data = output.get("data", {})
    for name, start in PICTURES.items():
        if name in data:
            return _picture(name, start, _joined(data[name]))
    if "text/plain" in data:
        return f"<pre>{_text(_joined(data['text/plain']))}</pre>"
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


def _text(text: object) -> str:
    """Return text that HTML shows as it is, without a terminal's colours, and not endlessly long."""
    text = COLOURS.sub("", str(text).encode("utf-8", "replace").decode())
    if len(text) > SHOWN:
        text = f"{text[:SHOWN]}\n... and {len(text) - SHOWN} characters more"
    return html.escape("".join(c for c in text if c in "\n\t" or c.isprintable() or c == "\xa0"))
