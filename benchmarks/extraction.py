"""How near does feature extraction come to what the machine can do?

    python benchmarks/extraction.py [--backbones resnet18 resnet50 vgg16 efficientnet_b0] [--sizes 64 128 224]
        [--runs 5]

The limit is the rate at which this machine multiplies two square matrices of numbers in the precision that
extraction uses (bfloat16, if the processor has it), the best of several sizes. What a network needs for an
image is counted by PyTorch's own FlopCounterMode (a multiplication and an addition are two operations). The
pictures are 32 x 32 pixels in memory, as CIFAR-10's are, and are resized on the way: that is in the time. How
much of it this preprocessing takes is measured apart. Beside it stands the plain way: a DataLoader that
prepares picture by picture, and float32. All take turns; the weights are random, which costs the same time.
"""

import argparse

import numpy as np
import torch
from alternating import keep, spread, take_turns
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import datasets
from torchvision.models import get_model
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification
from tqdm import tqdm

from course_utils.backbones import without_head
from course_utils.features import EXTRACTION_BATCH, eval_mode, extract_features
from course_utils.precision import fastest_dtype
from course_utils.preprocessing import image_batches

CPU = torch.device("cpu")
MATRICES = (1024, 2048, 4096)


def noise_like_cifar10(images: int, size: int) -> datasets.CIFAR10:
    """Return torchvision's own class with random pictures in it, and the usual preprocessing."""
    dataset = object.__new__(datasets.CIFAR10)
    dataset.data = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
    dataset.targets = [number % 10 for number in range(images)]
    dataset.classes = [str(number) for number in range(10)]
    dataset.transform = v2.Compose([v2.RGB(), ImageClassification(crop_size=size, resize_size=size)])
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
    for _ in image_batches(dataset, EXTRACTION_BATCH, CPU):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    usual = ["resnet18", "resnet50", "vgg16", "efficientnet_b0"]
    parser.add_argument("--backbones", nargs="+", default=usual)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    limit, rows = products(options.runs), []
    for name in tqdm(options.backbones, desc="backbones"):
        for size in options.sizes:
            network = get_model(name)
            needs = operations(network, size)
            # About three seconds of work each, in whole batches.
            count = EXTRACTION_BATCH * max(1, round(1.5 * limit / needs / EXTRACTION_BATCH))
            dataset, few = noise_like_cifar10(count, size), noise_like_cifar10(EXTRACTION_BATCH, size)
            ways = {
                "course": lambda network=network, dataset=dataset: extract_features(network, dataset),
                "preprocessing": lambda dataset=dataset: preprocess(dataset),
                "plain": lambda network=network, few=few: plain_way(network, few),
            }
            seconds = take_turns(ways, options.runs)
            rates = spread([count / second for second in seconds["course"]])
            plain = np.median([EXTRACTION_BATCH / second for second in seconds["plain"]])
            rows.append(
                {
                    "backbone": name,
                    "pixels": size,
                    "operations per image": float(needs),
                    **{f"images a second, {what}": float(rate) for what, rate in rates.items()},
                    "share of the limit": float(rates["median"] * needs / limit),
                    "preprocessing, share of the time": float(
                        np.median(seconds["preprocessing"]) / np.median(seconds["course"])
                    ),
                    "images a second, plain way": float(plain),
                    "times as fast as the plain way": float(rates["median"] / plain),
                    "limit, operations a second": float(limit),
                    "precision": str(fastest_dtype(CPU)).removeprefix("torch."),
                    "threads": torch.get_num_threads(),
                    "runs": options.runs,
                }
            )
    keep("extraction", rows)


if __name__ == "__main__":
    main()
