"""The feature cache: features on disk, so that the second run of a lesson starts training at once.

A file is found by a hash over all that its features depend on: the weights, the pictures' bytes, the
preprocessing, the precision, the versions of the libraries and this course's own code. If any of them
changes, so does the hash, and the features are computed anew; so nothing in the cache can be out of date.
"""

import hashlib
import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from course_utils.data import (
    ImageClassification,
    as_pixels,
    file_hash,
    known_preset,
    labels_of,
    remove_leftovers,
    source_and_indices,
    write_atomically,
)
from course_utils.errors import CheckpointError, ConfigError
from course_utils.models import hash_tensors, without_head
from course_utils.settings import shipped_data_folder
from course_utils.training.acceleration import fastest_dtype, from_main_process
from course_utils.training.features import LIBRARIES, extract_features, is_library_model

LIMIT = 2.0
"""How many gigabytes (of 1,000,000,000 bytes) are kept at most, if `COURSE_FEATURES_GB` does not say."""

CODE = ("training/features.py", "training/acceleration.py", "data/preprocessing.py", "data/image_io.py")


def cached_features(
    model: nn.Module, dataset: Dataset, *, num_workers: int = 0, label: str = "features"
) -> TensorDataset:
    """Return what `extract_features` returns, from disk if it was computed before.

    Arguments, result and errors are those of `extract_features`. What another network or transform than the
    libraries' own does cannot be known by its name, so then features are computed every time.
    """
    if not cache_limit() or known_preset(dataset) is None or not is_library_model(model):
        return extract_features(model, dataset, num_workers=num_workers, label=label)
    path = cache_folder() / f"{fingerprint(model, dataset)}.safetensors"
    found = from_main_process(lambda: read_features(path))
    if found is not None:
        return TensorDataset(found["features"].float(), found["labels"])
    features = extract_features(model, dataset, num_workers=num_workers, label=label)
    try:
        from_main_process(lambda: _keep(path, *features.tensors))
    except CheckpointError as error:
        print(f"The {label} stay in memory, since {cache_folder()} cannot be written: {error.found}")
    return features


def cache_folder() -> Path:
    """Return where features are kept: `data/features`, or the folder that `COURSE_FEATURES` names."""
    return Path(os.environ.get("COURSE_FEATURES") or shipped_data_folder() / "features").resolve()


def cache_limit() -> int:
    """Return how many bytes are kept at most. With `COURSE_FEATURES_GB=0`, none are.

    Raises:
        ConfigError: If `COURSE_FEATURES_GB` is not a number from 0.
    """
    wanted = os.environ.get("COURSE_FEATURES_GB", LIMIT)
    try:
        limit = int(float(wanted) * 1e9)
    except (ValueError, OverflowError):
        limit = -1
    if limit < 0:
        raise ConfigError(
            "The size of the feature cache is not known.",
            where="the environment variable COURSE_FEATURES_GB",
            expected="a number of gigabytes, from 0",
            found=repr(wanted),
            do="Set it to 2, for example, or take it out of the environment.",
        )
    return limit


def fingerprint(model: nn.Module, dataset: Dataset) -> str:
    """Return a SHA-256, in hexadecimal, of all that features depend on."""
    digest = model_digest(model, known_preset(dataset))
    digest.update(labels_of(dataset).tobytes())
    in_memory = as_pixels(dataset)
    if in_memory is not None:
        digest.update(str(list(in_memory.pixels.shape)).encode())
        for start in range(0, len(in_memory), 1000):
            digest.update(in_memory.raw(slice(start, start + 1000)).contiguous().numpy())
        return digest.hexdigest()
    source, indices = source_and_indices(dataset)
    for index in indices:
        digest.update(file_hash(Path(source.samples[index][0])).encode())
    return digest.hexdigest()


def model_digest(model: nn.Module, preset: ImageClassification) -> "hashlib._Hash":
    """Return a SHA-256 of all that features depend on but the pictures, which can be added."""
    device, digest = next(model.parameters()).device, hashlib.sha256()
    with without_head(model) as backbone:
        kinds = [f"{type(module).__module__}.{type(module).__qualname__}" for module in backbone.modules()]
        versions = [_version(name) for name in (*LIBRARIES, "pillow")]
        where = device.type, fastest_dtype(device)
        digest.update(repr((kinds, str(backbone), versions, where, sorted(vars(preset).items()))).encode())
        hash_tensors(digest, backbone.state_dict())
    for name in CODE:
        digest.update((Path(__file__).parents[1] / name).read_bytes())
    return digest


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def read_features(path: Path) -> dict[str, torch.Tensor] | None:
    """Return `features` and `labels` from a file of the cache; None if there is none, or it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            expected = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name) for name in ("features", "labels")}
        if hash_tensors(hashlib.sha256(), tensors) != expected:
            return None
        os.utime(path)  # when the cache is full, what was not used for the longest time goes first
    except (OSError, SafetensorError):
        return None
    return tensors


def _keep(path: Path, features: torch.Tensor, labels: torch.Tensor) -> None:
    """Write a file of the cache if it is no larger than the limit; the oldest files make room for it."""
    if torch.equal(features.bfloat16().float(), features):
        features = features.bfloat16()  # half the space, and nothing is lost
    room = cache_limit() - features.nbytes - labels.nbytes
    if room >= 0:
        with suppress(OSError):  # then there is no room for the new file either, which is reported
            evict(room)
        write_features(path, features, labels)


def write_features(path: Path, features: torch.Tensor, labels: torch.Tensor) -> None:
    """Write features and labels to a file that `read_features` reads.

    An existing file is replaced as a whole. Features are [images, features], of any floating-point type;
    labels are int64, [images].

    Raises:
        CheckpointError: If the disk is full, or the folder is not yours.
    """
    tensors = {"features": features.contiguous(), "labels": labels.contiguous()}
    checksum = {"sha256": hash_tensors(hashlib.sha256(), tensors)}
    write_atomically(path, lambda part: save_file(tensors, part, checksum))


class CacheFile(NamedTuple):
    """One file of the cache: its size in bytes, and when it was last used, in seconds since 1970."""

    path: Path
    size: int
    used: float


def list_cache() -> list[CacheFile]:
    """Return the files of the cache, the one that was used last first."""
    files = []
    for path in cache_folder().glob("*.safetensors"):
        # Named by a SHA-256: any other file is not the cache's. Another process may remove one meanwhile.
        with suppress(FileNotFoundError):
            if len(path.stem) == 64:
                status = path.stat()
                files.append(CacheFile(path, status.st_size, status.st_mtime))
    return sorted(files, key=lambda file: file.used, reverse=True)


def evict(limit: int) -> list[CacheFile]:
    """Remove leftovers of killed saves, and the files that were not used for longest, down to `limit` bytes.

    Returns what was removed.
    """
    left = remove_leftovers(cache_folder(), r"[0-9a-f]{64}\.safetensors")
    total, removed = 0, [CacheFile(path, size, 0.0) for path, size in left]
    for file in list_cache():
        total += file.size
        if total > limit:
            file.path.unlink(missing_ok=True)
            removed.append(file)
    return removed
