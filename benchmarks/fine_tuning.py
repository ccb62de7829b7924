"""What makes fine-tuning faster on this machine, and by how much?

    python benchmarks/fine_tuning.py [--images-per-class 50] [--runs 5] [--compile]

One epoch of a ResNet-18 at 64 pixels on the images of clothes that ship, without validation. The plain way is
a DataLoader that prepares picture by picture and float32; each row adds to it what its name says, up to what
`fit` does. With `--compile`, torch.compile is tried, too, which needs a C++ compiler: the time that it takes
before its first step is in a column of its own, and with it the epochs after which it would have paid.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from alternating import spread, take_turns
from storing import write_table
from torch import nn
from torch.utils.data import Dataset

from course_utils.data.loaders import in_memory, make_loader
from course_utils.data.splits import Splits, load_splits
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head, thaw, trainable_parameters
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training.acceleration import make_accelerator
from course_utils.training.loop import train_one_epoch

CPU = torch.device("cpu")


def epoch_of(
    network: nn.Module, train: Dataset, settings: Settings, mixed: bool = False, fused: bool = False
) -> Callable[[], None]:
    """Return a function that trains for one epoch."""
    loader = make_loader(train, settings.batch_size, shuffle=True, drop_single=True)
    optimizer = torch.optim.Adam(trainable_parameters(network), 1e-5, fused=fused)

    def work() -> None:
        if not mixed:
            train_one_epoch(network, loader, optimizer)
            return
        accelerator = make_accelerator(CPU)
        prepared = accelerator.prepare(network, loader, optimizer)
        train_one_epoch(*prepared, accelerator=accelerator)
        accelerator.unwrap_model(prepared[0], keep_fp32_wrapper=False)

    return work


def make(settings: Settings, splits: Splits, down_to: str) -> nn.Module:
    network = load_backbone(backbone_weights(settings))
    replace_head(network, len(splits.classes))
    freeze(network)
    thaw(network, down_to)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images-per-class", type=int, default=50)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    settings = Settings(images_per_class=options.images_per_class, device="cpu")
    splits, rows = load_splits(settings), []
    for trained, down_to in (("all layers", "conv1"), ("layer4 and head", "layer4")):
        networks = [make(settings, splits, down_to) for _ in range(6)]
        for network in networks[3:]:
            network.to(memory_format=torch.channels_last)
        pixels = in_memory(splits.train)
        ways = {
            "plain": epoch_of(networks[0], splits.train, settings),
            "+ pictures in memory": epoch_of(networks[1], pixels, settings),
            "+ bfloat16": epoch_of(networks[2], pixels, settings, mixed=True),
            "+ channels last": epoch_of(networks[3], pixels, settings, mixed=True),
            "+ fused Adam": epoch_of(networks[4], pixels, settings, mixed=True, fused=True),
        }
        ready = {}
        if options.compile:
            compiled = torch.compile(networks[5])
            ways["+ torch.compile"] = epoch_of(compiled, pixels, settings, mixed=True, fused=True)
            started = time.perf_counter()
            ways["+ torch.compile"]()
            ready["+ torch.compile"] = time.perf_counter() - started
        seconds = take_turns(ways, options.runs)
        plain, best = (np.median(seconds[name]) for name in ("plain", "+ fused Adam"))
        for name, found in seconds.items():
            gained = best - np.median(found)
            paid = 0.0
            if name in ready:
                paid = ready[name] / gained if gained > 0 else np.inf
            rows.append(
                {
                    "trained": trained,
                    "way": name,
                    "images": len(splits.train),
                    **spread("seconds an epoch", found),
                    "images a second": len(splits.train) / np.median(found),
                    "times as fast as plain": plain / np.median(found),
                    "seconds before the first epoch": ready.get(name, 0.0),
                    "epochs until that has paid": paid,
                    "threads": torch.get_num_threads(),
                    "runs": options.runs,
                }
            )
    write_table("fine_tuning.csv", rows)


if __name__ == "__main__":
    main()
