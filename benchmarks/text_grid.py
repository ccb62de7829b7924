"""Transfer for texts, with few and many labels, two domains and three starts: the table of lesson 14.

    OMP_NUM_THREADS=1 python benchmarks/text_grid.py [--seeds 0 1 2 3 4] [--domains films products]

Every run is one row of `results/text_grid.csv`: the accuracy on all test texts, and for each of them, in the
order of the table, whether it was right (1) or wrong (0). A run that is there already is not made again, so
the work can be stopped at any time. All sides get the same architecture, texts and steps, and AdamW with the
same weight decay; `text_rates.py` chose their learning rates.
"""

import argparse
import itertools

from storing import add_rows, right_or_wrong, runs_done
from tuning import WEIGHT_DECAY

from course_utils.settings import Settings
from course_utils.text.comparison import INIT_STRATEGIES, train_text_from
from course_utils.text.corpora import DOMAINS

STEPS = 150
COUNTS = (10, 100, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--domains", nargs="+", choices=list(DOMAINS), default=["films", "products"])
    options = parser.parse_args()
    command = "OMP_NUM_THREADS=1 python benchmarks/text_grid.py"
    done = runs_done("text_grid.csv", "dataset", "asked", "start", "seed")
    runs = itertools.product(options.seeds, options.domains, COUNTS, INIT_STRATEGIES)
    for seed, domain, count, strategy in runs:
        asked = "all" if count is None else str(count)
        if (domain, asked, strategy.name, seed) in done:
            continue
        settings = Settings(images_per_class=count, seed=seed)
        strategy = strategy._replace(weight_decay=WEIGHT_DECAY)
        run, result = train_text_from(strategy, settings, STEPS, domain)
        row = {name: value for name, value in run._asdict().items() if name not in ("history", "seconds")}
        print(*row.values(), flush=True)
        row = {"asked": asked, "steps": STEPS, **row, "right": right_or_wrong(result)}
        add_rows("text_grid.csv", [row], command)


if __name__ == "__main__":
    main()
