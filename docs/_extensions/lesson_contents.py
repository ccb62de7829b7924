"""List a lesson's exercises and quiz below it in the side bar, so that all three are in one list."""

import json
import re

from nbformat.v4 import new_markdown_cell
from sphinx.application import Sphinx

LESSON = re.compile(r"notebooks/(\d\d_\w+)")


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    lesson = LESSON.fullmatch(page)
    if not lesson:
        return
    below = [f"notebooks/exercises/{lesson[1]}", f"docs/quizzes/{lesson[1]}"]
    names = "\n".join(f"/{name}" for name in below if name in app.env.found_docs)
    notebook = json.loads(source[0])
    notebook["cells"].append(new_markdown_cell(f"```{{toctree}}\n:hidden:\n\n{names}\n```"))
    source[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict:
    app.connect("source-read", add_contents)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
