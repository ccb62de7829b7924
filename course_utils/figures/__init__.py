"""Figures of all lessons: from results to a `DescribedFigure`, whose description says what it shows.

On the last line of a cell it is shown as a PNG picture, with the alternative text for screen readers in the
output's metadata. Outside a notebook, `figure.savefig("name.png")` works as for any matplotlib figure. Some
functions take a `description`, which is the alternative text.
"""

from course_utils.figures.curves import (
    accuracy_over_time,
    fine_tuning_gain,
    learning_curves,
    lr_range,
    rates_over_steps,
    recalls_over_epochs,
    shift_curves,
    transfer_curves,
)
from course_utils.figures.described import diagram
from course_utils.figures.images import (
    before_and_after,
    heatmaps,
    image_grid,
    search_results,
)
from course_utils.figures.results import (
    bars,
    class_counts,
    confusion,
    costs,
    embedding,
    gains_over,
    interval_plot,
    reliability,
    score_histograms,
    scores_and_results,
    spreads,
)

__all__ = [
    "accuracy_over_time",
    "bars",
    "before_and_after",
    "class_counts",
    "confusion",
    "costs",
    "diagram",
    "embedding",
    "fine_tuning_gain",
    "gains_over",
    "heatmaps",
    "image_grid",
    "interval_plot",
    "learning_curves",
    "lr_range",
    "rates_over_steps",
    "recalls_over_epochs",
    "reliability",
    "score_histograms",
    "scores_and_results",
    "search_results",
    "shift_curves",
    "spreads",
    "transfer_curves",
]
