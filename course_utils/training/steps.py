"""How does one step of learning stay the same step, when several processes or several parts make it?

A gradient is a mean over the images of a batch, and a mean can be computed in parts: each part's mean,
weighted with its share of the images. Several processes are parts in space, *gradient accumulation* is parts
in time. PyTorch's DistributedDataParallel adds up what the processes found while they still compute (Li et
al., 2020, arXiv:2006.15704). So `batch_size` means the same everywhere: how many images make one step, all
processes together.
"""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from course_utils.data import count, number, sums, weights_of_first
from course_utils.settings import Settings, preserve_rng_state, set_seed
from course_utils.training import sharded
from course_utils.training.checks import check_batch_labels
from course_utils.training.precision import Precision

# Buffers need not be sent: BatchNorm computes them from the images of all processes. PyTorch 2.13 calls it by
# another name.
BUFFERS_SENT = "forward_sync_buffers"
if BUFFERS_SENT not in inspect.signature(DistributedDataParallel).parameters:
    BUFFERS_SENT = "broadcast_buffers"


@contextmanager
def learning_together(model: nn.Module, network: nn.Module, settings: Settings) -> Iterator[tuple]:
    """Lend a network in the form in which all processes learn it.

    A head by itself is not divided: it is so small that each process trains the whole of it, on the same
    features in the same order, faster than it could ask the others.

    Args:
        model: The whole network, on the device where it is trained.
        network: `model`, or its head.
        settings: `seed` and `device` are used. Each process but the first draws its random numbers (dropout,
            augmentation) from a seed of its own, so that not the same numbers fall on different pictures.

    Yields:
        The model and the network that hold the weights, and the network that is asked in training. If only
        one process was launched, these are what was given.
    """
    if count() == 1 or network is not model:
        weights_of_first(network)
        yield model, network, network
        weights_of_first(network)  # other machines may round differently, and end at other weights
        return
    weights_of_first(model)
    with _own_random_numbers(settings.seed), batchnorm_over_all(model):
        if sharded.wanted(model):
            with sharded.lent(model, settings.device) as parts:
                yield parts, parts, parts
        else:
            yield model, model, DistributedDataParallel(model, **{BUFFERS_SENT: False})


@contextmanager
def _own_random_numbers(seed: int) -> Iterator[None]:
    if number() == 0:
        yield
        return
    with preserve_rng_state():
        set_seed((seed + 1_000_003 * number()) % 2**32)
        yield


def divided(network: nn.Module) -> bool:
    """Return whether each process trains this network on its share of every batch."""
    return isinstance(network, DistributedDataParallel) or sharded.is_sharded(network)


def over_all(network: nn.Module, *numbers: float) -> tuple[float, ...]:
    """Return each number summed over the processes that train this network."""
    return sums(*numbers) if divided(network) else numbers


def share_of(network: nn.Module) -> tuple[int, int]:
    """Return which part of each batch is this process's, and of how many."""
    return (number(), count()) if divided(network) else (0, 1)


def gradients(
    network: nn.Module,
    criterion: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    precision: Precision,
    parts: int,
    check: Callable[[float], None],
    where: str,
) -> tuple[float, int, int]:
    """Add the gradient of the mean loss over a whole batch to the parameters.

    Args:
        network: As `learning_together` lends it.
        criterion: From logits and labels to the mean loss.
        inputs: This process's share of the batch, on the device. It may be empty.
        labels: int64, [images], on the CPU.
        precision: What the forward pass computes in, and how gradients are scaled for it.
        parts: How many parts go through the network one after the other. BatchNorm in train mode uses the
            images of one part of all processes.
        check: Is called with the loss before each backward pass, and may raise.
        where: Which batch this is, for an error.

    Returns:
        The sum of the losses (nats), the number of right answers and the number of images: those of all
        processes.

    Raises:
        DataError: If a label is not the number of a class.
    """
    (images,) = over_all(network, len(labels))
    total, correct = 0.0, 0
    parts = min(
        parts, math.ceil(images / share_of(network)[1])
    )  # of a small batch no part is empty everywhere
    for part, (some, their) in enumerate(
        zip(_in_parts(inputs, parts), _in_parts(labels, parts), strict=True)
    ):
        last = part == parts - 1
        with contextlib.nullcontext() if last else _not_sent_yet(network):
            with precision.forward():
                outputs = network(some)
                check_batch_labels(their, outputs.shape[1], where)
                their = their.to(outputs.device)
                # The mean of no image is no number, and must still be waited for by the others.
                loss = criterion(outputs, their) if len(their) else outputs.sum() * 0
            own = loss.item() * len(their)
            right = (outputs.argmax(dim=1) == their).sum().item()
            whole, right, seen = over_all(network, own, right, len(their))
            check(whole / max(1, seen))
            # DistributedDataParallel takes the mean over processes; wanted is the mean over images.
            precision.backward(loss * (len(their) * share_of(network)[1] / images))
        total, correct = total + whole, correct + right
    return total, int(correct), int(images)


def _in_parts(tensor: torch.Tensor, parts: int) -> tuple[torch.Tensor, ...]:
    return tensor.tensor_split(parts) if parts > 1 else (tensor,)


def _not_sent_yet(network: nn.Module) -> contextlib.AbstractContextManager:
    """Let gradients only add up: they are sent with those of the last part."""
    if isinstance(network, DistributedDataParallel):
        return network.no_sync()
    return sharded.not_sent_yet(network)


@contextmanager
def batchnorm_over_all(network: nn.Module) -> Iterator[None]:
    """Let thawed BatchNorm layers use the mean and variance of the images of all processes.

    Otherwise each process would normalise with its own few images, and the network would learn something else
    on two processes than on one. On graphics cards this is PyTorch's SyncBatchNorm, which does not run on
    CPUs. The layers are what they were again at the end.
    """
    kinds = {module: type(module) for module in network.modules() if isinstance(module, _BatchNorm)}
    for module, kind in kinds.items():
        on_card = next(module.parameters(), torch.empty(0)).device.type == "cuda"
        if on_card:
            module.__class__, module.process_group = nn.SyncBatchNorm, None
        elif kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            module.__class__ = _BatchNormOverAll
    try:
        yield
    finally:
        for module, kind in kinds.items():
            module.__class__ = kind
            vars(module).pop("process_group", None)


class _BatchNormOverAll(_BatchNorm):
    """BatchNorm whose mean and variance are those of all processes' images, on any device.

    The same as SyncBatchNorm computes (Peng et al., 2018, arXiv:1711.07240).
    """

    def _check_input_dim(self, images: torch.Tensor) -> None:
        pass

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return normalised values: [batch, channels, ...], in the precision of `images`."""
        if not self.training:
            return super().forward(images)
        values = images.float()
        over = [dim for dim in range(values.ndim) if dim != 1]
        shape = [1, -1, *[1] * (values.ndim - 2)]
        (seen,) = sums(values.numel() / values.shape[1])
        mean = _SumOverAll.apply(values.sum(over)) / seen
        centred = values - mean.view(shape)
        variance = _SumOverAll.apply(centred.square().sum(over)) / seen
        self._remember(mean.detach(), variance.detach() * (seen / max(1.0, seen - 1)))
        scale = self.weight / (variance + self.eps).sqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(images.dtype)

    @torch.no_grad()
    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        if not self.track_running_stats:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _SumOverAll(torch.autograd.Function):
    """A sum over processes through which gradients flow back to all of them."""

    @staticmethod
    def forward(ctx: object, values: torch.Tensor) -> torch.Tensor:
        total = values.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total
