"""Learning rates for each way to initialise the network of lesson 14.

    python benchmarks/text_rates.py [--domain films] [--texts-per-class 100] [--steps 60]

Each start is tried with several rates, on one seed that no reported run uses, and judged on as many
validation texts as it is trained on. The rates in `course_utils/text/comparison.py` were chosen by this
table, `results/text_rates.csv`, which every run adds to. No test text is used.
"""

import argparse
import math

from storing import add_rows

from course_utils.settings import Settings, set_seed
from course_utils.text.comparison import INIT_STRATEGIES
from course_utils.text.corpora import DOMAINS
from course_utils.text.data import load_sentiment
from course_utils.text.encoders import load_tokenizer
from course_utils.training.loop import fit

COMMAND = "python benchmarks/text_rates.py, and the same with --domain products"
SEED = 100
RATES = {
    "from scratch": (1e-4, 3e-4, 1e-3),
    "frozen": (3e-3, 1e-2, 3e-2),
    "fine-tuned": (3e-4, 1e-3, 3e-3),
}
DECAYS = {"from scratch": (1.0,), "frozen": (1.0,), "fine-tuned": (0.1, 0.3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--domain", choices=list(DOMAINS), default="films")
    parser.add_argument("--texts-per-class", type=int, default=100)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    base = Settings(images_per_class=2 * options.texts_per_class, val_fraction=0.5, seed=SEED)
    splits = load_sentiment(base, load_tokenizer(base), options.domain)
    epochs = math.ceil(options.steps / math.ceil(len(splits.train) / base.batch_size))
    for strategy in INIT_STRATEGIES:
        for decay in DECAYS[strategy.name]:
            for lr in RATES[strategy.name]:
                own = {"lr": lr, "layer_lr_decay": decay, "epochs": epochs}
                settings = base.model_copy(update=own)
                set_seed(SEED)
                model = strategy.build(settings, len(splits.classes))
                best = fit(model, splits.train, splits.val, settings).best
                row = {"domain": options.domain, "start": strategy.name, "lr": lr, "layer_lr_decay": decay}
                row |= {"val_loss": best.val_loss, "val_accuracy": best.val_accuracy}
                add_rows("text_rates.csv", [row], COMMAND)
                print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
