"""Contents of files: whether pictures and weights are still those of an earlier run, and which are copies."""

import hashlib
from pathlib import Path

from torch.utils.data import Dataset
from torchvision.datasets import DatasetFolder

from course_utils.data.image_io import file_hash, try_to_decode
from course_utils.data.loaders import source_and_indices
from course_utils.settings import WEIGHT_SUFFIXES, Settings


def run_contents(settings: Settings, **splits: Dataset) -> dict[str, str]:
    """Describe the files that a run depends on by a hash of their contents.

    Args:
        settings: `weights` is used, if it is the path of a file.
        splits: Datasets by their names. Only those that read picture files are described: what else there is
            ships with the course or is downloaded, and is compared with a known hash when it is loaded.
    """
    found, weights = {}, Path(settings.weights).expanduser()
    if weights.suffix in WEIGHT_SUFFIXES and weights.is_file():
        found["contents of weights"] = f"SHA-256 {file_hash(weights)[:16]}"
    for name, split in splits.items():
        source, indices = source_and_indices(split)
        if isinstance(source, DatasetFolder):
            digest = hashlib.sha256()
            for path, label in (source.samples[index] for index in indices):
                place = Path(path).relative_to(source.root).as_posix()
                digest.update(f"{place} {label} {file_hash(Path(path))}\n".encode("utf-8", "surrogateescape"))
            found[f"contents of {name}"] = f"{len(indices)} pictures, SHA-256 {digest.hexdigest()[:16]}"
    return found


def copies_of(known: list[Dataset], dataset: Dataset) -> list[str]:
    """Return the files of `dataset` that show the same picture as a file of the `known` datasets.

    Pictures are compared at 64 x 64 pixels, so that a copy saved again without loss is also found. Of
    datasets that do not read picture files, none are found.
    """
    hashes = {picture for split in known for _, picture in _pictures(split)}
    return [path for path, picture in _pictures(dataset) if picture in hashes]


def _pictures(dataset: Dataset) -> list[tuple[str, str]]:
    source, indices = source_and_indices(dataset)
    if not isinstance(source, DatasetFolder):
        return []
    files = [source.samples[index][0] for index in indices]
    return [(path, try_to_decode(Path(path)).picture) for path in files]
