"""Learning rates for each way to initialise the network of lesson 07 (see `tuning.py`).

    OMP_NUM_THREADS=1 python benchmarks/transfer_rates.py

A trial trains on about 20 images of each class of both targets, and its score is the mean over both: each
method has one rate for all that lesson 07 compares. `results/transfer_rates.csv` has all trials.
"""

from tuning import WEIGHT_DECAY, fold, tune

from course_utils.evaluation.comparison import INIT_STRATEGIES, augment, train_and_test
from course_utils.settings import Settings

TABLE = "transfer_rates.csv"
COMMAND = "OMP_NUM_THREADS=1 python benchmarks/transfer_rates.py"
# Three folds of 30 clothes of each class leave 20 for training; drawings are limited to as many.
TARGETS = {"clipart": None, "fashion_mnist_sample": 30}
PER_CLASS, STEPS = 20, 150
MIDDLES = {"from scratch": 1e-3, "frozen": 6e-3, "fine-tuned": 1e-3}


def run(method: str, lr: float, seed: int) -> list[dict]:
    """Train one method on one fold of each target; return a row for each target."""
    (strategy,) = (strategy for strategy in INIT_STRATEGIES if strategy.name == method)
    strategy = strategy._replace(lr=lr, weight_decay=WEIGHT_DECAY)
    rows = []
    for dataset, count in TARGETS.items():
        settings = Settings(dataset=dataset, images_per_class=count, batch_size=16)
        transform = augment(settings) if strategy.augmented else None
        splits = fold(settings, seed, PER_CLASS, transform)
        settings = settings.model_copy(update={"seed": seed})
        best = train_and_test(strategy, splits, settings, STEPS, dataset)[0].history.best
        row = {"dataset": dataset, "train_images": len(splits.train), "val_images": len(splits.val)}
        rows.append({**row, "steps": STEPS, "val_accuracy": best.val_accuracy, "val_loss": best.val_loss})
    return rows


if __name__ == "__main__":
    tune(TABLE, MIDDLES, run, COMMAND)
