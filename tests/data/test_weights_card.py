"""The accuracies in the weights' model card are the means of `results.csv`."""

import re

import pandas as pd
import pytest

from course_utils.settings import shipped_data_folder

FOLDER = shipped_data_folder() / "weights"
NETWORKS = {
    "**these weights**": ("these weights", "frozen"),
    "teacher, 224 px": ("teacher-224", "frozen"),
    "teacher, 96 px": ("teacher-96", "frozen"),
    "provisional weights": ("provisional", "frozen"),
    "random weights": ("random", "frozen"),
    "**fine-tuned from these weights**": ("these weights", "fine-tuned"),
    "from scratch": ("random", "from scratch"),
}


def test_every_cell_is_the_mean_of_its_draws():
    means = pd.read_csv(FOLDER / "results.csv").replace({"task": {"clip art": "raw clip art"}})
    means = means.groupby(["network", "method", "task", "images_per_class"]).accuracy.mean().to_dict()
    tables = re.findall(r"(?:^\|.*\n)+", (FOLDER / "MODEL_CARD.md").read_text("utf-8"), re.MULTILINE)
    labels, checked = [], 0
    for table in [table for table in tables if "course clip art 20" in table]:
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        ]
        for label, *cells in rows:
            labels.append(label)
            for column, cell in zip(head[1:], cells, strict=True):
                task, count = column.rsplit(" ", 1)
                mean = means.get((*NETWORKS[label], task, int(count)))
                assert (mean is None) == (cell == "–"), (label, column)
                if mean is not None:
                    assert float(re.match(r"[\d.]+", cell)[0]) == pytest.approx(mean, abs=0.051), (
                        label,
                        column,
                    )
                    checked += 1
    assert labels == list(NETWORKS) and checked >= 60
