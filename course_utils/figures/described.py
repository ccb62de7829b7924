"""What every picture of the course is made of: a figure that says in words what it shows, and colours.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers can tell
apart; matrices use viridis, whose brightness rises evenly.
"""

import base64
import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"

# For many classes: a colour and a marker for each. Their numbers share no factor, so that the pair comes
# round only after 56 classes. Yellow, the eighth colour, is too pale on white.
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MARKERS = ("o", "^", "s", "X", "v", "D", "P", "<")


def literal(name: object) -> str:
    r"""Return a name for a label of a figure, in which matplotlib reads no formula.

    It takes what stands between two dollars for mathematics, and refuses a class that is called `$\frac{$`.
    """
    return str(name).replace("$", r"\$")


class DescribedFigure(Figure):
    """A matplotlib figure with an alternative text, which notebooks show by themselves."""

    def __init__(self, description: str, **options: object):
        super().__init__(layout="constrained", **options)
        self.description = " ".join(description.split())
        FigureCanvasAgg(self)

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        # IPython asks an object for its pictures by this name; the second part is the metadata.
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=100)
        data = {
            "image/png": base64.b64encode(png.getvalue()).decode(),
            "text/plain": f"<Figure: {self.description}>",
        }
        return data, {"image/png": {"alt": self.description}}
