"""Record a lesson's results in the output of a cell, where a runner finds them."""

METRICS_TYPE = "application/vnd.transfer-learning-course.metrics+json"


def record(**metrics: float) -> None:
    """Store results, for example val_accuracy=0.84, in the cell's output, where the runner finds them."""
    from IPython.display import display

    numbers = {name: float(value) for name, value in metrics.items()}
    display({METRICS_TYPE: numbers, "text/plain": f"recorded: {', '.join(numbers)}"}, raw=True)
