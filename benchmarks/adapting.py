"""Between a head and everything: what each way of training costs, and what it gives (lesson 13).

    OMP_NUM_THREADS=1 python benchmarks/adapting.py [--seeds 0 1 2 3 4] [--targets films clipart]

Texts are films with all labels, 960 sentences to train on; drawings are the course's, split by author. All
ways have the same labels, batches and number of steps, AdamW, and no augmentation, which a frozen backbone
could not use. The learning rate of each way is the best of `adapting_rates.py`. A seed is another draw of
training and validation samples, another head and another order. Each run is one row of
`results/adapting.csv`, made in a process of its own:

- `parameters`: how many are trained; `file_kb`: the size of a file with what was trained alone;
- `cpu_seconds`: of one core in training, features included, which a busy machine hardly changes;
- `peak_mb`: the largest memory of the process until the end of training (`resource.getrusage`), libraries,
  weights and data included; `before_mb`: the same before training;
- `right`: for each test sample, in order, whether it was right (1) or wrong (0).

A run that is there is not made again.
"""

import argparse
import itertools
import math
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from peft import LoraConfig, inject_adapter_in_model
from storing import add_rows, right_or_wrong, runs_done
from torch import nn
from tuning import WEIGHT_DECAY, read_trials, score_trials

from course_utils.data.splits import Splits, load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import batchnorm_layers, freeze, replace_head, trainable_parameters
from course_utils.models.saving import save_trained
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.text.data import load_sentiment
from course_utils.text.encoders import TextNetwork, load_encoder, load_tokenizer
from course_utils.training.loop import fit

STEPS = {"films": 60, "clipart": 50}
OWN = {"weight_decay": WEIGHT_DECAY}
TARGETS = {"films": Settings(**OWN), "clipart": Settings(dataset="clipart", **OWN)}
LORA_LAYERS = {"films": ["query", "value"], "clipart": r"layer\d\.\d\.conv\d"}


def add_lora(model: nn.Module, rank: int, layers: list[str] | str) -> None:
    """Give layers of a network adapters of this rank, and make the head and them trainable."""
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers), model)
    model.fc.requires_grad_(True)


def thaw_biases(model: nn.Module) -> None:
    """Make every bias trainable, also the shifts of normalisation layers.

    This is BitFit (Ben Zaken et al., 2021, arXiv:2106.10199).
    """
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.requires_grad = True


def thaw_batchnorm(model: nn.Module) -> None:
    """Make the scale and the shift of every BatchNorm layer trainable.

    As it is no longer frozen, `fit` leaves it in train mode: its running mean and variance become those of
    the new images (Frankle et al., 2020, arXiv:2003.00152).
    """
    for module in batchnorm_layers(model):
        module.requires_grad_(True)


WAYS = {
    "head": dict.fromkeys(TARGETS, freeze),
    "biases": {"films": thaw_biases},
    "BatchNorm": {"clipart": thaw_batchnorm},
    "LoRA": {target: partial(add_lora, rank=4, layers=layers) for target, layers in LORA_LAYERS.items()},
    "everything": dict.fromkeys(TARGETS, lambda model: model.requires_grad_(True)),
}
LAYER_LR_DECAY = {"everything": 0.7}  # each stage's learning rate, divided by that of the stage above


def chosen_rate(target: str, way: str) -> float:
    """Return the learning rate with the highest validation accuracy."""
    scores = score_trials(read_trials(f"adapting_rates_{target}.csv"))
    return float(scores[scores.method == way].lr.iloc[0])


def load(target: str, settings: Settings) -> Splits:
    if target == "films":
        return load_sentiment(settings, load_tokenizer(settings), target)
    return load_splits(settings)


def build(target: str, settings: Settings, classes: int) -> nn.Module:
    """Return the pretrained network of the settings with a new head, which alone is trainable."""
    if target == "films":
        encoder = load_encoder(settings)
        model = TextNetwork(encoder, classes, pad=encoder.config.pad_token_id)
    else:
        model = load_backbone(backbone_weights(settings))
        replace_head(model, classes)
    freeze(model)
    return model


def prepare(
    target: str, way: str, splits: Splits, settings: Settings, lr: float
) -> tuple[nn.Module, Settings]:
    """Return a network that is ready to be trained in this way, and its settings."""
    epochs = math.ceil(STEPS[target] / math.ceil(len(splits.train) / settings.batch_size))
    own = {"lr": lr, "layer_lr_decay": LAYER_LR_DECAY.get(way, 1.0), "epochs": epochs}
    set_seed(settings.seed)
    model = build(target, settings, len(splits.classes))
    WAYS[way][target](model)
    return model, settings.model_copy(update=own)


def peak_mb() -> float:
    """Return the largest memory that this process has had, in MB; macOS counts bytes, others kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def run(target: str, way: str, seed: int) -> dict:
    """Train once and test once; return a row of the table."""
    own, lr = TARGETS[target].model_copy(update={"seed": seed}), chosen_rate(target, way)
    splits = load(target, own)
    model, settings = prepare(target, way, splits, own, lr)
    trained = sum(parameter.numel() for parameter in trainable_parameters(model))
    before, started = peak_mb(), time.process_time()
    history = fit(model, splits.train, splits.val, settings)
    seconds, peak = time.process_time() - started, peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        save_trained(model, Path(folder) / "trained.safetensors")
        size = (Path(folder) / "trained.safetensors").stat().st_size
    result = evaluate(model, splits.test)
    row = {"target": target, "way": way, "seed": seed, "steps": STEPS[target], "lr": f"{lr:g}"}
    row |= {"parameters": trained, "cpu_seconds": seconds, "before_mb": before, "peak_mb": peak}
    row |= {"file_kb": size / 1e3, "val_accuracy": history.best.val_accuracy}
    return {**row, "test_accuracy": result.accuracy, "right": right_or_wrong(result)}


def measure(targets: list[str], seeds: list[int]) -> None:
    command = "OMP_NUM_THREADS=1 python benchmarks/adapting.py"
    done = runs_done("adapting.csv", "target", "way", "seed")
    context = multiprocessing.get_context("forkserver")  # whose processes have the libraries already
    context.set_forkserver_preload(["__main__", "transformers.models.bert.modeling_bert"])
    for seed, target, way in itertools.product(seeds, targets, WAYS):
        if target not in WAYS[way] or (target, way, seed) in done:
            continue
        with ProcessPoolExecutor(max_workers=1, mp_context=context) as process:
            row = process.submit(run, target, way, seed).result()
        add_rows("adapting.csv", [row], command)
        print(*list(row.values())[:-1], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    measure(options.targets, options.seeds)


if __name__ == "__main__":
    main()
