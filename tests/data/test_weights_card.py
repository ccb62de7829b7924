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


def tables() -> list[list[list[str]]]:
    """Return the two tables of accuracies, as rows of cells, with their heads."""
    text = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    rows = [[[cell.strip() for cell in line.strip("|").split("|")] for line in t.splitlines()] for t in found]
    return [table for table in rows if "course clip art 20" in table[0]]


def cells():
    for head, _, *rows in tables():
        for row in rows:
            for column, cell in zip(head[1:], row[1:], strict=True):
                yield row[0], column, cell


def test_the_card_has_a_table_of_frozen_and_one_of_trained_networks():
    assert [[row[0] for row in table[2:]] for table in tables()] == [list(NETWORKS)[:5], list(NETWORKS)[5:]]


def test_every_cell_is_the_mean_and_deviation_of_its_draws():
    results = pd.read_csv(FOLDER / "results.csv")
    checked = 0
    for label, column, cell in cells():
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
