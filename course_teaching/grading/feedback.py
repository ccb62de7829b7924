"""Pages of feedback for students on their graded notebooks.

A page runs no script and loads nothing: all text is escaped, pictures are shown if they are PNG or JPEG, and
other outputs are left out. So are the lines of hidden tests, wherever they were printed.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping

from nbformat import NotebookNode

from course_teaching.exercises import is_test, nbgrader_of, title_above
from course_teaching.grading.answers import split_hidden
from course_teaching.grading.results import Graded

SHOWN = 20_000  # characters of a cell or an output
HIDDEN_LINE = 8  # shorter lines of a hidden test, such as `else:`, give nothing away
HINT = "→ "  # how a check begins a hint
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; line-height: 1.5 }}
pre, td {{ white-space: pre-wrap; overflow-wrap: anywhere }}
pre {{ padding: .6em; margin: .3em 0; border-left: .2em solid #888 }}
.own {{ border-left: .4em solid #36c }} .error {{ border-left: .4em solid #c33 }}
td, th {{ padding: .3em .8em; text-align: left; vertical-align: top; border-bottom: 1px solid #888 }}
table {{ border-collapse: collapse; margin: 1em 0 }} img {{ max-width: 100%; background: #fff }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def feedback_page(row: Graded, notebook: NotebookNode | None, isolation: str) -> str:
    """Return an HTML page with the points, the errors and hints, and the executed notebook."""
    cells = notebook.cells if notebook is not None else []
    hidden, parts = _Hidden(cells), [_marks(row)]
    if row.happened:
        parts.append(f"<p>What happened: {_text(row.happened, hidden)}</p>")
    if row.review:
        parts.append(f"<p>Your teacher should look at this notebook: {_text(row.review)}</p>")
    parts += [_cell(cell, number, hidden) for number, cell in enumerate(cells, 1)]
    parts.append(f"<hr><p>Graded in a kernel confined by: {_text(isolation)}.</p>")
    return _PAGE.format(title=_text(row.lesson or "unknown lesson"), body="\n".join(parts))


def _marks(row: Graded) -> str:
    """Return the top of a page: the points of the tests, and those given by hand."""
    total = f"{row.shown_total or 'none'} of {row.max_points:g} points"
    if row.unmarked:
        total += f": your teacher has not marked {' and '.join(one.title for one in row.unmarked)} yet"
    lines = []
    for name, (points, most) in row.points.items():
        title, hint = row.exercises.get(name, (name, ""))
        lines.append((title, f"{points:g} of {most:g}", hint))
    for one in row.questions.values():
        level = "not marked yet" if one.level is None else f"{one.level} of {one.of:g}"
        lines.append((one.title, level, one.comment))
    cells = ("".join(f"<td>{_text(text)}</td>" for text in line) for line in lines)
    heads = "<tr><th>exercise</th><th>points</th><th>comment</th></tr>"
    table = f"<table>{heads}{''.join(f'<tr>{line}</tr>' for line in cells)}</table>" if lines else ""
    title = _text(f"{row.student}: {row.lesson or 'unknown lesson'}")
    return f"<h1>{title}</h1>\n<p><strong>{_text(total)}</strong></p>\n{table}"


def exercises_of(notebook: NotebookNode) -> dict[str, tuple[str, str]]:
    """Return the title of each test's exercise and, if it failed, the hint of its check or the error."""
    hidden, exercises, hints = _Hidden(notebook.cells), {}, []
    for place, cell in enumerate(notebook.cells):
        if is_test(cell):
            error = first_error(cell)
            error = "A test that is not shown failed." if error.strip() == "AssertionError:" else error
            hint = (
                "\n".join(hints) or error if error else "" if cell.get("execution_count") else "not reached"
            )
            exercises[nbgrader_of(cell)["grade_id"]] = (title_above(notebook, place), _plain(hint, hidden))
            hints = []
        elif nbgrader_of(cell).get("locked"):
            shown = "".join(_joined(one.get("text", "")) for one in cell.get("outputs", []))
            hints += [line.removeprefix(HINT) for line in shown.splitlines() if line.startswith(HINT)]
    return exercises


