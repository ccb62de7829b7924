"""How are more pictures used than fit into memory, or into a folder?

A folder of millions of small files is slow to list, to copy and to read. *WebDataset* keeps pictures and
their labels side by side in tar files, which are read from beginning to end (Aizman, Maltby and Breuel, 2019,
arXiv:2001.01858). Each tar file is a shard: a process takes whole ones, holds no more than a batch of
pictures at a time, and keeps the features of one in the feature store before it begins the next.

A folder needs none of this as long as the list of its files fits into memory: `feature_store.cached_shards`
goes through it in the same way.
"""

import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from course_utils.data import (
    ImageClassification,
    all_or_none,
    crop_of,
    everybodys,
    in_eight_bits,
    look_at,
    normalise,
    progress_bar_options,
    send,
    source_and_indices,
    write_atomically,
)
from course_utils.errors import ConfigError, DataError
from course_utils.models import eval_mode, without_head
from course_utils.training import (
    as_kept,
    cache_limit,
    images_at_once,
    keep,
    model_digest,
    optimized_copy,
    own_places,
    path_of,
    read_cached,
)


def write_tars(dataset: Dataset, folder: str | Path, images_per_tar: int = 1000) -> list[Path]:
    """Copy the files of a folder's pictures into tar files, as they are, with their labels.

    Args:
        dataset: Pictures in folders, such as `folders.FolderOfClasses`, or a Subset of them. Shuffle it
            first: a tar file of one class teaches a network nothing else for a long time.
        folder: Where to; tar files of the same names are replaced.
        images_per_tar: How many pictures are in one. Real ones have 100 MB and more.

    Returns:
        The paths of the tar files, in order.

    Raises:
        DataError: If a picture cannot be read, or a tar file cannot be written.
    """
    source, indices = source_and_indices(dataset)
    paths = []
    for start in range(0, len(indices), images_per_tar):
        places = indices[start : start + images_per_tar]
        paths.append(Path(folder) / f"pictures-{len(paths):06d}.tar")
        write_atomically(paths[-1], lambda part, places=places: _fill(part, source, places), DataError)
    return paths


def _fill(path: Path, source: Dataset, places: Sequence[int]) -> None:
    import webdataset

    with webdataset.TarWriter(str(path), mtime=0) as tar:  # the same pictures make the same bytes
        for place in places:
            file, label = source.samples[place]
            kind = Path(file).suffix.lower().removeprefix(".")
            tar.write({"__key__": f"{place:09d}", kind: Path(file).read_bytes(), "cls": str(label)})


def read_tar(path: str | Path, preset: ImageClassification) -> Iterator[tuple[torch.Tensor, int]]:
    """Go through the pictures of one tar file from beginning to end.

    Args:
        path: A tar file in the format of WebDataset: for each key a picture, and a label in `cls`.
        preset: What torchvision's weights entry gives as `.transforms()`.

    Yields:
        A picture (uint8, [3, height, width], resized and cropped as the preset says) and its label.

    Raises:
        DataError: If the file, or a picture in it, cannot be read.
    """
    import webdataset

    path, prepare, key = Path(path).resolve(), in_eight_bits(preset), "its beginning"
    try:
        for sample in webdataset.WebDataset([str(path)], shardshuffle=False, empty_check=False):
            key = sample["__key__"]
            (picture,) = [sample[name] for name in sample if name != "cls" and not name.startswith("__")]
            yield prepare(look_at(io.BytesIO(picture))), int(sample["cls"])
    except Exception as error:  # tarfile, webdataset and Pillow each raise their own
        raise DataError(
            "A tar file of pictures cannot be read to its end.",
            where=f"{path}, near {key}",
            expected="pictures that can be decoded, each with its label in a file .cls",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            do="Get or write this tar file again. The shards that were made of others are kept.",
        ) from error


def stream_features(model: nn.Module, tars: Sequence[str | Path], preset: ImageClassification) -> list[Path]:
    """Keep the features of all pictures in tar files, tar by tar, and hold one batch of pictures at a time.

    Several processes share the tar files. What is interrupted goes on with those that are missing.

    Args:
        model: A network with a known head, on the device where it runs.
        tars: The same paths on every process.
        preset: What torchvision's weights entry gives as `.transforms()`.

    Returns:
        For each tar file the file of the feature store that holds its `features` and `labels`.

    Raises:
        DataError: If a tar file cannot be read.
        ConfigError: If the features have no room in the store.
        CheckpointError: If a file of features cannot be written. Of several processes, the one is named.
    """
    made = {}
    with all_or_none():
        of_model, device = model_digest(model, preset), next(model.parameters()).device
        with without_head(model) as backbone, eval_mode(backbone), torch.inference_mode():
            run = optimized_copy(backbone, device)
            for place in tqdm(own_places(len(tars)), desc="tar files", leave=False, **progress_bar_options()):
                made[place] = path_of(_fingerprint(of_model.copy(), Path(tars[place])))
                if read_cached(made[place]) is None:
                    batches = _batches(tars[place], preset, images_at_once(crop_of(preset), device))
                    found = [
                        (run(normalise(send(pictures, device), preset)).cpu(), labels)
                        for pictures, labels in batches
                    ]
                    features, labels = (torch.cat(tensors) for tensors in zip(*found, strict=True))
                    _keep(made[place], features, labels, len(tars))
    everywhere = {place: path for part in everybodys(made) for place, path in part.items()}
    return [everywhere[place] for place in range(len(tars))]


def _batches(
    tar: str | Path, preset: ImageClassification, size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    pictures = read_tar(tar, preset)
    while batch := list(itertools.islice(pictures, size)):
        yield torch.stack([picture for picture, _ in batch]), torch.tensor([label for _, label in batch])


def _keep(path: Path, features: torch.Tensor, labels: torch.Tensor, tars: int) -> None:
    tensors = as_kept(features, labels)
    keep(path, tensors, len(labels) * tars)  # as if each tar file held as many
    needed = tars * sum(tensor.nbytes for tensor in tensors.values())
    if needed > cache_limit():
        raise ConfigError(
            "The features of these tar files have no room in the store.",
            where="the environment variable COURSE_FEATURES_GB",
            expected=f"{needed / 1e9:.2f} gigabytes or more, for {tars} tar files",
            found=f"{cache_limit() / 1e9:g}",
            do="Raise it, and look whether the disk has as much.",
        )


def _fingerprint(digest: "hashlib._Hash", tar: Path) -> str:
    try:
        with tar.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DataError(
            "A tar file of pictures cannot be read.",
            where=tar.resolve(),
            expected="a file that you may read",
            found=f"{type(error).__name__}: {error}",
            do="Check the path, and give the same list on every process.",
        ) from error
    return digest.hexdigest()
