"""How much faster is the course than the loop that it grew from?

    python benchmarks/reference_loop.py [--backbone resnet50] [--weights none] [--dataset folder:PATH]
        [--images-per-class 10] [--test-images 200] [--pixels 224] [--fewer-pixels 128] [--runs 5]
        [--name NAME]

The reference is the loop of many tutorials, made to run and otherwise as it is usually written: each picture
is decoded, resized and normalised in every epoch, batches of 32 go through the whole network in
float32 and train mode, Adam with a learning rate of 0.001 trains the last layer. The course trains a head
with `fit` on the same images, at as many pixels and at fewer. Both go over the images five times; the clock
runs from a network and a dataset that are ready to the trained network. The course also measures validation
images, inside the clock. Accuracy is that on test images, outside the clock.

Every run is a process of its own, and the three take turns. The seed is the number of the run. With
`--weights none` the network is random: then the time is what it is with any weights, and the accuracy says
little.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import v2

from course_utils.data.splits import load_splits
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import eval_mode, freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.loop import fit

EPOCHS = 5
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def reference_transform(pixels: int) -> v2.Compose:
    """What the reference does to a picture; grey ones must have three colours for it to run."""
    steps = [v2.RGB(), v2.Resize((pixels, pixels)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return v2.Compose([*steps, v2.Normalize(**IMAGENET)])


def train_as_the_reference(network: nn.Module, train: Dataset, num_classes: int) -> None:
    loader = DataLoader(train, batch_size=32, shuffle=True)
    network.fc = nn.Linear(network.fc.in_features, num_classes)
    for parameter in network.parameters():
        parameter.requires_grad = False
    for parameter in network.fc.parameters():
        parameter.requires_grad = True
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.fc.parameters(), lr=0.001)
    network.train()  # as a new network is
    for _ in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            outputs = network(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()


def accuracy(network: nn.Module, test: Dataset) -> float:
    right = 0
    with eval_mode(network), torch.inference_mode():
        for images, labels in DataLoader(test, batch_size=32):
            right += int((network(images).argmax(dim=1) == labels).sum())
    return right / len(test)


def run_here(candidate: str, settings: Settings, test_images: int) -> dict[str, float]:
    """Train once; return the seconds, how many images were learned from, and the accuracy in per cent."""
    transform = reference_transform(settings.image_size) if candidate == "reference" else None
    splits = load_splits(settings, transform)
    network = load_backbone(backbone_weights(settings))
    classes = len(splits.classes)
    set_seed(settings.seed)
    started = time.perf_counter()
    if candidate == "reference":
        train_as_the_reference(network, splits.train, classes)
    else:
        replace_head(network, classes)
        freeze(network)
        fit(network, splits.train, splits.val, settings)
    seconds = time.perf_counter() - started
    every = max(1, len(splits.test) // test_images)
    share = accuracy(network, Subset(splits.test, range(0, len(splits.test), every)))
    return {"seconds": seconds, "images": len(splits.train), "accuracy": 100 * share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="default", help="none: random ones")
    parser.add_argument("--dataset", default="default")
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--test-images", type=int, default=200)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--fewer-pixels", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--name", default="reference_loop", help="of the table in benchmarks/results")
    parser.add_argument("--one", nargs=2, metavar=("CANDIDATE", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = {
        "reference": options.pixels,
        "course": options.pixels,
        "course, fewer pixels": options.fewer_pixels,
    }
    if options.one:
        candidate, seed = options.one
        settings = Settings(
            backbone=options.backbone,
            weights=options.weights,
            dataset=options.dataset,
            images_per_class=options.images_per_class,
            val_fraction=0.1,
            epochs=EPOCHS,
            image_size=sizes[candidate],
            seed=int(seed),
            device="cpu",
        )
        print(json.dumps(run_here(candidate, settings, options.test_images)))
        return
    from alternating import in_a_process, spread
    from storing import write_table

    same = [
        *("--backbone", options.backbone, "--weights", options.weights, "--dataset", options.dataset),
        *("--images-per-class", str(options.images_per_class), "--test-images", str(options.test_images)),
        *("--pixels", str(options.pixels), "--fewer-pixels", str(options.fewer_pixels)),
    ]
    found = {name: [] for name in sizes}
    for seed in range(options.runs):
        for name in sizes:
            found[name].append(in_a_process(__file__, *same, "--one", name, str(seed)))
            print(seed, name, found[name][-1], flush=True)
    rows = []
    for name, results in found.items():
        pairs = zip(found["reference"], results, strict=True)
        ratios = [reference["seconds"] / result["seconds"] for reference, result in pairs]
        rows.append(
            {
                "candidate": name,
                "backbone": options.backbone,
                "weights": options.weights,
                "pixels": sizes[name],
                "images": results[0]["images"],
                "epochs": EPOCHS,
                **spread("seconds", [result["seconds"] for result in results]),
                **spread("times as fast", ratios),
                **spread("accuracy", [result["accuracy"] for result in results]),
                "runs": options.runs,
            }
        )
    write_table(f"{options.name}.csv", rows)


if __name__ == "__main__":
    main()
