"""What is lost when trainings are killed, pictures are damaged and connections break.

    python benchmarks/soak.py [--kills 200] [--images 1000] [--pairs 50] [--output FILE]

A kill: a real `fit` with a checkpoint runs in a process of its own and is ended with SIGKILL at a random
moment. Then the file must hold every epoch that was saved, and a run that goes on from it must end with
the same weights and the same history, to the bit, as a run that nobody stopped.

A picture: one of seven formats, spoiled at random. It must be read or be refused with a `DataError`, within
ten seconds, and stay as it is on the disk.

A download: see soak_downloads.py.

The rows are added to the table, in place of older ones of the same name. Needs `fork`: Linux or macOS.
"""

import argparse
import io
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from soak_downloads import run_pairs
from storing import RESULTS, add_rows
from torch import nn
from torch.utils.data import Dataset

from course_utils.data.image_io import load_rgb
from course_utils.errors import DataError
from course_utils.models.freezing import freeze
from course_utils.settings import Settings, set_seed
from course_utils.training import loop as training
from course_utils.training.loop import fit

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
SETTINGS = Settings(epochs=6, batch_size=8, lr=0.05, device="cpu")
KINDS = ("frozen", "thawed")


class Noisy(Dataset):
    """Random pictures of three classes; noisy ones draw from all three sources of random numbers."""

    classes = ("cat", "dog", "ship")

    def __init__(self, count: int, noisy: bool):
        self.images = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(count))
        self.targets, self.noisy = [number % 3 for number in range(count)], noisy

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        noise = torch.rand(1) + random.random() + float(np.random.rand()) if self.noisy else 0
        return self.images[index] * (1 + noise), self.targets[index]


def train(kind: str, folder: Path, seed: int, report: int) -> None:
    """Train a small network with a checkpoint; report every epoch that is saved, and store what came out."""
    save = training.save_training_state

    def save_and_report(checkpoint, run):
        save(checkpoint, run)
        os.write(report, b"s")

    training.save_training_state = save_and_report
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Dropout(0.3), nn.Flatten())
    model.fc = nn.Linear(8 * 7 * 7, 3)
    if kind == "frozen":
        freeze(model)
    set_seed(seed)  # here, because Python draws new random numbers after a fork
    os.write(report, b"b")
    history = fit(model, Noisy(25, kind == "thawed"), Noisy(9, False), SETTINGS, folder / "run.pt")
    epochs = history.to_frame().drop(columns="seconds").to_dict()
    torch.save({"weights": model.state_dict(), "epochs": epochs}, folder / "result.pt")


