"""What do two processes give, and how do time and memory grow with the number of files?

    python benchmarks/scale.py processes [--images 6000] [--runs 5]
    python benchmarks/scale.py growth --folder PATH [--files 1000 4000 16000 60000] [--runs 3]

`processes`: features of a ResNet-18 at 64 pixels, from pictures in memory, and, with `--folder`, from JPEG
files, made by two processes with one thread each and by one process with two threads, in turn. The time is
from the moment at which all processes are ready to that at which all have all features.

`growth`: the same features from so many JPEG files of a folder `PATH/<part>/<class>/*.jpg`, and from tar
files of 1,000 pictures each (WebDataset). Features are kept shard by shard and not held. Every number of
files is a process of its own; they take turns. Memory is the highest that the process ever held, Python and
PyTorch included. The folder that was used is CIFAR-10 as JPEG files, which may not be passed on: without a
folder, this part is skipped, and says so.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from growth import megabytes

USUAL = [1000, 4000, 16_000, 60_000]


def folder_of_files(root: Path, files: int):
    """Return so many pictures of a folder's parts, drawn with seed 0, prepared for 64 pixels."""
    from torch.utils.data import Subset
    from torchvision.transforms import v2

    from course_utils.data.folders import FolderOfClasses

    transform = v2.Compose([v2.RGB(), preset_for_64_pixels()])
    parts = [FolderOfClasses(part, transform) for part in sorted(root.iterdir()) if part.is_dir()]
    whole = parts[0]
    for part in parts[1:]:
        whole.samples += part.samples
        whole.targets += part.targets
    drawn = np.sort(np.random.default_rng(0).permutation(len(whole.samples))[:files])
    return Subset(whole, drawn.tolist())


def preset_for_64_pixels():
    from course_utils.data.preprocessing import Preprocessing

    return Preprocessing(resize_size=64, crop_size=64)


def one_of_several(images: int, folder: str | None) -> None:
    """Extract features together with the other processes; the first one prints how long that took."""
    from extraction import noise_like_cifar10
    from torchvision.models import resnet18

    from course_utils.training.acceleration import num_processes, process_state
    from course_utils.training.features import extract_features

    dataset = folder_of_files(Path(folder), images) if folder else noise_like_cifar10(images, 64)
    model = resnet18()
    extract_features(model, noise_like_cifar10(1200, 64))  # a first time, which also makes things ready
    process_state().wait_for_everyone()
    started = time.perf_counter()
    features, _ = extract_features(model, dataset).tensors
    process_state().wait_for_everyone()
    assert len(features) == len(dataset)
    if process_state().is_main_process:
        print(json.dumps({"seconds": time.perf_counter() - started, "processes": num_processes()}))


def compare_processes(images: int, folder: str | None, runs: int) -> None:
    from alternating import in_a_process, spread
    from storing import write_table

    rows, ways = [], {"one process, two threads": (1, 2), "two processes, one thread each": (2, 1)}
    sources = {"memory": None, **({"JPEG files": folder} if folder else {})}
    if not folder:
        print("JPEG files: skipped, since there is no --folder")
    for source, place in sources.items():
        seconds = {way: [] for way in ways}
        asked = ["one", "--images", str(images), *(["--folder", place] if place else [])]
        for run in range(runs):
            for way, (processes, threads) in ways.items():
                found = in_a_process(__file__, *asked, threads=threads, processes=processes)
                seconds[way].append(found["seconds"])
                print(run, source, way, f"{seconds[way][-1]:.2f} s", flush=True)
        first = seconds["one process, two threads"]
        for way, own in seconds.items():
            rows.append(
                {
                    "from": source,
                    "way": way,
                    "images": images,
                    **spread("seconds", own),
                    **spread("times as fast", [one / other for one, other in zip(first, own, strict=True)]),
                    "runs": runs,
                }
            )
    write_table("scale_processes.csv", rows)


def extract_here(kind: str, files: int, folder: str) -> dict[str, float]:
    """Write the features of so many files, a part at a time."""
    from safetensors.torch import save_file
    from torch.utils.data import Subset
    from torchvision.models import resnet18

    from course_utils.scale.streaming import stream_features
    from course_utils.training.features import extract_features

    model = resnet18()
    with tempfile.TemporaryDirectory() as store:
        if kind == "tar files":
            tars = sorted(Path(os.environ["TARS"]).glob("*.tar"))[: files // 1000]
            started = time.perf_counter()
            stream_features(model, tars, preset_for_64_pixels(), store)
        else:
            started, dataset = time.perf_counter(), folder_of_files(Path(folder), files)
            for start in range(0, files, 1000):
                part = Subset(dataset, range(start, min(start + 1000, files)))
                features, labels = extract_features(model, part).tensors
                save_file({"features": features, "labels": labels}, Path(store) / f"{start}.safetensors")
        return {"seconds": time.perf_counter() - started, "peak": megabytes()}


def grow(counts: list[int], folder: str | None, runs: int) -> None:
    from alternating import in_a_process, spread
    from storing import write_table

    from course_utils.scale.streaming import write_tars

    if not folder or not Path(folder).is_dir():
        print(f"growth: skipped, since there is no folder {folder or '(--folder)'}")
        return
    rows, kinds = [], ("folder", "tar files")
    with tempfile.TemporaryDirectory() as tars:
        os.environ["TARS"] = tars
        written = write_tars(folder_of_files(Path(folder), max(counts)), tars)
        print(f"{len(written)} tar files, {sum(path.stat().st_size for path in written) / 1e6:.0f} MB")
        found = {(kind, files): [] for kind in kinds for files in counts}
        for run in range(runs):
            for kind, files in found:
                asked = ("here", "--kind", kind, "--files", str(files), "--folder", folder)
                found[kind, files].append(in_a_process(__file__, *asked))
                print(run, kind, files, found[kind, files][-1], flush=True)
    seconds = {case: [result["seconds"] for result in results] for case, results in found.items()}
    for (kind, files), results in found.items():
        medians = [np.median(seconds[kind, count]) for count in counts]
        exponent = np.polyfit(np.log(counts), np.log(medians), 1)[0] if len(counts) > 1 else float("nan")
        rows.append(
            {
                "from": kind,
                "files": files,
                **spread("seconds", seconds[kind, files]),
                "files a second": files / np.median(seconds[kind, files]),
                "memory at most, MB": max(result["peak"] for result in results),
                "exponent": exponent,
                "runs": runs,
            }
        )
    write_table("scale_growth.csv", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", choices=["processes", "growth", "one", "here"])
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--files", type=int, nargs="+", default=USUAL)
    parser.add_argument("--folder")
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if options.work == "one":
        one_of_several(options.images, options.folder)
    elif options.work == "here":
        print(json.dumps(extract_here(options.kind, options.files[0], options.folder)))
    elif options.work == "growth":
        grow(options.files, options.folder, options.runs)
    else:
        compare_processes(options.images, options.folder, options.runs)


if __name__ == "__main__":
    main()
