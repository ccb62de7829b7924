"""How do time and memory grow with the images, the epochs and the cores?

    python benchmarks/growth.py [--images 1000 2000 5000 10000 20000 50000] [--runs 5]

Extraction with a ResNet-18 at 64 pixels from pictures of 32 x 32 pixels in memory, as CIFAR-10's are, and a
head trained on the features. Each number of images is a process of its own; they take turns. The time is
proportional to the number of images to the power of the exponent, which is 1 if twice as many take twice as
long. One epoch of the head is given as a share of the extraction. Memory is the highest that the process ever
held, Python and PyTorch included, and beside it what a process holds that has only imported them.
"""

import argparse
import json
import resource
import time

import numpy as np

USUAL = [1000, 2000, 5000, 10_000, 20_000, 50_000]


def megabytes() -> float:
    """Return the highest memory of this process so far, in units of 1,000,000 bytes (on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def run_here(images: int) -> dict[str, float]:
    """Extract the features of so many images, and train a head for five epochs."""
    from extraction import noise_like_cifar10
    from head_training import Features, Head
    from torchvision.models import resnet18

    from course_utils.settings import Settings
    from course_utils.training.features import extract_features
    from course_utils.training.loop import fit

    imported = megabytes()
    model, dataset = resnet18(), noise_like_cifar10(images, 64)
    extract_features(model, noise_like_cifar10(128, 64))  # a first time, which also makes things ready
    started = time.perf_counter()
    features, labels = extract_features(model, dataset).tensors
    extraction, peak = time.perf_counter() - started, megabytes()
    train, val = Features(features, labels), Features(features[:64], labels[:64])
    history = fit(Head(features.shape[1]), train, val, Settings(epochs=5))
    seconds = [epoch.seconds for epoch in history.epochs]
    return {
        "extraction": extraction,
        "head": sum(seconds),
        "one epoch": sum(seconds) / len(seconds),
        "imported": imported,
        "peak": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=USUAL)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_here(options.one)))
        return
    import torch
    from alternating import in_a_process, spread
    from storing import write_table

    cores = torch.get_num_threads()
    middle = sorted(options.images)[len(options.images) // 2]
    cases = [*((count, cores) for count in options.images), *([(middle, 1)] if cores > 1 else [])]
    found = {case: [] for case in cases}
    for run in range(options.runs):
        for count, threads in cases:
            found[count, threads].append(in_a_process(__file__, "--one", str(count), threads=threads))
            print(run, count, threads, found[count, threads][-1], flush=True)
    usual = [case for case in cases if case[1] == cores]
    medians = {case: np.median([result["extraction"] for result in found[case]]) for case in cases}
    counts, seconds = zip(*((count, medians[count, cores]) for count, _ in usual), strict=True)
    exponent = float(np.polyfit(np.log(counts), np.log(seconds), 1)[0]) if len(usual) > 1 else float("nan")
    rows = []
    for (count, threads), results in found.items():
        rows.append(
            {
                "images": count,
                "threads": threads,
                **spread("extraction, seconds", [result["extraction"] for result in results]),
                "images a second": count / medians[count, threads],
                "head, five epochs, seconds": np.median([result["head"] for result in results]),
                "one epoch of the head, share of the extraction": np.median(
                    [result["one epoch"] / result["extraction"] for result in results]
                ),
                "memory at most, MB": max(result["peak"] for result in results),
                "memory after the imports, MB": max(result["imported"] for result in results),
                "exponent": exponent,
                "runs": options.runs,
            }
        )
    write_table("growth.csv", rows)


if __name__ == "__main__":
    main()
