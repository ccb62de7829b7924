"""Streaming: more pictures than fit into memory, or into a folder.

A folder of millions of small files is slow to list, to copy and to read. *WebDataset* keeps pictures and
their labels side by side in tar files, which are read from beginning to end (Aizman, Maltby and Breuel, 2019,
arXiv:2001.01858). Each tar file is a shard: a process takes whole ones, holds no more than a batch of
pictures at a time, and writes the features of one before it begins the next.
"""

import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset

from course_utils.data.image_io import load_rgb
from course_utils.data.loaders import progress_bar, source_and_indices, to_device
from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import DataError
from course_utils.files import write_atomically
from course_utils.models.freezing import eval_mode, without_head
from course_utils.training.acceleration import num_processes, process_state
from course_utils.training.features import images_at_once, optimized_copy


def write_tars(dataset: Dataset, folder: str | Path, images_per_tar: int = 1000) -> list[Path]:
    """Copy the files of a folder's pictures into tar files, as they are, with their labels.

    Args:
        dataset: Pictures in folders, such as `folders.FolderOfClasses`, or a Subset of them. Shuffle it
            first: otherwise a network sees only one class for a whole tar file.
        folder: The folder to write to; tar files of the same names are replaced.
        images_per_tar: The number of pictures in each. Real tar files have 100 MB and more.

    Returns:
        The paths of the tar files, in order.

    Raises:
        DataError: If a picture cannot be read, or a tar file cannot be written.
    """
    source, indices = source_and_indices(dataset)
    paths = []
    for start in range(0, len(indices), images_per_tar):
        chosen = indices[start : start + images_per_tar]
        paths.append(Path(folder) / f"pictures-{len(paths):06d}.tar")
        write_atomically(paths[-1], lambda part, chosen=chosen: _fill(part, source, chosen), DataError)
    return paths


def _fill(path: Path, source: Dataset, indices: Sequence[int]) -> None:
    import webdataset

    with webdataset.TarWriter(str(path), mtime=0) as tar:  # the same pictures make the same bytes
        for index in indices:
            file, label = source.samples[index]
            kind = Path(file).suffix.lower().removeprefix(".")
            tar.write({"__key__": f"{index:09d}", kind: Path(file).read_bytes(), "cls": str(label)})


def read_tar(path: str | Path, preprocessing: Preprocessing) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield each picture of a tar file (uint8, [3, height, width], cropped) and its label."""
    import webdataset

    path, prepare, key = Path(path).resolve(), preprocessing.in_eight_bits(), "its beginning"
    try:
        # No splitter: it would refuse to read on several processes, of which each has its own tar files here.
        options = {"shardshuffle": False, "empty_check": False, "nodesplitter": None}
        for sample in webdataset.WebDataset([str(path)], **options):
            key = sample["__key__"]
            (picture,) = [sample[name] for name in sample if name != "cls" and not name.startswith("__")]
            yield prepare(load_rgb(io.BytesIO(picture))), int(sample["cls"])
    except Exception as error:  # tarfile, webdataset and Pillow each raise their own
        raise DataError(
            "A tar file of pictures cannot be read to its end.",
            where=f"{path}, near {key}",
            expected="pictures that can be decoded, each with its label in a file .cls",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            do="Get or write this tar file again. The features of the others are kept.",
        ) from error


def stream_features(
    model: nn.Module, tars: Sequence[str | Path], preprocessing: Preprocessing, folder: str | Path
) -> list[Path]:
    """Write the features of all pictures in tar files, tar by tar; one batch of pictures is held at a time.

    Several processes share the tar files. An interrupted run resumes with those whose features are missing in
    `folder`.

    Args:
        model: A network with a known head, on the device where it runs.
        tars: The same paths on every process.
        preprocessing: The preprocessing of the weights.
        folder: The folder to write to; it is made if it is missing. Use a new one for another network or
            other pictures, because existing features are not computed again.

    Returns:
        For each tar file, the path of a .safetensors file with the same name, which has its `features`
        (bfloat16 or float32, [images, features]) and `labels` (int64, [images]).

    Raises:
        DataError: If a tar file cannot be read.
        CheckpointError: If a file of features cannot be written.
    """
    device, crop = next(model.parameters()).device, preprocessing.crop_size
    own = range(process_state(device).process_index, len(tars), num_processes())
    paths = [(Path(folder) / Path(tar).name).resolve().with_suffix(".safetensors") for tar in tars]
    with without_head(model) as backbone, eval_mode(backbone), torch.inference_mode():
        run = optimized_copy(backbone, device)
        for index in progress_bar(own, desc="tar files", leave=False):
            if paths[index].exists():
                continue
            found = [
                (run(preprocessing.normalise(to_device(pictures, device))).cpu(), labels)
                for pictures, labels in _batches(
                    tars[index], preprocessing, images_at_once([crop] * 2, device)
                )
            ]
            features, labels = (torch.cat(tensors) for tensors in zip(*found, strict=True))
            tensors = {"features": features, "labels": labels}
            write_atomically(paths[index], lambda part, tensors=tensors: save_file(tensors, part))
    process_state(device).wait_for_everyone()
    return paths


def _batches(
    tar: str | Path, preprocessing: Preprocessing, size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    pictures = read_tar(tar, preprocessing)
    while batch := list(itertools.islice(pictures, size)):
        yield torch.stack([picture for picture, _ in batch]), torch.tensor([label for _, label in batch])
