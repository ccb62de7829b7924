"""Leave out what a lesson hands to the runner: numbers for a program, which no page can show."""

import json

from sphinx.application import Sphinx

from course_utils.notebook.records import METRICS_TYPE


def without_metrics(notebook: dict) -> dict:
    """Return a notebook without the outputs that only `record` makes."""
    for cell in notebook["cells"]:
        if "outputs" in cell:
            cell["outputs"] = [out for out in cell["outputs"] if METRICS_TYPE not in out.get("data", {})]
    return notebook


def leave_out(app: Sphinx, page: str, source: list[str]) -> None:
    if app.env.doc2path(page).suffix == ".ipynb":
        source[0] = json.dumps(without_metrics(json.loads(source[0])))


def setup(app: Sphinx) -> dict:
    app.connect("source-read", leave_out)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
