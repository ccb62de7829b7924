"""How long do this course and its peers take to train a new head on the same backbone, and how good is it?

    python benchmarks/peers.py [--runs 5] [--epochs 5] [--dataset folder:PATH] [--images-per-class 300]

fastai, transformers with accelerate, and lightning are left out, and named, where they are not installed. All
get the same training images, pretrained weights (those that ship), picture size and test images, on the CPU,
and are written as their documentation advises. What it leaves to you is as in the course: batches of 32, Adam
with a learning rate that falls from 0.01 to 0 along half a cosine (from 0.02 in the stored runs).

course: `fit`, which also measures the validation images; no peer has to.
course-stage, course-all: `fit` with the last stage or all of the network thawed, and lesson 06's settings: a
    rate of 0.001, 0.7 times that for each stage below, and one epoch of warm-up.
fastai: `vision_learner` with its own head, transforms and batches of 64; `fit_one_cycle` with the rate that
    `fine_tune` has for a frozen body. As is its default, BatchNorm is trained in the frozen body, too.
    https://docs.fast.ai/vision.learner.html https://docs.fast.ai/callback.schedule.html
fastai-fixed: with `train_bn=False` and `BnFreeze`, too; see https://docs.fast.ai/callback.training.html
transformers: `Trainer` with a loss of your own; bfloat16 where the CPU multiplies it.
    https://huggingface.co/docs/transformers/main_classes/trainer
    https://huggingface.co/docs/transformers/perf_train_cpu
lightning: a `LightningModule` with its backbone in eval mode under `no_grad`; bfloat16 as above.
    https://lightning.ai/docs/pytorch/stable/advanced/transfer_learning.html
    https://lightning.ai/docs/pytorch/stable/common/precision_intermediate.html
scikit-learn: `LogisticRegression` on features from a plain torchvision loop in float32, without epochs.
    https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression

Every run is a process of its own, and the candidates take turns. The number of the run is its seed: it draws
the split, the head's first numbers and the order of the images. The clock goes from the end of the imports to
the trained network, so reading weights and images is in it. Then `evaluate` measures the test images. The
runs are written to benchmarks/results/peers.csv, in the place of the same ones.

"ratio" is a peer's median seconds divided by the course's, both to the same accuracy: the lower of their two
mean test accuracies after the most epochs. Of the epochs that were run (`--epochs 1 2 3 4 5`), the fewest
that reach it count on either side. "ahead" is by how many points the course is then more accurate, "error"
its standard error over the runs; where it is negative, the ratio is that to the course's accuracy.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

import pandas as pd
import sklearn.model_selection  # noqa: F401 (or a split would import it inside the clock)
import torch
import torch._dynamo  # an optimizer would, likewise
from torch import nn
from torch.utils.data import DataLoader, default_collate

from course_utils.data.loaders import labels_of
from course_utils.data.splits import Splits, load_splits
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head, stage_names, thaw
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.acceleration import multiplies_bfloat16

BFLOAT16 = multiplies_bfloat16(torch.device("cpu"))

# A candidate yields when its imports are done, and then its trained network.


def course(settings: Settings, stage: int | None = None) -> Iterator[nn.Module | None]:
    from course_utils.training.loop import fit

    yield
    splits, model = load_splits(settings), load_backbone(backbone_weights(settings))
    replace_head(model, len(splits.classes))
    freeze(model)
    if stage is not None:
        thaw(model, stage_names(model)[stage])
        settings = settings.model_copy(update={"lr": 1e-3, "layer_lr_decay": 0.7, "warmup_epochs": 1})
    fit(model, splits.train, splits.val, settings)
    yield model


def fastai(settings: Settings, fixed: bool = False) -> Iterator[nn.Module | None]:
    import fastai.vision.all as fast
    from fastai.callback.training import BnFreeze

    fast.default_device(False)  # the CPU
    yield
    splits = load_splits(settings, transform=nn.Identity())  # pictures: fastai has transforms of its own
    labels = labels_of(splits.train)
    loaders = fast.DataBlock(
        blocks=(fast.ImageBlock, fast.CategoryBlock(vocab=splits.classes, sort=False)),
        get_x=lambda item: splits.train[item][0].convert("RGB"),
        get_y=lambda item: splits.classes[labels[item]],
        splitter=fast.IndexSplitter([]),  # no validation images, so no pass over them
        item_tfms=fast.Resize(settings.image_size or 64),
        batch_tfms=fast.Normalize.from_stats(*fast.imagenet_stats),
    ).dataloaders(list(range(len(splits.train))), bs=64, num_workers=settings.num_workers)
    weights, how = backbone_weights(settings), {"train_bn": False, "cbs": BnFreeze} if fixed else {}
    learner = fast.vision_learner(loaders, lambda pretrained: load_backbone(weights), **how)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(settings.epochs, 2e-3)
    yield learner.model


def prepare(settings: Settings) -> tuple[Splits, nn.Module, nn.Module]:
    """Return the images, the network without its head, and a new head."""
    splits, backbone = load_splits(settings), load_backbone(backbone_weights(settings))
    head = nn.Linear(backbone.fc.in_features, len(splits.classes))
    backbone.fc = nn.Identity()
    return splits, backbone.eval().requires_grad_(False), head


def transformers(settings: Settings) -> Iterator[nn.Module | None]:
    from transformers import Trainer, TrainingArguments

    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> nn.Module:  # Trainer calls it before every step
            return super().train(False)

    yield
    splits, backbone, head = prepare(settings)
    model, names = nn.Sequential(Frozen(backbone), head), ("input", "labels")
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.lr,
            lr_scheduler_type="cosine",
            max_grad_norm=0,
            use_cpu=True,
            bf16=BFLOAT16,
            dataloader_num_workers=settings.num_workers,
            seed=settings.seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(
            model,
            arguments,
            data_collator=lambda samples: dict(zip(names, default_collate(samples), strict=True)),
            train_dataset=splits.train,
            compute_loss_func=lambda outputs, labels, **_: nn.functional.cross_entropy(outputs, labels),
        ).train()
    yield model


def lightning(settings: Settings) -> Iterator[nn.Module | None]:
    from lightning import LightningModule, Trainer

    class Classifier(LightningModule):
        def __init__(self, backbone: nn.Module, head: nn.Module):
            super().__init__()
            self.feature_extractor, self.classifier = backbone, head

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                features = self.feature_extractor(images)
            return self.classifier(features)

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> tuple[list, list]:
            optimizer = torch.optim.Adam(self.classifier.parameters(), settings.lr)
            steps = self.trainer.estimated_stepping_batches
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    yield
    splits, backbone, head = prepare(settings)
    model = Classifier(backbone, head)
    loader = DataLoader(splits.train, settings.batch_size, shuffle=True, num_workers=settings.num_workers)
    precision = "bf16-mixed" if BFLOAT16 else "32-true"
    trainer = Trainer(accelerator="cpu", max_epochs=settings.epochs, precision=precision, barebones=True)
    trainer.fit(model, loader)
    yield model


def scikit_learn(settings: Settings) -> Iterator[nn.Module | None]:
    from sklearn.linear_model import LogisticRegression

    yield
    splits, backbone, head = prepare(settings)
    loader = DataLoader(splits.train, 64, num_workers=settings.num_workers)
    with torch.no_grad():
        batches = [(backbone(images), labels) for images, labels in loader]
        features, labels = (torch.cat(column).numpy() for column in zip(*batches, strict=True))
        classifier = LogisticRegression(max_iter=5000).fit(features, labels)
        head.weight.copy_(torch.from_numpy(classifier.coef_))
        head.bias.copy_(torch.from_numpy(classifier.intercept_))
    yield nn.Sequential(backbone, head)


CANDIDATES = {  # how it runs, and the packages that it is about
    "course": (course, ["torch"]),
    "course-stage": (lambda settings: course(settings, stage=-1), ["torch"]),
    "course-all": (lambda settings: course(settings, stage=0), ["torch"]),
    "fastai": (fastai, ["fastai"]),
    "fastai-fixed": (lambda settings: fastai(settings, fixed=True), ["fastai"]),
    "transformers": (transformers, ["transformers", "accelerate"]),
    "lightning": (lightning, ["lightning"]),
    "scikit-learn": (scikit_learn, ["scikit-learn"]),
}


def run_here(name: str, started: float, **settings: object) -> dict[str, float]:
    """Run one candidate in this process, which was started at this time (`time.time()`)."""
    settings = Settings(**settings, device="cpu")
    steps = CANDIDATES[name][0](settings)
    next(steps)
    set_seed(settings.seed)
    imports, begin = time.time() - started, time.perf_counter()
    network = next(steps)
    seconds = time.perf_counter() - begin
    from course_utils.evaluation.metrics import evaluate

    accuracy = 100 * evaluate(network, load_splits(settings).test).accuracy
    return {"seconds": seconds, "imports": imports, "accuracy": accuracy}


def run_apart(name: str, **settings: object) -> dict[str, float] | None:
    """Run one candidate in a new process; None if it fails."""
    task = json.dumps({"name": name, "started": time.time(), **settings})
    own = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, "--one", task]
    done = subprocess.run(command, env=own, capture_output=True, text=True)
    if done.returncode:
        print(f"This failed: {task}\n{done.stderr[-2000:]}", flush=True)
    return None if done.returncode else json.loads(done.stdout)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each candidate and number of epochs; the ratio stands beside the most epochs."""
    most = runs.epochs.max()
    groups = runs.groupby(["candidate", "epochs"], sort=False)
    table = groups.seconds.agg(["median", "min", "max"])
    table = table.join(groups.imports.median()).join(groups.accuracy.mean())
    last = runs[runs.epochs == most].pivot(index="seed", columns="candidate", values="accuracy")
    for name in last.columns.drop("course") if "course" in last else []:
        target = last[["course", name]].mean().min()
        reached = table[table.accuracy >= target - 1e-9]["median"].sort_index()
        ahead = last["course"] - last[name]
        values = [reached[name].iloc[0] / reached["course"].iloc[0], ahead.mean(), ahead.sem()]
        table.loc[(name, most), ["ratio", "ahead", "error"]] = values
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--epochs", type=int, nargs="+", default=[5])
    parser.add_argument("--dataset", default="default")
    parser.add_argument("--images-per-class", type=int)
    parser.add_argument("--num-workers", type=int, default=0, help="extra processes that read images")
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        answer = os.dup(1)
        os.dup2(2, 1)  # what a library prints is not to stand beside the answer
        os.write(answer, json.dumps(run_here(**json.loads(options.one))).encode())
        return

    from storing import replace_rows, this_run

    versions = {}
    for name in options.only:
        try:
            versions[name] = ", ".join(f"{package} {version(package)}" for package in CANDIDATES[name][1])
        except PackageNotFoundError as missing:
            print(f"{name} is left out: {missing}")
    images = {name: getattr(options, name) for name in ("dataset", "images_per_class", "num_workers")}
    rows = []
    for seed, epochs, name in product(range(options.runs), options.epochs, versions):
        if name == "scikit-learn" and epochs < max(options.epochs):
            continue
        how = {"epochs": epochs, "seed": seed}
        if row := run_apart(name, **how, **images):
            rows.append({"candidate": name, "versions": versions[name], **images, **how, **row})
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    runs = pd.DataFrame(rows)
    print(summary(runs).round(2).to_string(na_rep=""))
    runs = runs.round(4).assign(
        dataset=Path(Settings(dataset=options.dataset).dataset).name,  # where a folder lies is yours
        images_per_class=str(options.images_per_class or "all"),
        threads=torch.get_num_threads(),
        **this_run(),
    )
    same = ["candidate", "dataset", "images_per_class", "num_workers", "threads", "epochs", "seed"]
    replace_rows("peers.csv", runs, same, dtype={"images_per_class": str})


if __name__ == "__main__":
    main()
