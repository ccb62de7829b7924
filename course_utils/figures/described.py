"""Figures and diagrams with an alternative text, and the colours that all figures share.

The first seven colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind
readers can tell apart; matrices use viridis, whose brightness rises evenly.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"

# Ten colours and eleven markers for many classes, so that no pair repeats before the 111th class. Okabe and
# Ito's eighth colour, yellow, is too pale on white. Violet, brown and navy are added: of the darker colours,
# those that lie farthest from the seven and from each other for every kind of colour vision.
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#8800EE", "#662200", "#002288")
MARKERS = ("o", "^", "s", "X", "v", "D", "P", "<", "*", ">", "p")
DATASET_NAMES = {"clipart": "Drawings", "fashion_mnist_sample": "Clothes"}
"""What the course calls the datasets that ship."""


@dataclass
class Diagram:
    """A drawing that is stored in the package, with its alternative text; notebooks show both."""

    png: bytes
    description: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        # IPython's name for the method that returns an object's pictures and their metadata.
        text = f"<Figure: {self.description}>"
        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": text}
        return data, {"image/png": {"alt": self.description}}


def diagram(name: str) -> Diagram:
    """Return a drawing of the folder `figures/diagrams`: blue is unchanged, orange is trained or new.

    Each is stored as a drawing (SVG), whose description is the alternative text, and as a picture (PNG) made
    from it, because JupyterLab shows neither an SVG in a notebook that it does not trust, nor its alternative
    text.
    """
    drawing = Path(__file__).parent / "diagrams" / f"{name}.svg"
    description = ElementTree.parse(drawing).findtext("{http://www.w3.org/2000/svg}desc")
    return Diagram(drawing.with_suffix(".png").read_bytes(), " ".join(description.split()))


class DescribedFigure(Figure):
    """A matplotlib figure with an alternative text; notebooks show both."""

    def __init__(self, description: str, **options: object):
        super().__init__(layout="constrained", **options)
        self.description = " ".join(description.split())
        FigureCanvasAgg(self)

    def draw(self, renderer) -> None:
        """Draw all texts as they are: matplotlib would take text between two dollars for a formula."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        with matplotlib.rc_context({"text.parse_math": False}):  # labels of ticks are made only now
            super().draw(renderer)

    def panels(self, titles: Sequence[object], **shared: object) -> Sequence[Axes]:
        """Add a panel with a grid for each title, side by side; `shared` is as for `subplots`."""
        panels = self.subplots(1, len(titles), squeeze=False, **shared)[0]
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title, fontsize=10)
            axes.grid(alpha=0.4)
            axes.set_axisbelow(True)
        return panels

    def legend_below(self, axes: Axes, columns: int) -> None:
        """Add the legend of one panel below all panels."""
        self.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=9)

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=100)
        return Diagram(png.getvalue(), self.description)._repr_mimebundle_()


def in_words(table: pd.DataFrame, form: str) -> str:
    """Return a table as text: `form` is filled in with the index and the columns of each row."""
    return "; ".join(form.format(**row) for row in table.reset_index().to_dict("records"))