def in_a_child(work: Callable, *arguments: object, kill_after: float | None = None) -> tuple[int, bytes]:
    """Run `work` in a forked process, killed some seconds after it began; return its status and reports."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        status = 1
        try:
            work(*arguments, write)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    reports = os.read(read, 1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    while more := os.read(read, 4096):
        reports += more
    os.close(read)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), reports


def same(one: dict, other: dict) -> bool:
    """Return whether two results agree to the last bit."""
    weights, expected = one["weights"], other["weights"]
    return one["epochs"] == other["epochs"] and all(torch.equal(weights[n], expected[n]) for n in expected)


def saved_epochs(path: Path) -> int:
    """Return how many epochs a checkpoint holds; 0 if there is none."""
    return len(torch.load(path, weights_only=True)["epochs"]) if path.exists() else 0


def kill_trainings(count: int) -> dict:
    """Kill so many trainings and go on with each. Lost: a saved epoch is gone, or the end is another one."""
    started, lost, killed, moments = time.perf_counter(), 0, 0, random.Random(count)
    expected, seconds = {}, {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            status, _ = in_a_child(train, kind, Path(folder), 7)
            assert status == 0, "a training that nobody stops must end"
            seconds[kind], expected[kind] = time.perf_counter() - begun, torch.load(Path(folder, "result.pt"))
    while killed < count:
        kind = KINDS[killed % len(KINDS)]
        with tempfile.TemporaryDirectory() as folder:
            moment = moments.uniform(0, 1.1 * seconds[kind])
            status, reports = in_a_child(train, kind, Path(folder), 7, kill_after=moment)
            if status != -signal.SIGKILL or Path(folder, "result.pt").exists():
                continue  # it had come to its end already
            killed += 1
            try:
                saved = saved_epochs(Path(folder, "run.pt"))
                kept = saved >= reports.count(b"s")
                # A process that goes on has other random numbers until it has read the checkpoint.
                status, _ = in_a_child(train, kind, Path(folder), 99 if saved else 7)
                whole = status == 0 and same(torch.load(Path(folder, "result.pt")), expected[kind])
            except Exception as error:
                kept = whole = False
                print(f"kill {killed}: {type(error).__name__}: {error}", file=sys.stderr)
            lost += not (kept and whole)
    return row("kill -9 in a training with a checkpoint", count, lost, started)


def spoil(sound: bytes, random: np.random.Generator) -> bytes:
    """Cut, change, repeat or take out parts of a file at random."""
    spoiled = bytearray(sound)
    for _ in range(random.integers(1, 4)):
        # Half of the time in the first bytes, which say the most.
        end = len(spoiled) if random.integers(0, 2) else min(64, len(spoiled))
        begin, length = int(random.integers(0, end)), int(random.integers(1, 40))
        match random.integers(0, 5):
            case 0:
                del spoiled[max(begin, 1) :]
            case 1:
                spoiled[begin] ^= int(1 << random.integers(0, 8))
            case 2:
                spoiled[begin : begin + length] = random.bytes(length)
            case 3:
                spoiled[begin:begin] = spoiled[begin : begin + length]
            case 4:
                spoiled[begin : begin + length] = bytes(length)
    return bytes(spoiled)


def some_pictures(file_format: str) -> list[bytes]:
    """Return sound files of one format, of several modes where it has them."""
    pixels = np.random.default_rng(7).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((40, 48), Image.Resampling.BICUBIC)
    modes = {"PNG": ("RGB", "RGBA", "P", "L"), "JPEG": ("RGB", "CMYK", "L"), "TIFF": ("RGB", "L", "CMYK")}
    files = []
    for mode in modes.get(file_format, ("RGB",)):
        content = io.BytesIO()
        picture.convert(mode).save(content, file_format)
        files.append(content.getvalue())
    return files


def too_slow(*_: object) -> None:
    raise TimeoutError("a picture took more than ten seconds")


def read_spoiled(file_format: str, count: int, folder: Path, report: int) -> None:
    """Read so many spoiled pictures; report r for each that was read, d for a DataError, else x."""
    os.write(report, b"b")
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, too_slow)
    draw, sound, path = np.random.default_rng(len(file_format)), some_pictures(file_format), folder / "a.png"
    for number in range(count):
        path.write_bytes(spoil(sound[number % len(sound)], draw))
        before, answer = path.read_bytes(), b"x"
        signal.alarm(10)
        try:
            picture = load_rgb(path)
            answer = b"r" if picture.mode == "RGB" and min(picture.size) > 0 else b"x"
        except DataError as error:
            answer = b"x" if isinstance(error.__cause__, TimeoutError) else b"d"
        except Exception:
            pass
        signal.alarm(0)
        os.write(report, answer if path.read_bytes() == before else b"x")


def spoil_pictures(count: int) -> dict:
    """Read spoiled pictures, each format in a process that may crash. Lost: neither read nor refused."""
    started, counts = time.perf_counter(), [count // len(FORMATS)] * len(FORMATS)
    counts[0] += count - sum(counts)
    answers = b""
    for file_format, own in zip(FORMATS, counts, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            answers += in_a_child(read_spoiled, file_format, own, Path(folder))[1][1:]
    print(f"of {count} pictures {answers.count(b'r')} were read, {answers.count(b'd')} refused")
    fine = answers.count(b"r") + answers.count(b"d")
    return row("a damaged picture of seven formats", count, count - fine, started)


def download_in_pairs(count: int) -> dict:
    """Let two processes fetch the same file at once, so many times."""
    started = time.perf_counter()
    return row("two processes that download the same file", count, run_pairs(count, "course"), started)


def row(fault: str, tried: int, lost: int, started: float) -> dict:
    """Return one row of the table."""
    seconds = round(time.perf_counter() - started, 1)
    return {"fault": fault, "tried": tried, "survived": tried - lost, "lost": lost, "seconds": seconds}


def store(rows: list[dict], path: Path, command: str) -> None:
    """Put rows into a table of results, in place of older ones of the same name."""
    table = pd.DataFrame(rows)
    if path.exists():
        table = pd.concat([pd.read_csv(path, comment="#"), table]).drop_duplicates("fault", keep="last")
        path.unlink()
    add_rows(path, table.to_dict("records"), command)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--output", type=Path, default=RESULTS / "soak.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    works = {kill_trainings: options.kills, spoil_pictures: options.images, download_in_pairs: options.pairs}
    rows = [work(count) for work, count in works.items() if count]
    store(rows, options.output.resolve(), "python benchmarks/soak.py")
    print(pd.DataFrame(rows).to_string(index=False))
    return int(any(row["lost"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
