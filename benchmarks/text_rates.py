"""Learning rates for each way to initialise the network of lesson 14 (see `tuning.py`).

    OMP_NUM_THREADS=1 python benchmarks/text_rates.py

A trial trains on 100 sentences of each class of films and of products and is judged on as many others, drawn
anew for each seed. Its score is the mean over both domains: each method has one rate for all that lesson 14
compares. `results/text_rates.csv` has all trials. No test sentence is used.
"""

from tuning import WEIGHT_DECAY, tune

from course_utils.settings import Settings, set_seed
from course_utils.text.comparison import INIT_STRATEGIES
from course_utils.text.data import load_sentiment
from course_utils.text.encoders import load_tokenizer
from course_utils.training.loop import fit

TABLE = "text_rates.csv"
COMMAND = "OMP_NUM_THREADS=1 python benchmarks/text_rates.py"
DOMAINS, PER_CLASS, EPOCHS = ("films", "products"), 100, 18  # 126 steps
MIDDLES = {"frozen": 1e-2, "fine-tuned": 1e-3, "from scratch": 3e-4}


def run(method: str, lr: float, seed: int) -> list[dict]:
    """Train one method on the sentences of one trial of each domain; return a row for each domain."""
    (strategy,) = (strategy for strategy in INIT_STRATEGIES if strategy.name == method)
    own = {"lr": lr, "layer_lr_decay": strategy.layer_lr_decay, "weight_decay": WEIGHT_DECAY}
    settings = Settings(images_per_class=2 * PER_CLASS, val_fraction=0.5, seed=seed, epochs=EPOCHS, **own)
    rows = []
    for domain in DOMAINS:
        splits = load_sentiment(settings, load_tokenizer(settings), domain)
        set_seed(seed)
        model = strategy.build(settings, len(splits.classes))
        best = fit(model, splits.train, splits.val, settings).best
        row = {"dataset": domain, "train_texts": len(splits.train), "val_texts": len(splits.val)}
        rows.append({**row, "epochs": EPOCHS, "val_accuracy": best.val_accuracy, "val_loss": best.val_loss})
    return rows


if __name__ == "__main__":
    tune(TABLE, MIDDLES, run, COMMAND)
