"""Every picture of the course: takes results, returns a figure that says in words what it shows.

Each function returns a `DescribedFigure`. As the last line of a cell it is shown as a PNG picture whose
alternative text, for those who listen to a notebook, stands in the output's metadata; outside a notebook,
`figure.savefig("name.png")` works as for any matplotlib figure.
"""

from course_utils.figures.described import DescribedFigure
from course_utils.figures.networks import residual_block
from course_utils.figures.pictures import class_counts, image_grid, mistakes, value_histogram
from course_utils.figures.results import accuracies, bars, confusion, learning_curves

__all__ = [
    "DescribedFigure",
    "accuracies",
    "bars",
    "class_counts",
    "confusion",
    "image_grid",
    "learning_curves",
    "mistakes",
    "residual_block",
    "value_histogram",
]
