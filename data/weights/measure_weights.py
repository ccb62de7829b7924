"""The yardsticks of the course's pretrained network, every draw kept in ``results.csv``.

Frozen: logistic regression on what the network says before its head (a linear probe, Kornblith,
Shlens and Le 2019, arXiv:1805.08974). Fine-tuned against from scratch: the same steps, the same
images, only the start differs. Old head: does its ImageNet category fit the CIFAR-10 class?

    python measure_weights.py --network FILE --name NAME --fashion-mnist FOLDER \
        --clip-art FOLDER --cifar10 FOLDER --results results.csv

``--network`` may also be ``random``, ``teacher-96`` or ``teacher-224``. What results.csv already
holds under the same name is not measured again.
"""

import argparse
import csv
import gzip
import hashlib
import random
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from make_weights import IMAGENET_MEAN, IMAGENET_STD, load_teacher, teacher_features
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.transforms import v2

COUNTS = {
    "Fashion-MNIST": (5, 20, 100),
    "clip art": (5, 20, 33),
    "course clip art": (5, 20, 33),
    "CIFAR-10": (5, 20, 100),
}
LEARNING_RATES = {"fine-tuned": 3e-4, "from scratch": 1e-3}  # at most, fixed beforehand
COLUMNS = ["network", "task", "images_per_class", "method", "draw", "accuracy"]
CLIP_ART = {
    "mammals": ["animals/mammals"],
    "birds": ["animals/birds"],
    "bugs": ["animals/bugs"],
    "fruit": ["food/fruit"],
    "desserts": ["food/desserts"],
    "beverages": ["food/beverages"],
    "music": ["recreation/music"],
    "vehicles": ["transportation/vehicles", "transportation/boating"],
    "plants": ["plants"],
    "buildings": ["buildings"],
    "tools": ["tools"],
}
# Which ImageNet categories are right for a CIFAR-10 class, by torchvision's names. ImageNet's
# numbers follow WordNet's tree, so birds (cock to great grey owl, black grouse to black swan, white
# stork to albatross), cats (tabby to Egyptian cat), dogs (Chihuahua to Mexican hairless) and frogs
# are stretches. ImageNet has no deer: its three antelopes stand in.
FITTING = {
    "airplane": "airliner, warplane, wing",
    "automobile": "ambulance, beach wagon, cab, convertible, jeep, limousine, minivan, Model T, "
    "racer, sports car",
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "cat": range(281, 286),
    "deer": "hartebeest, impala, gazelle",
    "dog": range(151, 269),
    "frog": range(30, 33),
    "horse": "sorrel",
    "ship": "aircraft carrier, canoe, catamaran, container ship, fireboat, gondola, lifeboat, "
    "liner, pirate, schooner, speedboat, submarine, trimaran, yawl",
    "truck": "fire engine, garbage truck, moving van, pickup, police van, tow truck, trailer truck",
}


def load_fashion_mnist(folder):
    """RGB images and classes: all 60,000 of the training set, the first 100 a class of the test."""
    parts = []
    for part in ("train", "t10k"):
        with gzip.open(Path(folder, f"{part}-images-idx3-ubyte.gz")) as file:
            images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(Path(folder, f"{part}-labels-idx1-ubyte.gz")) as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)
        parts.append((np.repeat(images[..., None], 3, axis=3), labels.astype(int)))
    (train, train_labels), (test, test_labels) = parts
    kept = np.concatenate([np.flatnonzero(test_labels == c)[:100] for c in range(10)])
    return train, train_labels, test[kept], test_labels[kept]


def load_cifar10_folders(folder):
    """RGB images and classes: the first 1,000 a class of ``train``, the first 100 of ``test``."""
    parts = []
    for part, count in (("train", 1000), ("test", 100)):
        classes = sorted(path.name for path in Path(folder, part).iterdir())
        files = [
            (file, label)
            for label, name in enumerate(classes)
            for file in sorted(Path(folder, part, name).iterdir())[:count]
        ]
        parts.append(np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files]))
        parts.append(np.array([label for _, label in files]))
    return parts


