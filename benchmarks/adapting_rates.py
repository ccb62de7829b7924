"""Learning rates for each way to train of lesson 13 (see `tuning.py`).

    OMP_NUM_THREADS=1 python benchmarks/adapting_rates.py [--targets films clipart]

A trial on films has 720 of the labelled sentences for training and 480 for validation, drawn anew for each
seed. `results/adapting_rates_films.csv` and `adapting_rates_clipart.csv` have all trials.
"""

import argparse
from functools import partial

from adapting import STEPS, TARGETS, WAYS, load, prepare
from torch import nn
from tuning import fold, tune

from course_utils.evaluation.metrics import evaluate
from course_utils.training.loop import fit

MIDDLES = {
    "films": {"head": 1e-2, "biases": 3e-3, "LoRA": 3e-3, "everything": 3e-4},
    "clipart": {"head": 6e-3, "BatchNorm": 6e-3, "LoRA": 3e-3, "everything": 1e-3},
}


def run(target: str, method: str, lr: float, seed: int) -> list[dict]:
    """Train in one way on the samples of one trial; return its row."""
    settings = TARGETS[target].model_copy(update={"seed": seed})
    if target == "films":
        splits = load(target, settings.model_copy(update={"val_fraction": 0.4}))
    else:
        splits = fold(settings, seed, None, None)
    model, settings = prepare(target, method, splits, settings, lr)
    fit(model, splits.train, splits.val, settings)
    result = evaluate(model, splits.val)
    loss = nn.functional.nll_loss(result.probabilities.log(), result.labels)
    row = {"train_samples": len(splits.train), "val_samples": len(splits.val), "steps": STEPS[target]}
    return [{**row, "val_accuracy": result.accuracy, "val_loss": float(loss)}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    for target in parser.parse_args().targets:
        assert set(MIDDLES[target]) == {way for way in WAYS if target in WAYS[way]}
        command = "OMP_NUM_THREADS=1 python benchmarks/adapting_rates.py"
        tune(f"adapting_rates_{target}.csv", MIDDLES[target], partial(run, target), command, jobs=1)


if __name__ == "__main__":
    main()
