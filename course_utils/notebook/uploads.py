"""A button to upload a picture in a notebook. Lesson 09 builds one by hand."""

import base64
import io
import os
from collections.abc import Callable
from html import escape

import ipywidgets

from course_utils.errors import CourseError
from course_utils.figures.described import DescribedFigure


def upload_button(tell: Callable[[io.BytesIO], DescribedFigure]) -> ipywidgets.VBox:
    """Return a button that uploads a picture from the reader's computer, and a place for the answer.

    Args:
        tell: A function of the open file. The figure that it returns is shown below the button; if it raises
            a `CourseError`, only what failed and what to do.

    Returns:
        The button and the place below it, for the last line of a cell. It does nothing until a reader clicks
        it.
    """
    # The server drops a larger file, and the button with it. Jupyter's limit is 10 MB; `make lab` raises it.
    largest = os.environ.get("COURSE_UPLOAD_MB", "10")
    button = ipywidgets.FileUpload(accept="image/*", description=f"Choose a picture (up to {largest} MB)")
    button.layout.width = "auto"
    answer = ipywidgets.HTML("No picture has been chosen yet.")

    def show(change: dict) -> None:
        files = change["new"]
        if not files:
            return
        # ipywidgets 8 gives a tuple of files, ipywidgets 7 (Colab) a dictionary.
        name, file = (files[-1]["name"], files[-1]) if isinstance(files, tuple) else list(files.items())[-1]
        answer.value = escape(f"Looking at {name} …")
        try:
            answer.value = _as_html(tell(io.BytesIO(bytes(file["content"]))))
        except CourseError as error:
            answer.value = escape(f"{error.failed} {error.do}")

    button.observe(show, names="value")
    return ipywidgets.VBox([button, answer])


def _as_html(figure: DescribedFigure) -> str:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    return f'<img alt="{escape(figure.description)}" src="{source}" style="max-width: 100%">'
