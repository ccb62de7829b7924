"""Mixed precision and several processes, by accelerate.

bfloat16 keeps the range of float32 and a third of its digits. CPUs and GPUs that multiply bfloat16 matrices
do so several times as fast. The weights and the sums stay in float32: this is *mixed precision* (Micikevicius
et al., 2017, arXiv:1710.03740; with bfloat16: Kalamkar et al., 2019, arXiv:1905.12322).

Several processes are started by `torchrun`, `accelerate launch` or `launching.launch`. accelerate gives each
of them its share of every batch, and averages their gradients.
"""

import os
import random
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from course_utils.errors import CourseError
from course_utils.models.freezing import batchnorm_layers

Result = TypeVar("Result")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16 matrices."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        has = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("amx_tile") or has.get("bf16"))
    return False


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 if the device multiplies it, float16 on an older GPU, otherwise float32."""
    if multiplies_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


@contextmanager
def fast_inference(device: torch.device) -> Iterator[None]:
    """Run networks in `fastest_dtype`, without gradients."""
    dtype = fastest_dtype(device)
    mixed = dtype != torch.float32
    # Without autocast's cache, which would keep the weights of the first call until the context ends.
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype if mixed else torch.bfloat16, enabled=mixed, cache_enabled=False),
    ):
        yield


def make_accelerator(device: torch.device, grad_accum_steps: int = 1):
    """Return an `accelerate.Accelerator` for training in `fastest_dtype`, on all processes.

    accelerate divides every loss by `grad_accum_steps`, the number of parts of a step. In float16 a gradient
    below 6e-8 becomes 0, so accelerate multiplies the loss by a large number before the backward pass and
    divides the gradients by it before the step (Micikevicius et al., 2017, section 3.2).
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import AutocastKwargs, DataLoaderConfiguration

    process_state(device)
    # accelerate keeps one precision and one device for as long as Python runs; a notebook may change both.
    AcceleratorState._reset_state()
    GradientState._reset_state()
    names = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "no"}
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=names[fastest_dtype(device)],
        gradient_accumulation_steps=grad_accum_steps,
        # `batch_size` is the size of a step of all processes together.
        dataloader_config=DataLoaderConfiguration(split_batches=True),
        kwargs_handlers=[AutocastKwargs(cache_enabled=False)],
    )


class OneProcess:
    """Stand in for an `Accelerator` in one process with float32.

    Importing accelerate takes a second, which is longer than training a head takes.
    """

    gradient_accumulation_steps = num_processes = 1
    process_index, scaler, device = 0, None, torch.device("cpu")
    prepare = staticmethod(lambda *objects: objects)
    unwrap_model = staticmethod(lambda network, **options: network)
    backward = staticmethod(torch.Tensor.backward)
    reduce = gather_for_metrics = staticmethod(lambda tensors: tensors)


@contextmanager
def prepared(accelerator, network: nn.Module, *objects: object) -> Iterator[tuple]:
    """Yield a network and other objects as the accelerator prepares them; leave the network as it was."""
    own_forward = "forward" in vars(network)
    ready = accelerator.prepare(network, *objects)
    try:
        yield ready
    finally:
        accelerator.unwrap_model(ready[0], keep_fp32_wrapper=False)
        if not own_forward:
            vars(network).pop("forward", None)  # accelerate leaves its own method behind


def num_processes() -> int:
    """Return how many processes a launcher has started: 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def in_parts(parts: int, network: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Iterable[tuple]:
    """Split a batch into nearly equal parts for gradient accumulation.

    A batch with too few images gives fewer than `parts`: each part needs at least one image, or two if
    BatchNorm in train mode has to compute a variance.
    """
    if parts == 1:
        return [(inputs, labels)]
    smallest = 2 if any(layer.training for layer in batchnorm_layers(network)) else 1
    parts = max(1, min(parts, len(labels) // smallest))
    return zip(inputs.tensor_split(parts), labels.tensor_split(parts), strict=True)


def process_state(device: torch.device | None = None):
    """Return accelerate's `PartialState`, which joins the processes that a launcher has started.

    Without a device, networks run on a GPU if there is one.
    """
    from accelerate import PartialState

    on_cpu = device.type == "cpu" if device is not None else not torch.cuda.is_available()
    if num_processes() > 1 and os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        # All processes are on this machine. By default, gloo looks up its address by name, which can fail.
        loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
        if loopback:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    state = PartialState(cpu=on_cpu)
    if num_processes() == 1 and (state.device.type == "cpu") != on_cpu:
        PartialState._reset_state()
        state = PartialState(cpu=on_cpu)
    return state


def run_on_main(work: Callable[[], Result]) -> Result:
    """Call a function on the main process only, for example to write a file; return its result on all.

    If it raises a `CourseError`, every process does.
    """
    if num_processes() == 1:
        return work()
    from accelerate.utils import broadcast_object_list

    answer: list = [None, None]
    if process_state().is_main_process:
        try:
            answer = [work(), None]
        except CourseError as error:
            answer = [None, error]
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def broadcast_weights(network: nn.Module) -> None:
    """Give every process the weights of the main process, in place."""
    if num_processes() > 1:
        from accelerate.utils import broadcast

        process_state()
        broadcast(dict(network.state_dict()))


def seed_epoch(seed: int, epoch: int, process: int, order: torch.Generator) -> None:
    """Seed the random numbers of one epoch, so that a resumed run need not repeat earlier epochs.

    `order`, the loader's generator, is the same on every process. Dropout and augmentation use the random
    numbers of Python, numpy and torch, which differ between processes.
    """
    for_order, own = (np.random.SeedSequence([seed, epoch, n]).generate_state(1) for n in (0, process + 1))
    order.manual_seed(int(for_order[0]))
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(int(own[0]))
