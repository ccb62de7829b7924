"""Between a head and everything: what each way of training costs, and what it gives (lesson 13).

    OMP_NUM_THREADS=1 python benchmarks/adapting.py --rates
    OMP_NUM_THREADS=1 python benchmarks/adapting.py [--seeds 0 1 2] [--targets films clipart]

Texts are films, 100 labels of each class; drawings are the course's, split by author. All ways have the same
labels, batches and number of steps, and no augmentation, which a frozen backbone could not use. A seed is
another draw of training and validation samples, another head and another order. Each run is one row of
`results/adapting.csv`, made in a process of its own:

- `parameters`: how many are trained; `file_kb`: the size of a file with what was trained alone;
- `cpu_seconds`: of one core in training, features included, which a busy machine hardly changes;
- `peak_mb`: the largest memory of the process until the end of training (`resource.getrusage`), libraries,
  weights and data included; `before_mb`: the same before training;
- `right`: for each test sample, in order, whether it was right (1) or wrong (0).

A run that is there is not made again. `--rates` tries learning rates for each way, on a seed that no reported
run uses: `results/adapting_rates.csv`. About half of the labels are for validation then, a fifth of these to
choose the epoch and the others to judge the rate. LoRA's was tried with rank 4. No test sample is used.
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

import pandas as pd
from peft import LoraConfig, inject_adapter_in_model
from storing import RESULTS, add_rows, right_or_wrong, runs_done
from torch import nn
from torch.utils.data import Subset

from course_utils.data.splits import Splits, load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.models.adapting import save_trained, thaw_batchnorm, thaw_biases
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head, stage_names, thaw, trainable_parameters
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.text.data import load_sentiment
from course_utils.text.encoders import TextNetwork, load_encoder, load_tokenizer
from course_utils.training.loop import fit

STEPS = {"films": 30, "clipart": 50}
TARGETS = {
    "films": Settings(images_per_class=100),
    "clipart": Settings(dataset="clipart"),
}
TRIALS = {
    "films": TARGETS["films"].model_copy(
        update={"images_per_class": 180, "val_fraction": 5 / 9, "seed": 100}
    ),
    "clipart": TARGETS["clipart"].model_copy(update={"val_fraction": 0.4, "seed": 100}),
}
LORA_LAYERS = {"films": ["query", "value"], "clipart": r"layer\d\.\d\.conv\d"}


def add_lora(model: nn.Module, rank: int, layers: list[str] | str) -> None:
    """Give layers of a network adapters of this rank, and make the head and them trainable."""
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers), model)
    model.fc.requires_grad_(True)


WAYS = {
    "head": dict.fromkeys(TARGETS, freeze),
    "biases": {"films": thaw_biases},
    "BatchNorm": {"clipart": thaw_batchnorm},
    "last two": {  # layers of the encoder, blocks of the ResNet
        "films": lambda model: thaw(model, stage_names(model)[-2]),
        "clipart": lambda model: thaw(model, "layer4"),
    },
    **{
        f"LoRA {rank}": {
            target: partial(add_lora, rank=rank, layers=layers) for target, layers in LORA_LAYERS.items()
        }
        for rank in (2, 4, 8)
    },
    "everything": dict.fromkeys(TARGETS, lambda model: model.requires_grad_(True)),
}

TRIED = {  # learning rates of the head, and how much smaller each stage below it learns
    "head": [(lr, 1.0) for lr in (3e-3, 1e-2, 3e-2)],
    "biases": [(lr, 1.0) for lr in (3e-3, 1e-2)],
    "BatchNorm": [(lr, 1.0) for lr in (3e-3, 1e-2)],
    "last two": [(lr, 0.3) for lr in (1e-3, 3e-3, 1e-2)],
    "LoRA 4": [(lr, 1.0) for lr in (3e-3, 1e-2)],
    "everything": [(lr, 0.7) for lr in (1e-3, 3e-3)],
}


def chosen_rate(target: str, way: str) -> tuple[float, float]:
    """Return the rate with the lowest loss on validation samples. All LoRA have that of rank 4."""
    tried = pd.read_csv(RESULTS / "adapting_rates.csv", comment="#").query("target == @target")
    best = tried[tried.way == ("LoRA 4" if way.startswith("LoRA") else way)].sort_values("val_loss").iloc[0]
    return float(best.lr), float(best.layer_lr_decay)


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
    target: str, way: str, settings: Settings, rate: tuple[float, float]
) -> tuple[nn.Module, Splits, Settings]:
    """Return a network that is ready to be trained in this way, its samples and its settings."""
    splits = load(target, settings)
    epochs = math.ceil(STEPS[target] / math.ceil(len(splits.train) / settings.batch_size))
    lr, decay = rate
    settings = settings.model_copy(update={"lr": lr, "layer_lr_decay": decay, "epochs": epochs})
    set_seed(settings.seed)
    model = build(target, settings, len(splits.classes))
    WAYS[way][target](model)
    return model, splits, settings


def try_rates(targets: list[str]) -> None:
    command = "OMP_NUM_THREADS=1 python benchmarks/adapting.py --rates"
    done = runs_done("adapting_rates.csv", "target", "way", "lr")
    for target, (way, rates) in itertools.product(targets, TRIED.items()):
        for rate in rates if target in WAYS[way] else ():
            if (target, way, rate[0]) in done:
                continue
            model, splits, settings = prepare(target, way, TRIALS[target], rate)
            every = set(range(0, len(splits.val), 5))
            choosing, judging = (
                Subset(splits.val, [index for index in range(len(splits.val)) if (index in every) == chosen])
                for chosen in (True, False)
            )
            fit(model, splits.train, choosing, settings)
            result = evaluate(model, judging)
            loss = float(nn.functional.nll_loss(result.probabilities.log(), result.labels))
            row = {"target": target, "way": way, "lr": f"{rate[0]:g}", "layer_lr_decay": rate[1]}
            row |= {"seed": settings.seed, "val_loss": loss, "val_accuracy": result.accuracy}
            add_rows("adapting_rates.csv", [row], command)
            print(*row.values(), flush=True)


def peak_mb() -> float:
    """Return the largest memory that this process has had, in MB; macOS counts bytes, others kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def run(target: str, way: str, seed: int) -> dict:
    """Train once and test once; return a row of the table."""
    rate = chosen_rate(target, way)
    own = TARGETS[target].model_copy(update={"seed": seed})
    model, splits, settings = prepare(target, way, own, rate)
    trained = sum(parameter.numel() for parameter in trainable_parameters(model))
    before, started = peak_mb(), time.process_time()
    history = fit(model, splits.train, splits.val, settings)
    seconds, peak = time.process_time() - started, peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        save_trained(model, Path(folder) / "trained.safetensors")
        size = (Path(folder) / "trained.safetensors").stat().st_size
    result = evaluate(model, splits.test)
    row = {"target": target, "way": way, "seed": seed, "steps": STEPS[target], "lr": f"{rate[0]:g}"}
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
    parser.add_argument("--rates", action="store_true")
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if options.rates:
        try_rates(options.targets)
    else:
        measure(options.targets, options.seeds)


if __name__ == "__main__":
    main()
