"""Transfer for texts, with few and many reviews, two targets and three starts: the table of lesson 10.

    python benchmarks/text_grid.py [--steps 60] [--seeds 0 1 2] [--targets topic sentiment]

Every run is one row of `results/text_grid.csv`: the accuracy on all test reviews and, where the target is
their sentiment, how many of each kind were right. A run that is there already is not made again, so the work
can be stopped at any time. All sides get the same architecture, texts and steps.
"""

import argparse
import itertools

import pandas as pd
from transfer_grid import add_rows, runs_done

from course_utils.settings import Settings
from course_utils.text import INIT_STRATEGIES, read_reviews, train_text_from

COUNTS = {"topic": (5, 10, None), "sentiment": (10, 50, None)}
KINDS = [f"{kind}_correct" for kind in ("plain", "negation", "irony", "mixed")]


def by_kind(result, kinds: pd.Series) -> dict[str, int]:
    """Return how many test reviews of each kind were classified correctly."""
    right = pd.Series((result.predictions == result.labels).numpy(), index=kinds)
    return {column: int(right[column.removesuffix("_correct")].sum()) for column in KINDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--targets", nargs="+", choices=list(COUNTS), default=list(COUNTS))
    options = parser.parse_args()
    command = f"python benchmarks/text_grid.py --steps {options.steps}"
    done = runs_done("text_grid.csv", "dataset", "asked", "start", "seed")
    reviews = read_reviews()
    kinds = reviews[reviews.split == "test"].kind
    for target, seed in itertools.product(options.targets, options.seeds):
        for count, strategy in itertools.product(COUNTS[target], INIT_STRATEGIES):
            asked = "all" if count is None else str(count)
            if (target, asked, strategy.name, seed) in done:
                continue
            settings = Settings(images_per_class=count, seed=seed)
            run, result = train_text_from(strategy, settings, options.steps, target)
            row = {name: value for name, value in run._asdict().items() if name not in ("history", "seconds")}
            own = by_kind(result, kinds) if target == "sentiment" else dict.fromkeys(KINDS)
            row = {"asked": asked, "steps": options.steps, **row, **own}
            add_rows("text_grid.csv", [row], command)
            print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
