"""What the tests of lesson 11 run on one process and on several: each case writes what it found.

    python together_cases.py JOBS

JOBS is a list, as JSON: what `together.run_together` was asked for. Each process is a copy of the one that
has imported the libraries, so that this is done once.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from functools import partial
from pathlib import Path

import torch
from small_networks import Pictures, SmallNet
from together import said_by
from torch.utils.data import Subset
from torchvision.models import get_model
from torchvision.transforms import v2

from course_utils.data.preprocessing import ImageClassification
from course_utils.data.processes import count, everybodys, from_first, is_first, leave, number, sums
from course_utils.data.splits import load_splits
from course_utils.data.weights import backbone_weights
from course_utils.errors import CourseError
from course_utils.evaluation.metrics import evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, freeze_batchnorm
from course_utils.models.heads import replace_head
from course_utils.settings import Settings, set_seed
from course_utils.training import feature_cache as feature_store
from course_utils.training import loop as training
from course_utils.training.feature_cache import list_cache
from course_utils.training.features import extract_features
from course_utils.training.loop import fit


def small_network(is_frozen=False):
    set_seed(0)
    model = SmallNet()
    model.dropout.p = 0.0  # each process draws its own: with it, nothing can be the same
    # BatchNorm takes it away again: its gradient is rounding alone, of which Adam makes a full step.
    model.conv.bias = None
    if is_frozen:
        freeze(model)
    return model


def trained(images=25, checkpoint=None, change=None, is_frozen=False, still=False, **values):
    """Train the small network; return its weights, its history, and what it says about other pictures."""
    model = small_network(is_frozen)
    if still:
        freeze_batchnorm(model)
    settings = Settings(**{"epochs": 3, "batch_size": 8, "lr": 0.02, "device": "cpu", **values})
    history = fit(model, Pictures(images, change=change), Pictures(9, seed=2), settings, checkpoint)
    return {
        "weights": dict(model.state_dict()),
        "history": history.to_frame().drop(columns="seconds").to_numpy().tolist(),
        "accuracy": evaluate(model, Pictures(70, seed=3)).correct,
    }


def a_little_different(read, image):
    """Change a picture in every epoch, so that nothing is run once and kept."""
    return image + 1e-7 * (read % 7)


def learning() -> dict:
    return {
        "25 images in batches of 8": trained(),
        # A thawed BatchNorm uses the images of one part, which are other ones.
        "in three parts each": trained(images=28, grad_accum_steps=3, epochs=1, still=True),
        "BatchNorm learns part by part": trained(images=27, grad_accum_steps=4, epochs=1),
        "a last batch of one": trained(images=9, change=a_little_different, is_frozen=True),
    }


def in_parts() -> dict:
    """Let the weights lie in parts on the processes."""
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    try:
        return trained()
    finally:
        del os.environ["ACCELERATE_USE_FSDP"]


def frozen() -> dict:
    """Train a head on the shipped network's features, as lesson 04 does."""
    settings = Settings(images_per_class=30, epochs=3, device="cpu")
    set_seed(0)
    splits, model = load_splits(settings), load_backbone(backbone_weights(settings))
    replace_head(model, len(splits.classes))
    freeze(model)
    history = fit(model, splits.train, splits.val, settings)
    result = evaluate(model, Subset(splits.test, range(1100)))  # more than two shards
    return {
        "correct": result.correct,
        "labels": result.labels,
        "probabilities": result.probabilities,
        "val": [epoch.val_accuracy for epoch in history.epochs],
    }


