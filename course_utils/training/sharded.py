"""How is a network trained whose weights, gradients and optimizer do not fit on one device?

Each process holds a part of every weight, and asks the others for the rest of a stage just before it is used:
*fully sharded data parallel* (Zhao et al., 2023, arXiv:2304.11277; the idea: Rajbhandari et al., 2020,
arXiv:1910.02054). It is chosen where the processes are launched: `accelerate launch --use_fsdp`, or the
variable `ACCELERATE_USE_FSDP=true` before `torchrun`. What is learned is the same as with whole weights, and
so is the checkpoint.
"""

import contextlib
import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from course_utils.data import count
from course_utils.models import all_parts, choose_device, only_head_trainable


def wanted(model: nn.Module) -> bool:
    """Return whether the weights are to lie in parts on the processes that were launched.

    A frozen backbone is run by each process as a whole, and its head is small.
    """
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true", "yes")
    return asked and count() > 1 and not only_head_trainable(model)


def is_sharded(network: nn.Module) -> bool:
    """Return whether the weights of a network lie in parts on several processes."""
    if count() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(network, FSDPModule)


@contextmanager
def lent(model: nn.Module, device: str = "auto") -> Iterator[nn.Module]:
    """Lend a copy of a network of which every process holds a part; the whole is put back at the end.

    Args:
        model: On the CPU, the same on every process.
        device: As in the settings: where the parts lie.
    """
    from torch.distributed.fsdp import fully_shard  # a second: only where it is needed

    device = choose_device(device)
    parts = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    mesh = torch.distributed.init_device_mesh(device.type, (count(),))
    for _, stage in all_parts(parts):
        if any(True for _ in stage.parameters()):
            fully_shard(stage, mesh=mesh)  # so that only one stage is whole at a time
    fully_shard(parts, mesh=mesh)
    parts.to(device)  # the buffers
    yield parts
    model.load_state_dict(whole(parts.state_dict()))


def not_sent_yet(network: nn.Module) -> contextlib.AbstractContextManager:
    """Return a context in which gradients add up on each process, until the last part of a batch."""
    if not is_sharded(network):
        return contextlib.nullcontext()

    @contextmanager
    def waiting() -> Iterator[None]:
        network.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            network.set_requires_gradient_sync(True)

    return waiting()


def whole(state: object) -> object:
    """Return a state dictionary in which every part is put together: as one process would have it.

    Every process must call this.
    """
    if _is_part(state):
        return state.full_tensor().cpu()
    if isinstance(state, dict):
        return type(state)((name, whole(value)) for name, value in state.items())
    if isinstance(state, list):
        return [whole(value) for value in state]
    return state


def _is_part(value: object) -> bool:
    return isinstance(value, torch.Tensor) and hasattr(value, "placements")  # torch's DTensor


def in_parts(state: dict, network: nn.Module) -> dict:
    """Return the state of a whole network, cut as the weights of `network` are; as it is, if they are not."""
    own = dict(network.named_parameters())
    return {name: _cut(value, own.get(name)) for name, value in state.items()}


def optimizer_in_parts(state: dict, optimizer: torch.optim.Optimizer) -> dict:
    """Return an optimizer's state, cut as its parameters are; as it is, if they are not."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    cut = {
        place: {name: _cut(value, parameters[place]) for name, value in values.items()}
        for place, values in state["state"].items()
    }
    return {**state, "state": cut}


def _cut(value: object, like: torch.Tensor | None) -> object:
    if not _is_part(like) or not isinstance(value, torch.Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
