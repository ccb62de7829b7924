"""How near does feature extraction come to what the machine can do?

    python benchmarks/extraction.py [--backbones resnet18 resnet50 vgg16 efficientnet_b0] [--sizes 64 128 224]
        [--runs 5]

The limit is the rate at which this machine multiplies two square matrices of numbers in the precision that
extraction uses (bfloat16, if the processor has it), the best of several sizes. What a network needs for an
image is counted by PyTorch's own FlopCounterMode (a multiplication and an addition are two operations). The
pictures are 32 x 32 pixels in memory, as CIFAR-10's are, and are resized on the way: that is in the time. How
much of it this preprocessing takes is measured apart. With several `--pixels-at-once`, batches of so many
pixels are compared. Beside it stands the plain way: a DataLoader that
prepares picture by picture, and float32. All take turns; the weights are random, which costs the same time.
"""

import argparse
from functools import partial
from itertools import product

import numpy as np
import torch
from alternating import spread, take_turns
from storing import write_table
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import datasets
from torchvision.models import get_model
from tqdm import tqdm

from course_utils.data.preprocessing import Preprocessing
from course_utils.models.freezing import eval_mode, without_head
from course_utils.training.acceleration import fastest_dtype
from course_utils.training.features import EXTRACTION_BATCH, PIXELS, batches_with_bar, extract_features

CPU = torch.device("cpu")
MATRICES = (1024, 2048, 4096)


def noise_like_cifar10(images: int, size: int) -> datasets.CIFAR10:
    """Return torchvision's own class with random pictures in it, and the usual preprocessing."""
    dataset = object.__new__(datasets.CIFAR10)
    dataset.data = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
    dataset.targets = [number % 10 for number in range(images)]
    dataset.classes = [str(number) for number in range(10)]
    dataset.transform = Preprocessing(resize_size=size, crop_size=size).transform()
    dataset.target_transform = None
    return dataset


def products(runs: int) -> dict[str, float]:
    """Return the highest rate of matrix products, in operations a second."""
    rates = {}
    for size in MATRICES:
        times = max(1, 2 * 4096**3 // (2 * size**3) // 4)
        left, right = torch.randn(2, size, size).to(fastest_dtype(CPU))

        def work(left: torch.Tensor = left, right: torch.Tensor = right, times: int = times) -> None:
            for _ in range(times):
                left @ right

        seconds = take_turns({"products": work}, runs)["products"]
        rates[size] = 2 * size**3 * times / np.median(seconds)
    print(
        "matrix products, thousand million operations a second:",
        {s: round(r / 1e9) for s, r in rates.items()},
    )
    return max(rates.values())


@torch.inference_mode()
def operations(network: nn.Module, size: int) -> int:
    """Return how many operations the network needs for one image."""
    with without_head(network) as backbone, eval_mode(backbone), FlopCounterMode(display=False) as counter:
        backbone(torch.zeros(1, 3, size, size))
    return counter.get_total_flops()


@torch.inference_mode()
def plain_way(network: nn.Module, dataset: Dataset) -> None:
    with without_head(network) as backbone, eval_mode(backbone):
        torch.cat([backbone(images) for images, _ in DataLoader(dataset, EXTRACTION_BATCH)])


def preprocess(dataset: Dataset) -> None:
    for _ in batches_with_bar(dataset, CPU, 0, "preprocessing"):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    usual = ["resnet18", "resnet50", "vgg16", "efficientnet_b0"]
    parser.add_argument("--backbones", nargs="+", default=usual)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pixels-at-once", type=int, nargs="+", default=[PIXELS["cpu"]])
    options = parser.parse_args()
    limit, rows = products(options.runs), []
    for name, size in tqdm(list(product(options.backbones, options.sizes))):
        rows += measure(name, size, options.pixels_at_once, limit, options.runs)
    write_table("extraction.csv" if len(options.pixels_at_once) == 1 else "extraction_batches.csv", rows)


def measure(name: str, size: int, pixels: list[int], limit: float, runs: int) -> list[dict]:
    """Return one row for each number of pixels that go through the network at once."""
    network = get_model(name)
    needs = operations(network, size)
    # About three seconds of work each, in whole batches.
    count = EXTRACTION_BATCH * max(1, round(1.5 * limit / needs / EXTRACTION_BATCH))
    dataset, few = noise_like_cifar10(count, size), noise_like_cifar10(EXTRACTION_BATCH, size)

    def extract(at_once: int) -> None:
        PIXELS["cpu"] = at_once
        extract_features(network, dataset)

    ways = {f"course, {at_once}": partial(extract, at_once) for at_once in pixels}
    ways["preprocessing"] = partial(preprocess, dataset)
    ways["plain"] = partial(plain_way, network, few)
    seconds, rows = take_turns(ways, runs), []
    plain = np.median([EXTRACTION_BATCH / second for second in seconds["plain"]])
    for at_once in pixels:
        own = seconds[f"course, {at_once}"]
        rates = [count / second for second in own]
        rate = np.median(rates)
        rows.append(
            {
                "backbone": name,
                "pixels": size,
                "images at once": max(1, at_once // size**2),
                "operations per image": float(needs),
                **spread("images a second", rates),
                "share of the limit": rate * needs / limit,
                "preprocessing, share of the time": np.median(seconds["preprocessing"]) / np.median(own),
                "images a second, plain way": plain,
                "times as fast as the plain way": rate / plain,
                "limit, operations a second": limit,
                "precision": str(fastest_dtype(CPU)).removeprefix("torch."),
                "threads": torch.get_num_threads(),
                "runs": runs,
            }
        )
    return rows


if __name__ == "__main__":
    main()
