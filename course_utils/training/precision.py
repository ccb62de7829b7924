"""In which precision does a network run fastest without learning worse?

bfloat16 keeps the range of float32 and a quarter of its digits. Processors and graphics cards that multiply
matrices of bfloat16 do so several times as fast. The weights stay in float32, and so does what is summed:
this is *mixed precision* (Micikevicius et al., 2017, arXiv:1710.03740; with bfloat16: Kalamkar et al., 2019,
arXiv:1905.12322).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.optim.lr_scheduler import LRScheduler


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions of its own for matrices of bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        has = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("amx_tile") or has.get("bf16"))
    return False


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device multiplies it, float16 on an older graphics card, else float32."""
    if multiplies_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


class Precision:
    """The precision of one training loop, and the scaling of gradients that belongs to it.

    In float16 a gradient below 6e-8 becomes 0. So the loss is multiplied by a large number before the
    backward pass, and the gradients are divided by it in float32, before the step (Micikevicius et al.,
    2017, section 3.2). bfloat16 and float32 have no need of it. Every loop of the course has both from here::

        precision = Precision(device)
        with precision.forward():
            loss = criterion(network(images), labels)
        precision.backward(loss)
        precision.step(optimizer, schedule)

    Args:
        device: Where the network runs.
        mixed: Whether to run in `fastest_dtype`. False: in float32.
    """

    def __init__(self, device: torch.device, mixed: bool = True):
        self.device = device
        self.dtype = fastest_dtype(device) if mixed else torch.float32
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)

    def forward(self) -> torch.autocast:
        """Return a context for the forward pass and the loss."""
        return _autocast(self.device, self.dtype)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss, scaled, to the parameters."""
        self.scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer, schedule: LRScheduler | None = None) -> None:
        """Make a step of the optimizer, with gradients that are no longer scaled, and one of the schedule.

        If a scaled gradient was too large for float16, neither is made, and the scale is halved.
        """
        scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        if schedule is not None and self.scaler.get_scale() >= scale:
            schedule.step()


@contextmanager
def fast_inference(device: torch.device) -> Iterator[None]:
    """Run networks in `fastest_dtype`, without gradients: those of a training loop need `Precision`."""
    with torch.inference_mode(), _autocast(device, fastest_dtype(device)):
        yield


def _autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    # Without autocast's memory: it would keep the weights of the first step until the context ends.
    mixed = dtype != torch.float32
    return torch.autocast(device.type, dtype if mixed else torch.bfloat16, enabled=mixed, cache_enabled=False)
