"""Features of a frozen backbone, computed once for every image and as fast as the machine allows.

A frozen backbone in eval mode gives the same features for an image in every epoch. So the backbone is run
once over all images, and the head alone is trained on its output: that is as good, and several times as fast.
The method is known as a linear probe on frozen features (Alain and Bengio, 2016, arXiv:1610.01644).

Three things make the one pass fast. In eval mode a BatchNorm layer is one multiplication and one addition for
each channel, and can be folded into the convolution before it (Jacob et al., 2018, arXiv:1712.05877, section
3.2). If the machine multiplies bfloat16, the numbers can have fewer digits. And a pixel's channels can be
side by side in memory, as fast convolutions need them.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from course_utils.data.loaders import (
    collate,
    image_batches,
    preprocessing_of,
    preserve_rng_state,
    progress_bar,
)
from course_utils.models.freezing import eval_mode, without_head
from course_utils.training.acceleration import fast_inference, fastest_dtype, num_processes, process_state

EXTRACTION_BATCH = 64  # images read at once, if their size is not known beforehand

LIBRARIES = ("torch", "torchvision", "timm")

PIXELS = {"cpu": 500_000, "cuda": 20_000_000}
"""How many pixels go through a network at once. Measured on a CPU with two cores (benchmarks/extraction.py):
with fewer, calling a layer costs too much of the time; with more, its numbers no longer fit the caches. The
figure for GPUs is not measured."""


def extract_features(
    model: nn.Module, dataset: Dataset, *, num_workers: int = 0, label: str = "features"
) -> TensorDataset:
    """Run the network without its head over every image once, in order; several processes share the images.

    Args:
        model: A network with a known head; used in eval mode on its own device; its mode is restored.
        dataset: Pairs of an image (float32, [3, height, width]) and a label (int).
        num_workers: Extra processes that read images.
        label: The name of the progress bar.

    Returns:
        A dataset of pairs: features (float32, [images, features]) and labels (int64, [images]), both on
        the CPU. They are computed in `fastest_dtype`.

    Raises:
        DataError: If images cannot become a batch.
    """
    device = next(model.parameters()).device

    def extract(part: Dataset) -> list[torch.Tensor]:
        with without_head(model) as backbone, eval_mode(backbone), torch.inference_mode():
            run = optimized_copy(backbone, device)
            batches = batches_with_bar(part, device, num_workers, label)
            found = [(run(images).cpu(), labels) for images, labels in batches]
            return [torch.cat(tensors) for tensors in zip(*found, strict=True)]

    features, labels = map_over_processes(extract, dataset, device)
    # Inference tensors cannot be used in training; a clone outside inference mode can.
    return TensorDataset(features.float().clone(), labels.clone())


def map_over_processes(
    work: Callable[[Dataset], list[torch.Tensor]], dataset: Dataset, device: torch.device
) -> list[torch.Tensor]:
    """Apply `work` to a dataset, each process to its own part.

    `work` turns a dataset into tensors on the CPU, [images, ...] each. Every process gets those of the whole
    dataset, in order.
    """
    size, processes = extraction_batch_size(dataset, device), num_processes()
    if processes == 1 or len(dataset) <= size * processes:
        return work(dataset)
    from accelerate.utils import gather_object

    # Whole batches, so that sharing them changes no number.
    starts = torch.arange(0, len(dataset), size).tensor_split(processes)
    ends = [int(start[0]) for start in starts[1:]] + [len(dataset)]
    own = process_state(device).process_index
    parts = gather_object([work(Subset(dataset, range(int(starts[own][0]), ends[own])))])
    return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]


def images_at_once(size: Sequence[int], device: torch.device) -> int:
    """Return the batch size at which the device is fastest, for images of a size (height, width in
    pixels)."""
    return max(1, PIXELS.get(device.type, PIXELS["cuda"]) // math.prod(size))


def extraction_batch_size(dataset: Dataset, device: torch.device) -> int:
    """Return how many images of a dataset are read, and prepared, at once."""
    own = preprocessing_of(dataset)
    return images_at_once([own.crop_size, own.crop_size], device) if own else EXTRACTION_BATCH


def batches_with_bar(
    dataset: Dataset, device: torch.device, num_workers: int, label: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the batches of `image_batches`, in sizes that the device runs fastest, with a progress bar."""
    size = extraction_batch_size(dataset, device)
    with progress_bar(total=len(dataset), desc=label, unit="image", leave=False) as bar:
        for images, labels in image_batches(dataset, size, device, num_workers):
            count = images_at_once(images.shape[2:], device)
            yield from zip(images.split(count), labels.split(count), strict=True)
            bar.update(len(labels))


def is_deterministic(dataset: Dataset, images: int = 16) -> bool:
    """Return whether a dataset gives the same image every time, which an augmented one does not.

    The first `images` images are read twice; the random state is restored. A flip with a probability of one
    half goes unnoticed once in 65,536 times. If the dataset's preprocessing is known, it changes nothing at
    random, so no image is read.
    """
    if preprocessing_of(dataset) is not None:
        return True
    with preserve_rng_state():
        for index in range(min(images, len(dataset))):
            # As a batch, so that images that are not tensors raise the usual error.
            once, again = collate([dataset[index]])[0], collate([dataset[index]])[0]
            if not torch.equal(once, again):
                return False
    return True


def optimized_copy(backbone: nn.Module, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function with nearly the same output as a network in eval mode, but faster.

    A network with hooks, or with modules that are not from torch, torchvision or timm, is used itself, in
    mixed precision, because a copy might leave out something that it needs.

    Returns:
        A function from images (float32, [batch, 3, height, width]) to the network's output, in
        `fastest_dtype`: bfloat16, float16 or float32.
    """
    if not is_library_model(backbone):

        def run_itself(images: torch.Tensor) -> torch.Tensor:
            with fast_inference(device):
                return backbone(images)

        return run_itself
    dtype = fastest_dtype(device)
    network = fuse_conv_bn(backbone).to(dtype=dtype, memory_format=torch.channels_last)
    return lambda images: network(images.to(dtype=dtype, memory_format=torch.channels_last))


def fuse_conv_bn(network: nn.Module) -> nn.Module:
    """Return a copy of a network in eval mode with each BatchNorm folded into the convolution before it.

    If PyTorch cannot trace the network, it is copied as it is.
    """
    with contextlib.suppress(Exception):  # tracing runs the network's own code, which may raise anything
        # Imported here: it takes a while, and most lessons begin with something else. torch promises nothing
        # about this module.
        from torch.fx.experimental.optimization import fuse

        # "In place" it folds in a new graph over the same parameters, and leaves the network as it is.
        network = fuse(network, inplace=True)
    return copy.deepcopy(network).eval()  # a copied graph is no longer in eval mode


def is_library_model(network: nn.Module) -> bool:
    """Return whether every module of a network is torch's, torchvision's or timm's own, unchanged."""
    return all(
        type(module).__module__.split(".")[0] in LIBRARIES
        and "forward" not in vars(module)
        and not (module._forward_hooks or module._forward_pre_hooks)
        for module in network.modules()
    )
