"""Several processes of one program, as a launcher starts them, and what the tests of lesson 16 run on each.

    python together.py JOBS

JOBS is a list, as JSON: what `run_together` was asked for. Every case writes its results. Each process is a
copy of the one that has imported the libraries, so that this is done once.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from small_networks import Pictures, SmallNet
from small_pictures import usual
from torch.utils.data import Subset
from torchvision.models import get_model

from course_utils.data.splits import load_splits
from course_utils.errors import CourseError
from course_utils.evaluation.metrics import evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, freeze_batchnorm, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training import loop as training
from course_utils.training.features import extract_features
from course_utils.training.loop import fit


class Ended(NamedTuple):
    """How one process ended."""

    code: int
    """As `subprocess` has it: minus the signal, if one ended it."""
    said: str


def said_by(rank: int) -> str:
    """Return the name of the file of what a process said."""
    return f"said_by_{rank}.txt"


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def job(case: str, folder: Path, processes: int, **environment: str) -> dict:
    """Return what `run_together` is to do: a case on so many processes."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
    told |= {"MASTER_PORT": free_port()}
    told = {name: str(value) for name, value in {**told, **environment}.items()}
    return {"case": case, "folder": str(folder), "environment": told}


def run_together(*jobs: dict) -> list[list[Ended]]:
    """Do one job after the other; return for each how its processes ended."""
    command = [sys.executable, "-W", "ignore", __file__, json.dumps(jobs)]
    own = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        [Ended(code, (Path(one["folder"]) / said_by(rank)).read_text()) for rank, code in enumerate(codes)]
        for one, codes in zip(jobs, found, strict=True)
    ]


def rank() -> int:
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def small_network(is_frozen=False):
    set_seed(0)
    model = SmallNet()
    model.dropout.p = 0.0  # each process draws its own: with it, nothing can be the same
    if is_frozen:
        freeze(model)
    freeze_batchnorm(model)  # thawed, it uses the images of one process
    return model


def trained(checkpoint=None, change=None, is_frozen=False, **values):
    """Train the small network; return its weights, its history, and its accuracy on other pictures."""
    model = small_network(is_frozen)
    settings = Settings(**{"epochs": 3, "batch_size": 8, "lr": 0.02, "device": "cpu", **values})
    history = fit(model, Pictures(24, change=change), Pictures(9, seed=2), settings, checkpoint)
    return {
        "weights": dict(model.state_dict()),
        "history": history.to_frame().drop(columns="seconds").to_numpy().tolist(),
        "accuracy": evaluate(model, Pictures(70, seed=3)).correct,
    }


def a_little_different(read, image):
    """Change a picture in every epoch, so that features are not extracted once."""
    return image + 1e-7 * (read % 7)


def learning() -> dict:
    return {
        "24 images in batches of 8": trained(),
        "a frozen network, image by image": trained(change=a_little_different, is_frozen=True),
    }


def frozen() -> dict:
    """Train a head on the shipped network's features, as lesson 04 does."""
    settings = Settings(images_per_class=30, epochs=3, device="cpu")
    set_seed(0)
    splits, model = load_splits(settings), load_backbone(backbone_weights(settings))
    replace_head(model, len(splits.classes))
    freeze(model)
    history = fit(model, splits.train, splits.val, settings)
    result = evaluate(model, Subset(splits.test, range(1100)))
    return {
        "weights": dict(model.fc.state_dict()),
        "correct": result.correct,
        "labels": result.labels,
        "probabilities": result.probabilities,
        "val": [epoch.val_accuracy for epoch in history.epochs],
    }


def features() -> torch.Tensor:
    """Extract features of which each process has a part."""
    dataset = load_splits(Settings(images_per_class=600), usual(16)).test  # 2,000: two batches
    torch.manual_seed(0)
    model = get_model("resnet18", num_classes=2)
    return extract_features(model, dataset).tensors[0]


def everything() -> dict:
    return {"learning": learning(), "frozen": frozen(), "features": features()}


def resumed(folder: Path) -> dict:
    """Train with a checkpoint; if KILL is set, the last process is killed in the second epoch."""
    real, calls = training.train_one_epoch, []

    def train(*arguments):
        calls.append(1)
        if os.environ.get("KILL") and len(calls) == 2 and rank() == world_size() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    training.train_one_epoch = train
    try:
        return trained(checkpoint=folder / "training.pt")
    finally:
        training.train_one_epoch = real


def run(case: str, folder: Path) -> None:
    """Run a case in float32 on this process; the main process writes the results."""
    torch.cpu.get_capabilities = dict  # no bfloat16: then two sums differ by rounding alone
    cases = {
        "everything": everything,
        "resumed": partial(resumed, folder),
        "keep_a_copy": lambda: shutil.copy(folder / "training.pt", folder / "copy.pt"),
    }
    found = cases[case]()
    if rank() == 0 and isinstance(found, dict):
        torch.save(found, folder / f"{case}_{world_size()}.pt")


def as_process(job: dict, rank: int) -> None:
    """Be one of several processes of a job, and end."""
    folder, code = Path(job["folder"]), 0
    os.dup2(os.open(folder / said_by(rank), os.O_CREAT | os.O_WRONLY), 2)
    os.environ.update({**job["environment"], "RANK": str(rank), "LOCAL_RANK": str(rank)})
    torch.set_num_threads(1)  # a copy has lost the threads of the first, and must not wait for them
    try:
        run(job["case"], folder)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    except CourseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = 2
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the first must not leave while another is still arriving
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
