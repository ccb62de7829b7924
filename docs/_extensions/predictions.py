"""Fold the output that answers a prediction, so that a reader can make one before looking."""

import json
import re

from sphinx.application import Sphinx

PREDICTION = re.compile(r"\*\*Predict:\*\*|\*\*What do you expect")


def fold_answers(notebook: dict) -> dict:
    """Return a notebook in which the first output after each prediction, before any other text, is folded."""
    waiting = False
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            waiting = bool(PREDICTION.search("".join(cell["source"])))
        elif waiting and cell.get("outputs"):
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-output"]
            waiting = False
    return notebook


def fold(app: Sphinx, page: str, source: list[str]) -> None:
    if app.env.doc2path(page).suffix == ".ipynb":
        source[0] = json.dumps(fold_answers(json.loads(source[0])))


def setup(app: Sphinx) -> dict:
    app.connect("source-read", fold, priority=600)  # after the numbers for the runner are left out
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
