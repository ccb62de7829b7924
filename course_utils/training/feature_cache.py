"""Features are kept on disk, so that the second run of a lesson starts training at once.

What is kept is found again by a hash over all that it depends on: the weights, the pictures' bytes, the
preprocessing, the precision, the versions of the libraries and this course's own code. If any of them
changes, so does the hash, and the features are computed anew; so nothing that is kept can be out of date.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from course_utils.data import (
    ImageClassification,
    all_or_none,
    as_pixels,
    count,
    known_preset,
    labels_of,
    remove_leftovers,
    source_and_indices,
    write_atomically,
)
from course_utils.errors import CheckpointError, ConfigError
from course_utils.models import without_head
from course_utils.settings import shipped_data_folder
from course_utils.training.features import extract_features, extraction_batch_size, feature_batches
from course_utils.training.inference import LIBRARIES, is_library_model
from course_utils.training.precision import fastest_dtype
from course_utils.training.shards import cut, joined, own_places, put_together, shards_of

LIMIT = 2.0
"""How many gigabytes (of 1,000,000,000 bytes) are kept at most, if `COURSE_FEATURES_GB` does not say."""

CODE = (
    "training/features.py",
    "training/inference.py",
    "training/precision.py",
    "data/preprocessing.py",
    "data/image_io.py",
)


def cached_features(
    model: nn.Module, dataset: Dataset, *, num_workers: int = 0, label: str = "features"
) -> TensorDataset:
    """Return what `extract_features` returns, from disk if it was computed before.

    Features are kept if the network is made of torch's, torchvision's and timm's own modules, and the
    dataset is one of torchvision's with the preprocessing of the weights. What another network or transform
    does cannot be told by its name, so then they are computed every time. They are kept shard by shard, and
    what is interrupted goes on with the shards that are missing.

    Raises:
        CheckpointError: If several processes were launched, and a shard of one cannot be written: without it,
            nothing could be resumed. A process that is alone says so, and goes on with what it has in memory.
    """
    if not cache_limit() or not is_cacheable(model, dataset):
        return extract_features(model, dataset, num_workers=num_workers, label=label)
    shards = shards_of(dataset, extraction_batch_size(dataset, next(model.parameters()).device))
    with all_or_none():
        own = {
            place: (tensors["features"].float(), tensors["labels"])
            for place, tensors in cached_shards(model, shards, num_workers=num_workers, label=label)
        }
    return TensorDataset(*put_together(own, len(shards)))


def cached_shards(
    model: nn.Module, shards: Sequence[Dataset], *, num_workers: int = 0, label: str = "features"
) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    """Keep the features of those shards that are this process's, and hold one at a time.

    Args:
        model: A network of which `is_cacheable` is true with the shards.
        shards: As `shards.shards_of` returns them.
        num_workers: Extra processes that read images.
        label: What the progress bar is called.

    Yields:
        The number of each shard, and its `features` and `labels`: first those that were kept before, then
        those that are computed now.
    """
    places = own_places(len(shards))
    keys = fingerprints(model, [shards[place] for place in places])
    paths = {place: path_of(key) for place, key in zip(places, keys, strict=True)}
    missing = []
    for place, path in paths.items():
        kept = read_cached(path)
        if kept is None:
            missing.append(place)
        else:
            yield place, kept
    if not missing:
        return
    wanted, images = [shards[place] for place in missing], sum(map(len, shards))
    batches = feature_batches(model, joined(wanted), num_workers=num_workers, label=label)
    with closing(batches):  # whatever happens, the network gets its head back
        can_write = True
        for place, made in zip(missing, cut(batches, list(map(len, wanted))), strict=True):
            kept = as_kept(*made)
            try:
                if can_write:
                    keep(paths[place], kept, images)
            except CheckpointError as error:
                if count() > 1:  # it is a long run, and could not be resumed
                    raise
                can_write = False
                print(f"The {label} stay in memory, since {cache_folder()} cannot be written: {error.found}")
            yield place, kept


def path_of(key: str) -> Path:
    """Return the file of the store for a fingerprint."""
    return cache_folder() / f"{key}.safetensors"


def as_kept(features: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return `features` and `labels` as they are kept: in bfloat16 where nothing is lost by it.

    Args:
        features: [images, features], float32 or as the network spoke.
        labels: int64, [images].
    """
    if torch.equal(features.bfloat16().float(), features.float()):
        features = features.bfloat16()  # half the space
    return {"features": features.contiguous(), "labels": labels}


