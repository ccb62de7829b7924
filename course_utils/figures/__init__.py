"""Every picture of the course: takes results, returns a figure that says in words what it shows.

Each function returns a `DescribedFigure`. As the last line of a cell it is shown as a PNG picture whose
alternative text, for those who listen to a notebook, stands in the output's metadata; outside a notebook,
`figure.savefig("name.png")` works as for any matplotlib figure.
"""

from course_utils.figures.comparisons import accuracy_over_time, transfer_curves
from course_utils.figures.curves import learning_curves, loss_curves, lr_range, rates_over_steps
from course_utils.figures.described import DescribedFigure
from course_utils.figures.growing import growth
from course_utils.figures.networks import residual_block
from course_utils.figures.pictures import (
    class_counts,
    heatmaps,
    image_grid,
    mistakes,
    value_histogram,
)
from course_utils.figures.results import (
    bars,
    confusion,
    costs,
    embedding,
    interval_plot,
    reliability,
)
from course_utils.figures.texts import token_heatmap

__all__ = [
    "DescribedFigure",
    "accuracy_over_time",
    "bars",
    "class_counts",
    "confusion",
    "costs",
    "embedding",
    "growth",
    "heatmaps",
    "image_grid",
    "interval_plot",
    "learning_curves",
    "loss_curves",
    "lr_range",
    "mistakes",
    "rates_over_steps",
    "reliability",
    "residual_block",
    "token_heatmap",
    "transfer_curves",
    "value_histogram",
]