def first_error(cell: Mapping) -> str:
    """Return the first error among a cell's outputs; "" if there was none."""
    errors = (one for one in cell.get("outputs", []) if one.get("output_type") == "error")
    return next((f"{one.get('ename')}: {one.get('evalue')}" for one in errors), "")


def first_error_of_answers(notebook: NotebookNode) -> str:
    """Return the first error of a cell that is not a test, on one line; "" if there was none."""
    hidden = _Hidden(notebook.cells)  # removed before the text is shortened
    for number, cell in enumerate(notebook.cells, 1):
        if not is_test(cell) and (error := first_error(cell)):
            return f"error in cell {number}: {' '.join(_plain(error, hidden).split())[:150]}"
    return ""


class _Hidden:
    """The lines of a notebook's hidden tests, in every spelling of Python and JSON."""

    def __init__(self, cells: Iterable[Mapping]):
        split = [split_hidden(cell.source) for cell in cells if is_test(cell)]
        seen = {line.strip() for shown, _ in split for line in shown.splitlines()}
        lines = {line.strip() for _, lines in split for line in lines} - seen
        # In[-1] shows a cell within quotes.
        spelled = {text for line in lines for text in (line, repr(line)[1:-1], json.dumps(line)[1:-1])}
        spelled |= {text.replace("'", "\\'") for text in spelled}
        self.lines = sorted((text for text in spelled if len(text) >= HIDDEN_LINE), key=len, reverse=True)

    def left_out(self, text: str) -> str:
        """Return a text without these lines."""
        for line in self.lines:
            text = text.replace(line, "(a test that is not shown)")
        return text


def _cell(cell: NotebookNode, number: int, hidden: _Hidden) -> str:
    own = "own" if nbgrader_of(cell).get("solution") else ""
    source = split_hidden(cell.source)[0] if is_test(cell) else cell.source
    shown = "".join(_output(output, hidden, of_test=is_test(cell)) for output in cell.get("outputs", []))
    return f'<small>cell {number}</small><pre class="{own}">{_text(source)}</pre>{shown}'


def _output(output: Mapping, hidden: _Hidden, *, of_test: bool) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return f"<pre>{_text(_joined(output.get('text', '')), hidden)}</pre>"
    if kind == "error":
        # The lines around a test's error would show hidden tests.
        lines = _joined(output.get("traceback", []), "\n")
        lines = f"{output.get('ename')}: {output.get('evalue')}" if of_test or not lines else lines
        return f'<pre class="error">{_text(lines, hidden)}</pre>'
    data = output.get("data", {})
    for kind in {"image/png", "image/jpeg"} & data.keys():
        encoded = html.escape(_joined(data[kind]))
        return f'<img alt="a picture that the cell made" src="data:{kind};base64,{encoded}">'
    if "text/plain" in data:
        return f"<pre>{_text(_joined(data['text/plain']), hidden)}</pre>"
    return "<p>(an output that is not shown here)</p>" if data else ""


def _joined(text: object, between: str = "") -> str:
    return text if isinstance(text, str) else between.join(str(part) for part in text)


def _text(text: object, hidden: _Hidden | None = None) -> str:
    """Return text escaped for HTML, without a terminal's colours, and cut to a length."""
    return html.escape(_plain(text, hidden))


def _plain(text: object, hidden: _Hidden | None = None) -> str:
    text = str(text)
    more = len(text) - SHOWN
    text = COLOURS.sub("", text[: 10 * SHOWN].encode("utf-8", "replace").decode())
    text = "".join(c for c in text if c in "\n\t" or c.isprintable() or c == "\xa0")
    if hidden is not None:
        # Before the text is cut, and a little beyond, so that no line escapes by being cut in two.
        text = hidden.left_out(text[: SHOWN + max(map(len, hidden.lines), default=0)])
    return f"{text[:SHOWN]}\n... and {more} characters more" if more > 0 else text
