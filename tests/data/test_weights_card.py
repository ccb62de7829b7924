"""The figures in the weights' model card are those of `results.csv`, draw for draw."""

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
TASKS = {"raw clip art": "clip art"}


def rows_of_tables():
    """Return the rows of the card's two tables of accuracies, each with its table's head."""
    text = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    for table in [table for table in tables if "course clip art 20" in table]:
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        yield from ((rows[0], row) for row in rows[2:])


def test_every_cell_is_the_mean_and_deviation_of_its_draws():
    results, checked = pd.read_csv(FOLDER / "results.csv"), 0
    assert [row[0] for _, row in rows_of_tables()] == list(NETWORKS)
    for head, (label, *cells) in rows_of_tables():
        for column, cell in zip(head[1:], cells, strict=True):
            network, method = NETWORKS[label]
            task, count = column.rsplit(" ", 1)
            draws = results.accuracy[
                (results.network == network)
                & (results.method == method)
                & (results.task == TASKS.get(task, task))
                & (results.images_per_class == int(count))
            ]
            if cell == "–":
                assert draws.empty, (label, column)
                continue
            mean, deviation = re.match(r"([\d.]+)(?: ± ([\d.]+))?", cell).groups()
            assert float(mean) == pytest.approx(draws.mean(), abs=0.051), (label, column)
            if deviation:
                assert float(deviation) == pytest.approx(draws.std(), abs=0.051), (label, column)
            named = re.search(r"\((\d)\)", cell)
            assert len(draws) == int(named[1] if named else 5), (label, column)
            checked += 1
    assert checked >= 60
