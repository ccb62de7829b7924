"""In which precision does a network run fastest without learning worse?

bfloat16 keeps the range of float32 and a quarter of its digits. Processors and graphics cards that multiply
matrices of bfloat16 do so several times as fast. The weights stay in float32, and so does what is summed:
this is *mixed precision* (Micikevicius et al., 2017, arXiv:1710.03740; with bfloat16: Kalamkar et al., 2019,
arXiv:1905.12322).
"""

import torch


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


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return a context in which convolutions and linear layers run in `fastest_dtype`.

    Where that is float32 it changes nothing. Use it around the forward pass; gradients follow by
    themselves. It may also be held for a whole epoch: autocast would keep the weights of its first step in
    bfloat16 until its end, and the network would be asked with old weights after every step, so that memory
    is switched off.
    """
    dtype = fastest_dtype(device)
    fast = dtype != torch.float32
    return torch.autocast(device.type, dtype if fast else torch.bfloat16, enabled=fast, cache_enabled=False)


def gradient_scaler(device: torch.device, mixed: bool = True) -> torch.amp.GradScaler:
    """Return what keeps small gradients from becoming 0 in float16; in other precisions it does nothing.

    Args:
        device: Where the network runs.
        mixed: Whether it is trained in mixed precision at all.
    """
    return torch.amp.GradScaler(device.type, enabled=mixed and fastest_dtype(device) == torch.float16)