def load_clip_art(folder):
    """The drawings of eleven groups of folders: a list of square RGB images and their classes.

    Exact duplicates (of the files, or of the drawn images) are dropped; weapons are left out.
    """
    images, labels, seen = [], [], set()
    for label, folders in enumerate(CLIP_ART.values()):
        for file in sorted(file for part in folders for file in Path(folder, part).rglob("*.png")):
            if "weapons" in file.parts:
                continue
            try:
                drawing = Image.open(file).convert("RGBA")
            except OSError:
                continue
            square = Image.new("RGB", (max(drawing.size),) * 2, "white")
            corner = [(square.width - side) // 2 for side in drawing.size]
            square.paste(drawing, corner, drawing)
            digest = hashlib.sha256(square.tobytes()).digest()
            if digest not in seen:
                seen.add(digest)
                square.thumbnail((256, 256), Image.Resampling.BOX, reducing_gap=None)
                images.append(square)
                labels.append(label)
    return images, np.array(labels)


def load_course_clip_art(folder):
    """The course's drawings on white and their classes: all of ``train``, all of ``test``."""
    parts = []
    for part in ("train", "test"):
        files = sorted(Path(folder, part).glob("*/*.png"))
        drawings = [Image.open(file).convert("RGBA") for file in files]
        white = [Image.new("RGBA", drawing.size, "white") for drawing in drawings]
        pairs = zip(white, drawings, strict=True)
        parts.append([Image.alpha_composite(*pair).convert("RGB") for pair in pairs])
        parts.append(np.unique([file.parent.name for file in files], return_inverse=True)[1])
    return parts


def resize(images, size):
    """uint8 (N, 3, size, size) of RGB arrays or PIL images: bilinear with antialiasing."""
    change = v2.Resize((size, size), antialias=True)
    return torch.stack([change(v2.functional.pil_to_tensor(Image.fromarray(np.asarray(image))))
                        for image in images])  # fmt: skip


def load_network(which, seed=0):
    """A torchvision ResNet-18 from a safetensors file, or with random weights."""
    torch.manual_seed(seed)
    network = resnet18(weights=None)
    if which != "random":
        network.load_state_dict(load_file(which), strict=True)
    return network.to(memory_format=torch.channels_last)


def normalise(images):
    """uint8 (N, 3, S, S) to float, with ImageNet's mean and standard deviation."""
    return (images.float() / 255 - IMAGENET_MEAN) / IMAGENET_STD


def make_extractor(which, seed=0):
    """A function from uint8 images to features, and the image size that it wants."""
    if which.startswith("teacher"):
        teacher = load_teacher()
        return lambda images: teacher_features(teacher, images), int(which.split("-")[1])
    network = load_network(which, seed).eval()
    network.fc = torch.nn.Identity()

    def extract(images):
        with torch.inference_mode():
            return network(normalise(images).to(memory_format=torch.channels_last))

    return extract, 64


def features_of(images, extractor):
    extract, size = extractor
    parts = [extract(resize(images[i : i + 100], size)) for i in range(0, len(images), 100)]
    return torch.cat(parts).numpy()


def draw_images(labels, count, draw, held_out=0):
    """Indices of ``count`` images a class, and of ``held_out`` other ones; nested in ``count``."""
    train, test = [], []
    for label in np.unique(labels):
        order = np.random.default_rng([draw, label]).permutation(np.flatnonzero(labels == label))
        test += list(order[:held_out])
        train += list(order[held_out : held_out + count])
    return np.array(train), np.array(test, dtype=int)


def tasks(options):
    """name, function (count, draw) -> train images, classes, test images, classes."""
    if options.fashion_mnist:
        yield "Fashion-MNIST", chooser(*load_fashion_mnist(options.fashion_mnist))
    if options.clip_art:
        yield "clip art", chooser(*load_clip_art(options.clip_art))
    if options.course_clip_art:
        yield "course clip art", chooser(*load_course_clip_art(options.course_clip_art))
    if options.cifar10:
        yield "CIFAR-10", chooser(*load_cifar10_folders(options.cifar10))


def chooser(images, labels, test_images=None, test_labels=None):
    def choose(count, draw):
        held_out = 15 if test_images is None else 0
        train, test = draw_images(labels, count, draw, held_out)
        chosen = [images[i] for i in train]
        if test_images is None:
            return chosen, labels[train], [images[i] for i in test], labels[test]
        return chosen, labels[train], test_images, test_labels

    return choose


def measure_frozen(choose, counts, draw, extractor, known):
    """Accuracy of logistic regression on the features as they are, by number of images a class."""
    images, labels, test, test_labels = choose(max(counts), draw)
    features = features_of(images, extractor)
    key = (id(test), extractor)
    if key not in known:  # a fixed test set is seen once; a drawn one is a new list each time
        known[key] = (test, features_of(test, extractor))
    test_features = known[key][1]
    results = {}
    for count in counts:
        chosen = np.concatenate([np.flatnonzero(labels == c)[:count] for c in np.unique(labels)])
        probe = LogisticRegression(max_iter=2000)
        probe.fit(features[chosen], labels[chosen])
        results[count] = 100 * probe.score(test_features, test_labels)
    return results


def measure_trained(choose, count, draw, which, steps):
    """Accuracy after ``steps`` batches of 64: AdamW, one cycle, all layers, mirrored and shifted."""
    images, labels, test, test_labels = choose(count, draw)
    images, labels = resize(images, 72), torch.from_numpy(labels)
    network = load_network(which, seed=draw)
    torch.manual_seed(draw)
    network.fc = torch.nn.Linear(512, int(labels.max()) + 1)
    lr = LEARNING_RATES["from scratch" if which == "random" else "fine-tuned"]
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    dice = random.Random(draw)
    for _ in range(steps):
        chosen = [dice.randrange(len(images)) for _ in range(64)]
        parts = []
        for i in chosen:
            top, left = dice.randrange(9), dice.randrange(9)
            part = images[i, :, top : top + 64, left : left + 64]
            parts.append(part.flip(2) if dice.random() < 0.5 else part)
        inputs = normalise(torch.stack(parts)).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(network(inputs).float(), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.inference_mode():
        guesses = [network(normalise(part)).argmax(1) for part in resize(test, 64).split(100)]
    return 100 * float((torch.cat(guesses).numpy() == test_labels).mean())


def fitting_categories():
    """For each CIFAR-10 class, in order, the set of ImageNet numbers that are right."""
    categories = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    return [
        {categories.index(name) for name in fitting.split(", ")} if isinstance(fitting, str) else set(fitting)
        for fitting in FITTING.values()
    ]


def measure_old_head(which, folder):
    """Per cent of all CIFAR-10 test images whose first ImageNet category fits, by class."""
    if which.startswith("teacher"):
        teacher, size = load_teacher(), int(which.split("-")[1])
        head = teacher.get_classifier()

        def decide(images):
            with torch.no_grad():
                return head(teacher_features(teacher, images).clone()).argmax(1)
    else:
        network, size = load_network(which).eval(), 64

        def decide(images):
            with torch.inference_mode():
                return network(normalise(images)).argmax(1)

    results = {}
    for name, fitting in zip(FITTING, fitting_categories(), strict=True):
        images = [Image.open(file) for file in sorted(Path(folder, "test", name).iterdir())]
        images = [image.convert("RGB") for image in images]
        guesses = torch.cat([decide(resize(images[i : i + 100], size)) for i in range(0, len(images), 100)])
        results[name] = 100 * np.mean([int(guess) in fitting for guess in guesses])
    return results


def print_table(path):
    """The mean and standard deviation over the draws, one line a network and method."""
    results = pd.read_csv(path)
    by = ["task", "method", "network", "images_per_class"]
    table = results.groupby(by, sort=False)["accuracy"].agg(["mean", "std", "count"]).round(1)
    print(table.to_string())


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", required=True, help="file, random, teacher-96, teacher-224")
    parser.add_argument("--name", help="what results.csv calls it; else --network")
    parser.add_argument("--fashion-mnist", help="folder with the four idx .gz files")
    parser.add_argument("--clip-art", help="the png folder of openclipart-png")
    parser.add_argument("--course-clip-art", help="data/clipart: train/<class>/ and test/<class>/")
    parser.add_argument("--cifar10", help="folder with train/<class>/ and test/<class>/")
    parser.add_argument("--results", type=Path, default=Path("results.csv"))
    parser.add_argument("--methods", nargs="+", default=["frozen", "trained", "old head"])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="of fine-tuning and from scratch")
    return parser.parse_args()


def main():
    options = read_options()
    name, which = options.name or options.network, options.network
    method = "from scratch" if which == "random" else "fine-tuned"
    known = set()
    if options.results.exists():
        table = pd.read_csv(options.results, dtype=str)
        known = set(table[COLUMNS[:-1]].itertuples(index=False, name=None))
    else:
        options.results.write_text(",".join(COLUMNS) + "\n")

    def keep(*row):
        with options.results.open("a", newline="") as file:
            csv.writer(file).writerow([*row[:-1], round(row[-1], 2)])
        print(*row, flush=True)

    wanted = "old head" in options.methods and which != "random" and options.cifar10
    if wanted and (name, "CIFAR-10, all", "0", "old head", "0") not in known:
        shares = measure_old_head(which, options.cifar10)
        for task, share in {**shares, "all": np.mean(list(shares.values()))}.items():
            keep(name, f"CIFAR-10, {task}", 0, "old head", 0, share)
    chosen_tasks = list(tasks(options))
    if "frozen" in options.methods:
        extractor, seen = make_extractor(which), {}
        for task, choose in chosen_tasks:
            for draw in range(options.draws):
                if (name, task, str(COUNTS[task][0]), "frozen", str(draw)) in known:
                    continue
                if which == "random":
                    extractor = make_extractor(which, draw)
                found = measure_frozen(choose, COUNTS[task], draw, extractor, seen)
                for count, accuracy in found.items():
                    keep(name, task, count, "frozen", draw, accuracy)
    if "trained" in options.methods and not which.startswith("teacher"):
        for draw in range(options.draws):
            for task, choose in chosen_tasks:
                for count in COUNTS[task]:
                    if (name, task, str(count), method, str(draw)) not in known:
                        accuracy = measure_trained(choose, count, draw, which, options.steps)
                        keep(name, task, count, method, draw, accuracy)
    print_table(options.results)


if __name__ == "__main__":
    main()
