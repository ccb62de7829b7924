"""How does a frozen network say what it says as fast as the machine allows?

Three things change nothing that it has learned. In eval mode a BatchNorm layer is one multiplication and one
addition for each channel, and can be folded into the convolution before it (Jacob et al., 2018,
arXiv:1712.05877, section 3.2). Where the machine multiplies bfloat16, the numbers can have fewer digits (see
the room `precision`). And a pixel's channels can lie side by side in memory, as fast convolutions read them.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from course_utils.training.precision import fast_inference, fastest_dtype

LIBRARIES = ("torch", "torchvision", "timm")

PIXELS = {"cpu": 500_000, "cuda": 20_000_000}
"""How many pixels go through a network at once. On a CPU of two cores (benchmarks/extraction.py): with fewer,
a layer is hardly worth its call; with more, its numbers no longer fit the caches. The figure for graphics
cards is a guess that nobody has measured."""


def images_at_once(size: Sequence[int], device: torch.device) -> int:
    """Return how many images of a size (height and width in pixels) the device runs fastest."""
    return max(1, PIXELS.get(device.type, PIXELS["cuda"]) // math.prod(size))


def optimized_copy(backbone: nn.Module, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that says nearly the same about images as a network in eval mode, faster.

    A network that is made of other modules than those of torch, torchvision and timm, or has hooks, is used
    itself, in mixed precision: only its author knows what a copy may leave out.

    Args:
        backbone: A network in eval mode.
        device: Where it is, and runs.

    Returns:
        A function from images (float32, [batch, 3, height, width]) to what the network says, in the
        machine's fastest precision: bfloat16, float16 or float32.
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

    If PyTorch cannot follow what the network does, the copy is as the network is.
    """
    with contextlib.suppress(Exception):  # tracing runs the network's own code, which may raise anything
        # Imported here: it takes a while, and most lessons begin with something else. torch promises nothing
        # about this module.
        from torch.fx.experimental.optimization import fuse

        # "In place" it folds in a new graph over the same parameters, and leaves the network as it is.
        network = fuse(network, inplace=True)
    return copy.deepcopy(network).eval()  # a copied graph has forgotten that it was in eval mode


def is_library_model(network: nn.Module) -> bool:
    """Return whether every module of a network is torch's, torchvision's or timm's own, unchanged."""
    return all(
        type(module).__module__.split(".")[0] in LIBRARIES
        and "forward" not in vars(module)
        and not (module._forward_hooks or module._forward_pre_hooks)
        for module in network.modules()
    )
