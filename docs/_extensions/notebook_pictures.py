"""Give the pictures of a lesson the alternative text that is stored with them; complain if there is none.

A browser loads them when a reader comes near them.
"""

import hashlib
import json
from binascii import a2b_base64
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def stored_texts(notebook: dict) -> dict[str, str]:
    """Return the alternative text of each picture by its SHA-256, which myst-nb names the file after."""
    texts = {}
    for output in (output for cell in notebook["cells"] for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            picture = "".join(output["data"]["image/png"])
            about = output["metadata"].get("image/png", {})
            texts[hashlib.sha256(a2b_base64(picture)).hexdigest()] = about.get("alt", "")
    return texts


def describe(app: Sphinx, document: nodes.document) -> None:
    source = Path(app.env.doc2path(app.env.docname))
    is_notebook = source.suffix == ".ipynb"
    texts = stored_texts(json.loads(source.read_text(encoding="utf-8"))) if is_notebook else {}
    for image in document.findall(nodes.image):
        if text := texts.get(Path(image["uri"]).stem):
            image["alt"] = text
            image["loading"] = "lazy"
        if not image.get("alt"):
            logger.warning("a picture without an alternative text", location=image)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", describe)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
