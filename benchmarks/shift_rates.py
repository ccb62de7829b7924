"""Learning rates for each way to train of lessons 11 and 13 (see `tuning.py`).

    OMP_NUM_THREADS=1 python benchmarks/shift_rates.py

The rate of "head then everything" is that of its second phase; its first has the rate of lesson 07's head.
`results/shift_rates.csv` has all trials.
"""

from shift import EPOCHS, SETTINGS
from tuning import fold, tune

from course_utils.evaluation.metrics import evaluate
from course_utils.evaluation.shift import WAYS, train_way

TABLE = "shift_rates.csv"
COMMAND = "OMP_NUM_THREADS=1 python benchmarks/shift_rates.py"
MIDDLES = {"head": 6e-3, "everything": 1e-3, "head then everything": 3e-4}


def run(method: str, lr: float, seed: int) -> list[dict]:
    """Train in one way on one fold of the drawings; return its row."""
    splits = fold(SETTINGS, seed, None, None)
    phases = [*WAYS[method][:-1], {**WAYS[method][-1], "lr": lr}]
    model = train_way(phases, splits, SETTINGS.model_copy(update={"seed": seed}))
    result = evaluate(model, splits.val)
    row = {"train_images": len(splits.train), "val_images": len(splits.val), "epochs": EPOCHS}
    loss = -result.probabilities.log()[range(len(splits.val)), result.labels].mean()
    return [{**row, "val_accuracy": result.accuracy, "val_loss": float(loss)}]


if __name__ == "__main__":
    tune(TABLE, MIDDLES, run, COMMAND, jobs=1)
