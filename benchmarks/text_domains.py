"""From one domain to another: the matrix of lesson 14, and what one rater reaches.

    python benchmarks/text_domains.py [--seeds 0 1 2]

A head on the frozen encoder is trained on 300 labelled texts of each class from one domain, for ten epochs
and with the learning rate of the comparison, and evaluated on the test texts of all four. Every row of
`results/text_domains.csv` has one run on one test set; those of "one rater" come from the ratings alone.
"""

import argparse

from storing import add_rows

from course_utils.evaluation.metrics import evaluate
from course_utils.settings import Settings, set_seed
from course_utils.text.comparison import INIT_STRATEGIES
from course_utils.text.corpora import DOMAINS, one_rater_accuracy, read_rated_sentences
from course_utils.text.data import load_sentiment
from course_utils.text.encoders import load_tokenizer
from course_utils.training.loop import fit

COMMAND = "python benchmarks/text_domains.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    (frozen,) = (strategy for strategy in INIT_STRATEGIES if strategy.name == "frozen")
    table = read_rated_sentences()
    test = table[table.split == "test"]
    for domain, own in test.groupby("domain", sort=False):
        accuracy = float(one_rater_accuracy(own.ratings).mean())
        rows = [{"trained_on": "one rater", "tested_on": domain, "seed": 0, "accuracy": accuracy}]
        add_rows("text_domains.csv", rows, COMMAND)
    for seed in options.seeds:
        settings = Settings(images_per_class=300, seed=seed, lr=frozen.lr, epochs=10)
        tokenizer = load_tokenizer(settings)
        splits = {domain: load_sentiment(settings, tokenizer, domain) for domain in DOMAINS}
        for domain, own in splits.items():
            set_seed(seed)
            model = frozen.build(settings, len(own.classes))
            fit(model, own.train, own.val, settings)
            rows = [
                {"trained_on": domain, "tested_on": other, "seed": seed}
                | {"accuracy": evaluate(model, splits[other].test).accuracy}
                for other in DOMAINS
            ]
            add_rows("text_domains.csv", rows, COMMAND)
            print(domain, seed, *[round(row["accuracy"], 3) for row in rows], flush=True)


if __name__ == "__main__":
    main()
