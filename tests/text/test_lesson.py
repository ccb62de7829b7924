"""The stored table of lesson 10 shows what its text says."""

import pandas as pd
import pytest

from course_utils.evaluation.comparison import aggregate_runs
from course_utils.settings import REPOSITORY_FOLDER

RESULTS = REPOSITORY_FOLDER / "benchmarks" / "results"


@pytest.mark.parametrize("domain", ["films", "products"])
def test_the_stored_grid_shows_that_transfer_pays_with_a_hundred_texts_of_each_class(domain):
    grid = pd.read_csv(RESULTS / "text_grid.csv", comment="#", dtype={"asked": str, "right": str})
    grid = grid[grid.dataset == domain]
    assert all(len(right) == 400 for right in grid.right)
    shares = [right.count("1") / 400 for right in grid.right]
    assert shares == pytest.approx(grid.test_accuracy.tolist(), abs=1e-4)
    table = aggregate_runs(grid[grid.asked == "100"]).set_index("start")
    frozen, scratch = table.loc["frozen"], table.loc["from scratch"]
    assert frozen.seeds >= 3 and scratch.seeds >= 3
    assert frozen.low > scratch.high
