"""Make the Fashion-MNIST sample that ships with the course.

    python data/fashion_mnist_sample/make_sample.py [--source FOLDER] [--output FOLDER]

FOLDER of the source holds the four official files (`train-images-idx3-ubyte.gz` and so on); Debian's
package `dataset-fashion-mnist` puts them in /usr/share/datasets/fashion-mnist. Training images are
drawn from the official training set and test images from the official test set, the same number from
every class, by a seeded draw without replacement. The result has the IDX layout that
`torchvision.datasets.FashionMNIST(root, download=False)` reads as it is.

IDX (http://yann.lecun.com/exdb/mnist/): two zero bytes, one byte for the type (8 = uint8), one byte for
the number of dimensions, each dimension as a big-endian 32-bit integer, then the values.
"""

import argparse
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np

SEED = 0
IMAGES_PER_CLASS = {"train": 300, "t10k": 200}


def read_idx(path: Path) -> np.ndarray:
    """Read one gzipped IDX file of unsigned bytes."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write an array of unsigned bytes as an uncompressed IDX file."""
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the sorted indices of `count` images of every class."""
    random = np.random.default_rng(seed)
    chosen = [
        random.choice(np.flatnonzero(labels == label), count, replace=False) for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    raw = arguments.output / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part, count in IMAGES_PER_CLASS.items():
        labels = read_idx(arguments.source / f"{part}-labels-idx1-ubyte.gz")
        images = read_idx(arguments.source / f"{part}-images-idx3-ubyte.gz")
        indices = draw(labels, count, SEED)
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels[indices])
        write_idx(raw / f"{part}-images-idx3-ubyte", images[indices])
    for path in sorted(raw.iterdir()):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), f"{path.relative_to(arguments.output)}")


if __name__ == "__main__":
    main()