def keep(path: Path, tensors: dict[str, torch.Tensor], images: int) -> None:
    """Write the features of a shard, if there is room in the store for all shards.

    Args:
        path: As `path_of` returns it.
        tensors: As `as_kept` returns them.
        images: How many there are in all shards together: if not all have room, the last would drive out the
            first, and so none is written.

    Raises:
        CheckpointError: If the disk is full, or the folder is not yours.
    """
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size * images > cache_limit() * len(tensors["labels"]):
        return
    try:
        evict(cache_limit() - size)
        write_atomically(
            path, lambda temporary: save_file(tensors, temporary, {"sha256": _checksum(tensors)})
        )
    except (OSError, CheckpointError) as error:
        raise not_cached(path, error) from error


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
            "The size of the feature store is not known.",
            where="the environment variable COURSE_FEATURES_GB",
            expected="a number of gigabytes, from 0",
            found=repr(wanted),
            do="Set it to 2, for example, or take it out of the environment.",
        )
    return limit


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Neither read nor keep features within this context, so that a time is that of a first run."""
    before = os.environ.get("COURSE_FEATURES_GB")
    os.environ["COURSE_FEATURES_GB"] = "0"
    try:
        yield
    finally:
        del os.environ["COURSE_FEATURES_GB"]
        if before is not None:
            os.environ["COURSE_FEATURES_GB"] = before


def is_cacheable(model: nn.Module, dataset: Dataset) -> bool:
    """Return whether all that features depend on can be known."""
    return known_preset(dataset) is not None and is_library_model(model)


def fingerprint(model: nn.Module, dataset: Dataset) -> str | None:
    """Return a SHA-256 over all that features depend on; None if not all of it can be known."""
    return fingerprints(model, [dataset])[0] if is_cacheable(model, dataset) else None


def fingerprints(model: nn.Module, datasets: Sequence[Dataset]) -> list[str]:
    """Return the fingerprint of several datasets that have one preprocessing; the network is hashed once."""
    if not datasets:
        return []
    of_model, found = model_digest(model, known_preset(datasets[0])), []
    for dataset in datasets:
        digest = of_model.copy()
        _add_pictures(digest, dataset)
        found.append(digest.hexdigest())
    return found


def model_digest(model: nn.Module, preset: ImageClassification) -> "hashlib._Hash":
    """Return a SHA-256 that has read all that features depend on but the pictures, which can be added."""
    device, of_model = next(model.parameters()).device, hashlib.sha256()
    with without_head(model) as backbone:
        described = [
            f"{type(module).__module__}.{type(module).__qualname__}" for module in backbone.modules()
        ]
        versions = [_version(name) for name in (*LIBRARIES, "pillow")]
        facts = (
            described,
            str(backbone),
            versions,
            device.type,
            fastest_dtype(device),
            sorted(vars(preset).items()),
        )
        of_model.update(repr(facts).encode())
        for name, tensor in backbone.state_dict().items():
            of_model.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            of_model.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    for name in CODE:
        of_model.update((Path(__file__).parents[1] / name).read_bytes())
    return of_model


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""


def _add_pictures(digest: "hashlib._Hash", dataset: Dataset) -> None:
    """Hash every picture's bytes, in the order of the dataset, and every label."""
    digest.update(labels_of(dataset).tobytes())
    in_memory = as_pixels(dataset)
    if in_memory is not None:
        digest.update(str(list(in_memory.pixels.shape)).encode())
        for start in range(0, len(in_memory), 1000):
            digest.update(in_memory.raw(slice(start, start + 1000)).contiguous().numpy())
        return
    source, indices = source_and_indices(dataset)
    for index in indices:
        content = Path(source.samples[index][0]).read_bytes()
        digest.update(f"{len(content)} ".encode() + content)


def _checksum(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def read_cached(path: Path) -> dict[str, torch.Tensor] | None:
    """Return what a file of the store holds; None if there is none, or it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            expected = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name) for name in ("features", "labels")}
        if _checksum(tensors) != expected:
            return None
        os.utime(path)  # when the store is full, what was not used for the longest time goes first
    except (OSError, SafetensorError):
        return None
    return tensors


def not_cached(path: Path, problem: Exception) -> CheckpointError:
    """Return the error for features that cannot be kept."""
    told = problem.found if isinstance(problem, CheckpointError) else f"{type(problem).__name__}: {problem}"
    return CheckpointError(
        "Features could not be written to the store.",
        where=path,
        expected="a folder that can be written to, with enough space",
        found=told,
        do="Free some space, or name another folder in the environment variable COURSE_FEATURES.",
    )


class Kept(NamedTuple):
    """One file of the store."""

    path: Path
    size: int
    """Bytes."""
    used: float
    """When it was last read or written, in seconds since 1970."""


def list_cache() -> list[Kept]:
    """Return the files of the store, the one that was used last first."""
    kept = []
    for path in cache_folder().glob("*.safetensors"):
        # Named by a SHA-256: any other file is not the store's. Another process may remove one meanwhile.
        with suppress(FileNotFoundError):
            if len(path.stem) == 64:
                status = path.stat()
                kept.append(Kept(path, status.st_size, status.st_mtime))
    return sorted(kept, key=lambda file: file.used, reverse=True)


def evict(limit: int) -> list[Kept]:
    """Remove what killed saves left, and what was not used for the longest time until `limit` bytes are kept.

    Returns:
        What was removed.
    """
    left = remove_leftovers(cache_folder(), r"[0-9a-f]{64}\.safetensors")
    total, removed = 0, [Kept(path, size, 0.0) for path, size in left]
    for file in list_cache():
        total += file.size
        if total > limit:
            file.path.unlink(missing_ok=True)
            removed.append(file)
    return removed