def shards() -> dict:
    """Extract features while the disk of process 1 is full, and again when it has space."""
    usual = v2.Compose([v2.RGB(), ImageClassification(crop_size=16, resize_size=16)])
    dataset = load_splits(Settings(images_per_class=600), usual).test  # 2,000: a shard and a bit
    torch.manual_seed(0)
    model = get_model("resnet18", num_classes=2)
    expected = extract_features(model, dataset).tensors
    told, real, before = "", feature_store.save_file, len(list_cache())

    def fail(tensors, path, metadata):
        if number() == count() - 1:
            raise OSError(28, "No space left on device")
        real(tensors, path, metadata)

    feature_store.save_file = fail
    try:
        feature_store.cached_features(model, dataset)
    except CourseError as error:
        told = str(error)
    feature_store.save_file = real
    first = everybodys(len(list_cache()) - before)
    computed, run = [], feature_store.feature_batches

    def spy(model, dataset, **options):
        computed.append(len(dataset))
        return run(model, dataset, **options)

    feature_store.feature_batches = spy
    found = feature_store.cached_features(model, dataset).tensors
    feature_store.feature_batches = run
    return {
        "told": everybodys(told),
        "kept at first": first,
        "computed afterwards": everybodys(computed),
        "kept": everybodys(len(list_cache()) - before),
        "same": [torch.equal(*pair) for pair in zip(expected, found, strict=True)],
        "head is there": isinstance(model.fc, torch.nn.Linear),
    }


def agreement() -> dict:
    """Ask what the processes tell each other."""
    told = []
    for fails_on in (0, count() - 1):
        try:
            with_error_on(fails_on)
        except (CourseError, ValueError) as error:  # alone, an error comes as it is
            told.append(str(error))
    return {
        "sums": everybodys(sums(1 + number(), 0.1)),
        "from first": everybodys(from_first(lambda: ("folder", number()))),
        "told": everybodys(told),
    }


def with_error_on(place):
    from course_utils.data.processes import all_or_none

    with all_or_none():
        if number() == place:
            raise ValueError(f"a fault on {place}")


def everything() -> dict:
    cases = (learning, in_parts, frozen, shards, agreement)
    return {case.__name__: case() for case in cases}


def resumed(folder: Path) -> dict:
    """Train with a checkpoint; if KILL is set, the last process is killed in the second epoch."""
    real = training.train_one_epoch

    def train(network, loader, optimizer, schedule, epoch, *rest):
        if os.environ.get("KILL") and epoch == 2 and number() == count() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(network, loader, optimizer, schedule, epoch, *rest)

    training.train_one_epoch = train
    try:
        return trained(checkpoint=folder / "training.pt")
    finally:
        training.train_one_epoch = real


def run(case: str, folder: Path) -> dict:
    """Run a case in float32 on this process; the first one of several writes what came out."""
    torch.cpu.get_capabilities = dict  # no bfloat16: then two sums differ by rounding alone
    alone = (learning, in_parts, frozen, shards, agreement)
    cases = {"everything": everything, "resumed": partial(resumed, folder)}
    cases |= {part.__name__: part for part in alone}
    cases["keep_a_copy"] = lambda: shutil.copy(folder / "training.pt", folder / "copy.pt")
    found = cases[case]()
    if is_first() and isinstance(found, dict):
        torch.save(found, folder / f"{case}_{count()}.pt")
    return found


def as_process(job: dict, rank: int) -> None:
    """Be one of several processes of a job, and end."""
    folder, code = Path(job["folder"]), 0
    os.dup2(os.open(folder / said_by(rank), os.O_CREAT | os.O_WRONLY), 2)
    os.environ.update({**job["environment"], "RANK": str(rank), "LOCAL_RANK": str(rank)})
    torch.set_num_threads(1)  # a copy has lost the threads of the first, and must not wait for them
    try:
        run(job["case"], folder)
        leave()
    except CourseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = 2
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        code = 1
    os._exit(code)


def do(job: dict) -> list[int]:
    """Start the processes of a job and wait for them; return how each ended."""
    started = []
    for rank in range(int(job["environment"]["WORLD_SIZE"])):
        pid = os.fork()
        if pid == 0:
            as_process(job, rank)
        started.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]


if __name__ == "__main__":
    print(json.dumps([do(job) for job in json.loads(sys.argv[1])]))
